"""Our experiment files: every arm can be planned, and its loss, batcher and corpus can be made."""

from functools import cache
from pathlib import Path

import pytest
import srsly
from spacy import registry
from spacy.schemas import ConfigSchemaTraining
from spacy.training import Corpus
from thinc.api import Model

from spacy_btl.calibration.settings import Settings
from spacy_btl.experiments.archive import SUFFIX, read_cells
from spacy_btl.experiments.config import read_experiment
from spacy_btl.experiments.finished import FinishedCells
from spacy_btl.experiments.plan import plan
from spacy_btl.experiments.result_files import read_results
from spacy_btl.experiments.results import summarize

pytestmark = pytest.mark.slow  # every experiment and its archive

ROOT = Path(__file__).parent.parent
PLANS = {"suggest", "shift"}  # of experiments/replay.py and shift.py
FILES = sorted(path for path in (ROOT / "experiments").glob("*.yml") if path.stem not in PLANS)
RESULTS = ROOT / "experiments" / "results"
ARCHIVES = sorted(RESULTS.glob(f"*{SUFFIX}"))
FOLDS = srsly.read_json(ROOT / "experiments" / "folds.json")


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_arm_can_be_made(file, corpus_path, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    experiment = read_experiment(file)
    one_corpus = dict.fromkeys(list(experiment.corpora)[:1], corpus_path)
    small = {"corpora": one_corpus, "folds": 2, "dev": 0.25}
    cells = plan(experiment.model_copy(update=small), tmp_path)
    assert {cell.arm for cell in cells} == set(experiment.arms)
    for cell in cells:
        for config in [network.config for network in cell.networks]:
            config["paths"].update(train=str(cell.documents["train"]), dev=str(corpus_path))
            config = config.interpolate()
            ner = config["components"]["ner"]
            made = registry.resolve({key: ner[key] for key in ("loss", "model") if key in ner})
            assert isinstance(made["model"], Model)
            assert ner["factory"] != "btl_ner" or callable(made["loss"])
            assert isinstance(registry.resolve(config["corpora"])["train"], Corpus)
            training = registry.resolve(config["training"], schema=ConfigSchemaTraining)
            assert callable(training["batcher"])
    for decoding in experiment.decodings.values():
        Settings(**decoding.calibrator)


@pytest.mark.parametrize("corpus", FOLDS)
def test_every_document_is_tested_once_and_never_where_it_was_dev(corpus):
    folds = FOLDS[corpus]["folds"]
    tested = [name for fold in folds for name in fold["test"]]
    assert len(folds) == 5
    assert len(tested) == len(set(tested))
    for fold in folds:
        dev = set(fold["dev"])
        assert dev < set(tested) - set(fold["test"])
        assert len(dev) == len(fold["dev"])


@pytest.mark.skipif(not ARCHIVES, reason="not a clone")
def test_every_committed_count_is_found_without_corpora_and_under_another_version(
    tmp_path, monkeypatch
):
    """One that is lost was trained by a config that says something else now: undo that, or raise
    TRAINING_VERSION, whose cells are other ones."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr("spacy_btl.about.__version__", "9.9.9")
    read_once = cache(read_cells)
    monkeypatch.setattr("spacy_btl.experiments.finished.read_cells", read_once)
    archived, found = set(), set()
    for archive in ARCHIVES:
        for cell, files in read_once(archive).items():
            archived |= {f"{cell}/{name}" for name in files if name.endswith(".npz")}
        results = RESULTS / archive.name.removesuffix(SUFFIX)
        earlier = read_results(results)
        if "counts" in earlier:
            file = ROOT / "experiments" / f"{results.name}.yml"
            finished = FinishedCells(tmp_path, results)
            cells = plan(read_experiment(file), tmp_path, documents=False)
            assert finished.names(cells) == earlier["counts"]
            for result in earlier["results"]:
                arm = [cell for cell in cells if cell.arm == result["arm"]]
                assert {cell.precision for cell in arm} == {result["cost"]["precision"]}
            found.update(earlier["counts"])
    assert found == archived
    assert len(found) > 400


@pytest.mark.skipif(not ARCHIVES, reason="not a clone")
def test_committed_results_are_those_of_the_committed_counts(tmp_path, monkeypatch):
    """Of the smallest experiments."""
    monkeypatch.chdir(ROOT)
    for name in ("spacy_ner", "adapted"):
        experiment = read_experiment(ROOT / "experiments" / f"{name}.yml")
        cells = plan(experiment, tmp_path, documents=False)
        summary = summarize(experiment, cells, FinishedCells(tmp_path, RESULTS / name))
        assert summary == read_results(RESULTS / name)
