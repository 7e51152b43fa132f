"""Cross-fitting: which network reads which documents, and what a cut run leaves.

The trainings are stood in for by copies of trained networks; `tests/cli/test_calibrate.py` runs
real ones.
"""

import shutil
from pathlib import Path

import numpy as np
import pytest
import spacy
import srsly
from spacy.tokens import DocBin

from spacy_btl.calibration.calibrator import Calibrator
from spacy_btl.calibration.settings import Settings
from spacy_btl.corpora.docbin import read_docs
from spacy_btl.errors import CalibratorError, PipelineError
from spacy_btl.pipeline.knn_calibrator import KnnCalibrator
from spacy_btl.training import crossfit
from spacy_btl.training.calibrate import calibrate
from spacy_btl.training.crossfit import CrossFit
from tests.conftest import PAPER, bert_pipeline, make_corpus, train

pytestmark = pytest.mark.slow  # trainings, some in processes

SETTINGS = {**PAPER, "n_neighbors": 5, "tau": 0.25}


class Trainings:
    """Stands in for `spacy train`: keeps what it was given, and puts a trained network there."""

    def __init__(self, networks: list[Path]):
        self.networks = networks
        self.corpora: list[list[str]] = []
        self.labels: list[list[str]] = []
        self.fails_at: int | None = None

    def __call__(self, config, folder: Path, gpu: int) -> None:
        if len(self.corpora) == self.fails_at:
            self.fails_at = None
            raise KeyboardInterrupt
        docs = read_docs(folder / "train.spacy", spacy.blank("en").vocab)
        self.corpora.append([doc.user_data["note_id"] for doc in docs])
        self.labels.append(srsly.read_json(folder.parent / "labels.json"))
        network = self.networks[len(self.corpora) % len(self.networks)]
        shutil.copytree(network, folder / "model-last")


@pytest.fixture(scope="module")
def another_path(tiny_bert, tmp_path_factory) -> Path:
    """A network like `trained`, with other weights."""
    path = tmp_path_factory.mktemp("another") / "model"
    train(bert_pipeline(tiny_bert), seed=1, steps=10).to_disk(path)
    return path


@pytest.fixture
def trainings(trained_path, another_path, monkeypatch) -> Trainings:
    trainings = Trainings([trained_path, another_path])
    monkeypatch.setattr(crossfit, "_train", trainings)
    return trainings


@pytest.fixture
def corpus(tmp_path) -> Path:
    """Twelve documents, named, and an empty one that spaCy leaves out."""
    nlp = spacy.blank("en")
    docs = make_corpus(nlp, repeat=3)
    docs.insert(2, nlp(""))
    for number, doc in enumerate(docs):
        doc.user_data["note_id"] = f"note-{number}"
    path = tmp_path / "corpus.spacy"
    DocBin(docs=docs, store_user_data=True).to_disk(path)
    return path


@pytest.fixture
def how(tmp_path) -> CrossFit:
    path = tmp_path / "config.cfg"
    spacy.blank("en").config.to_disk(path)
    return CrossFit(path, {"training.max_steps": 2}, folds=3)


def run(trained_path: Path, corpus: Path, output: Path, how: CrossFit, **settings) -> KnnCalibrator:
    settings = {**SETTINGS, **settings}
    calibrate(str(trained_path), corpus, output, settings=settings, crossfit=how)
    pipe = spacy.load(output).get_pipe("knn_calibrator")
    assert isinstance(pipe, KnnCalibrator)
    return pipe


def test_every_document_is_read_by_a_network_that_did_not_train_on_it(
    trained_path, another_path, corpus, how, trainings, tmp_path
):
    pipe = run(trained_path, corpus, tmp_path / "out", how)
    docs = [doc for doc in read_docs(corpus, spacy.blank("en").vocab) if len(doc)]
    names = {doc.user_data["note_id"] for doc in docs}
    folds = [names - set(corpus) for corpus in trainings.corpora]
    assert sorted(name for fold in folds for name in fold) == sorted(names)
    assert all(folds)

    rows = pipe.calibrator.datastore
    assert sorted(set(rows.documents)) == list(range(12))
    networks = {path: spacy.load(path) for path in (trained_path, another_path)}
    for number, doc in enumerate(docs):
        of_doc = rows.documents == number
        texts = [token.text for token in doc if not token.is_space]
        places = zip(rows.starts[of_doc], rows.ends[of_doc], strict=True)
        assert [doc.text[start:end] for start, end in places] == texts
        (fold,) = (i for i, names in enumerate(folds) if doc.user_data["note_id"] in names)
        network = networks[trainings.networks[(fold + 1) % 2]]
        expected = network(doc.text)._.token_logits
        np.testing.assert_allclose(rows.logits[of_doc], expected, atol=1e-4)


def test_no_network_reads_a_patient_that_it_trained_on(
    trained_path, corpus, how, trainings, tmp_path
):
    docs = read_docs(corpus, spacy.blank("en").vocab)
    owners = {}
    for number, doc in enumerate(docs):
        doc.user_data["patient_id"] = owners[doc.user_data["note_id"]] = f"p{number % 4}"
    DocBin(docs=docs, store_user_data=True).to_disk(corpus)
    run(trained_path, corpus, tmp_path / "out", how)
    every = {doc.user_data["note_id"] for doc in docs if len(doc)}
    for notes in trainings.corpora:
        trained = {owners[note] for note in notes}
        assert not trained & {owners[note] for note in every - set(notes)}


def test_the_networks_have_the_types_of_the_pipeline(
    trained_path, corpus, how, trainings, tmp_path
):
    run(trained_path, corpus, tmp_path / "out", how)
    labels = list(spacy.load(trained_path).get_pipe("ner").labels)
    assert trainings.labels == [labels] * 3


def test_the_maps_come_from_neighbours_in_other_folds(
    trained_path, corpus, how, trainings, tmp_path
):
    """Of one network for all folds, the nearest neighbour of a token would be the token itself."""
    trainings.networks = [trained_path]
    neighbors = []
    original = Calibrator.neighbors

    def watch(calibrator, logits):
        neighbors.append(set(calibrator.datastore.documents))
        return original(calibrator, logits)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Calibrator, "neighbors", watch)
        pipe = run(trained_path, corpus, tmp_path / "out", how, n_neighbors=1)
    docs = [doc for doc in read_docs(corpus, spacy.blank("en").vocab) if len(doc)]
    names = [doc.user_data["note_id"] for doc in docs]
    trained = [{names.index(name) for name in of_fold} for of_fold in trainings.corpora]
    assert neighbors == trained  # the same documents as the network of the fold had
    assert pipe.calibrator.maps is not None
    assert pipe.calibrator.maps.settings == Settings(**{**SETTINGS, "n_neighbors": 1})


def test_a_cut_run_goes_on_and_leaves_nothing(trained_path, corpus, how, trainings, tmp_path):
    before = {path.name for path in tmp_path.iterdir()}
    trainings.fails_at = 1
    with pytest.raises(KeyboardInterrupt):
        run(trained_path, corpus, tmp_path / "out", how)
    assert not (tmp_path / "out").exists()
    assert len(trainings.corpora) == 1
    pipe = run(trained_path, corpus, tmp_path / "out", how)
    assert len(trainings.corpora) == 3  # the first fold was not trained again
    assert {path.name for path in tmp_path.iterdir()} == before | {"out"}
    whole = run(trained_path, corpus, tmp_path / "whole", how)
    expected = whole.calibrator.datastore.documents
    np.testing.assert_array_equal(pipe.calibrator.datastore.documents, expected)
    assert pipe.calibrator.maps is not None


def test_a_cut_run_of_something_else_starts_over(trained_path, corpus, how, trainings, tmp_path):
    trainings.fails_at = 1
    with pytest.raises(KeyboardInterrupt):
        run(trained_path, corpus, tmp_path / "out", how)
    other = CrossFit(how.config, {"training.max_steps": 3}, folds=3)
    run(trained_path, corpus, tmp_path / "out", other)
    assert len(trainings.corpora) == 1 + 3


def test_what_cannot_be_used_is_a_clear_error(trained_path, corpus, how, trainings, tmp_path):
    out, model = tmp_path / "out", str(trained_path)
    cases = [
        (CrossFit(how.config, {}, folds=1), CalibratorError, "at least 2"),
        (CrossFit(tmp_path / "gone.cfg", {}), PipelineError, "gone.cfg: no such file"),
        (CrossFit(how.config, {"nonsense.path": 1}), PipelineError, "cannot be used"),
    ]
    for bad, kind, message in cases:
        with pytest.raises(kind, match=message):
            calibrate(model, corpus, out, settings=SETTINGS, crossfit=bad)
    with pytest.raises(CalibratorError, match="give no held-out documents with it"):
        calibrate(model, corpus, out, settings=SETTINGS, crossfit=how, held_out=corpus)
    assert not out.exists()
    assert not trainings.corpora


def test_a_training_that_fails_says_where_to_look(trained_path, corpus, how, tmp_path):
    """The config is one of an empty pipeline, which has no training documents to read."""
    broken = tmp_path / "broken.cfg"
    broken.write_text("[nlp]\nlang = 'xx-none'\n[paths]\ntrain = null\n")
    with pytest.raises(PipelineError, match=r"training of a fold failed: .*train\.log"):
        run(trained_path, corpus, tmp_path / "out", CrossFit(broken, {}, folds=2))
    (log,) = tmp_path.rglob("train.log")
    assert log.stat().st_size
