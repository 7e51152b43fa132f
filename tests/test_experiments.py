"""Our experiment files: every arm can be planned, and its loss, batcher and corpus can be made."""

import subprocess
from pathlib import Path

import pytest
import srsly
from spacy import registry
from spacy.schemas import ConfigSchemaTraining
from spacy.training import Corpus
from thinc.api import Model

from spacy_btl.evaluation.experiment import read_experiment
from spacy_btl.evaluation.plan import plan
from spacy_btl.pipeline.knn_calibrator import KnnCalibrator

ROOT = Path(__file__).parent.parent
FILES = sorted((ROOT / "experiments").glob("*.yml"))
FOLDS = sorted((ROOT / "experiments" / "folds").glob("*.json"))


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
        KnnCalibrator(None, search=None, **decoding.calibrator)


@pytest.mark.parametrize("file", FOLDS, ids=lambda file: file.stem)
def test_every_document_is_tested_once_and_never_where_it_was_trained(file):
    folds = srsly.read_json(file)["folds"]
    tested = [name for fold in folds for name in fold["test"]]
    assert len(folds) == 5
    assert len(tested) == len(set(tested))
    for fold in folds:
        parts = [set(names) for names in fold.values()]
        assert sum(map(len, parts)) == len(set.union(*parts)) == len(tested)


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a clone")
def test_the_patch_fits_the_package():
    command = ["git", "apply", "--check", "experiments/layers.patch"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
