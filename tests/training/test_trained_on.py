"""Documents that a pipeline had before are noticed, under another name and in another file."""

import warnings
from dataclasses import astuple
from pathlib import Path

import pytest
import spacy
from spacy.language import Language
from spacy.tokens import Doc

from spacy_btl.corpora.docbin import write_docs
from spacy_btl.errors import BtlWarning, CalibratorError
from spacy_btl.evaluation.evaluate import evaluate
from spacy_btl.training.calibrate import calibrate
from spacy_btl.training.trained_on import in_datastore, training_docs
from spacy_btl.training.tune import tune
from tests.conftest import SENTENCES, make_corpus

LONG = " . ".join(text for text, _ in SENTENCES)
SETTINGS = {"n_neighbors": 3}


def long_docs(nlp: Language, n: int, *, of: str = "pain") -> list[Doc]:
    """Notes of some 30 tokens, no two alike."""
    docs = []
    for number in range(n):
        doc = nlp.make_doc(f"{'severe ' * number}{of} . {LONG}")
        doc.ents = [doc.char_span(7 * number, 7 * number + len(of), label="Sign")]
        docs.append(doc)
    return docs


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    write_docs(tmp_path / "corpus.spacy", long_docs(spacy.blank("en"), 6))
    return tmp_path / "corpus.spacy"


def as_file(path: Path, docs: list[Doc]) -> Path:
    write_docs(path, docs)
    return path


def test_held_out_documents_that_were_fitted_to_are_left_out(trained_path, corpus, tmp_path):
    nlp = spacy.blank("en")
    had, others = long_docs(nlp, 2), long_docs(nlp, 3, of="cough")
    capitals = nlp.make_doc(had[0].text.upper() + "\n")
    mixed = as_file(tmp_path / "mixed.spacy", [had[1], *others, capitals])
    with pytest.warns(BtlWarning, match=r"mixed\.spacy: 2 of 5 documents are left out"):
        calibrate(str(trained_path), corpus, tmp_path / "a", settings=SETTINGS, held_out=mixed)
    clean = as_file(tmp_path / "clean.spacy", others)
    calibrate(str(trained_path), corpus, tmp_path / "b", settings=SETTINGS, held_out=clean)
    pipes = [spacy.load(tmp_path / name).get_pipe("knn_calibrator") for name in "ab"]
    maps = [pipe.calibrator.maps for pipe in pipes]
    assert astuple(maps[0].tokens) == pytest.approx(astuple(maps[1].tokens), rel=1e-3)
    assert maps[0].confidence.n_entities == maps[1].confidence.n_entities
    only = as_file(tmp_path / "only.spacy", [had[0], capitals])
    with pytest.raises(CalibratorError, match="holds what the calibrator is fitted to"):
        calibrate(str(trained_path), corpus, tmp_path / "c", settings=SETTINGS, held_out=only)


def test_a_calibrator_knows_its_documents_by_the_places_of_their_tokens(
    trained_path, corpus, tmp_path
):
    path = tmp_path / "calibrated"
    calibrate(str(trained_path), corpus, path, settings=SETTINGS)
    corpus.unlink()
    nlp = spacy.load(path)
    had, others = long_docs(nlp, 6)[2:5], long_docs(nlp, 3, of="cough")
    mixed = as_file(tmp_path / "mixed.spacy", [*had, *others])
    with pytest.warns(BtlWarning, match=r"mixed\.spacy: 3 of 6 documents are among those"):
        evaluate(str(path), mixed)
    with pytest.warns(BtlWarning, match=r"mixed\.spacy: 3 of 6 documents are among those"):
        tune(str(path), mixed, tmp_path / "tuned")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        evaluate(str(path), as_file(tmp_path / "others.spacy", others))


def test_tokens_without_annotation_are_in_no_datastore_and_short_notes_tell_nothing(
    trained_path, tmp_path
):
    nlp = spacy.blank("en")
    partly, hardly = long_docs(nlp, 2)
    partly.set_ents(list(partly.ents), missing=[partly[-9:]], default="outside")
    hardly.set_ents(list(hardly.ents), missing=[hardly[8:]], default="outside")
    short = make_corpus(nlp)
    path = as_file(tmp_path / "corpus.spacy", [partly, hardly, *short])
    calibrate(str(trained_path), path, tmp_path / "out", settings=SETTINGS)
    rows = spacy.load(tmp_path / "out").get_pipe("knn_calibrator").calibrator.datastore
    found = in_datastore(rows, [partly, hardly, *short, nlp.make_doc(""), nlp.make_doc(LONG)])
    assert found.tolist() == [True, *[False] * (len(short) + 3)]


def test_the_training_corpus_that_the_config_names_is_read(trained_path, corpus, tmp_path):
    nlp = spacy.load(trained_path)
    nlp.config["paths"]["train"] = str(corpus)
    nlp.to_disk(tmp_path / "model")
    others = long_docs(nlp, 3, of="cough")
    test = as_file(tmp_path / "test.spacy", [*others, *long_docs(nlp, 1)])
    with pytest.warns(BtlWarning, match=r"test\.spacy: 1 of 4 documents are among those"):
        evaluate(str(tmp_path / "model"), test)
    fit = as_file(tmp_path / "fit.spacy", make_corpus(nlp))
    with pytest.warns(BtlWarning, match=r"test\.spacy: 1 of 4 documents are left out"):
        calibrate(str(tmp_path / "model"), fit, tmp_path / "out", settings=SETTINGS, held_out=test)
    for content in (None, b"no corpus"):
        corpus.unlink(missing_ok=True)
        if content is not None:
            corpus.write_bytes(content)
        evaluate(str(tmp_path / "model"), test)  # nothing to compare with, and no warning


def test_all_files_of_a_folder_of_training_documents_are_known(trained_path, tmp_path):
    """As `paths.train` may be one, of annotated documents and of pseudo-labelled ones."""
    docs = long_docs(spacy.blank("en"), 4)
    (tmp_path / "train").mkdir()
    as_file(tmp_path / "train" / "gold.spacy", docs[:1])
    as_file(tmp_path / "train" / "pseudo.spacy", docs[1:3])
    nlp = spacy.load(trained_path)
    nlp.config["paths"] = {"train": str(tmp_path / "train")}
    assert [doc.text for doc in training_docs(nlp)] == [doc.text for doc in docs[:3]]
    nlp.config["paths"] = {"train": str(tmp_path / "gone")}
    assert not training_docs(nlp)
