"""`python -m spacy btl calibrate`, as its user sees it."""

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import spacy
from spacy.cli._util import app
from spacy.language import Language
from typer.testing import CliRunner

import spacy_btl.cli  # noqa: F401  (adds the commands)
from spacy_btl.calibration.settings import Settings
from spacy_btl.corpora.docbin import read_docs
from tests.conftest import PAPER, SENTENCES, bert_pipeline


def run(*args: str | Path) -> tuple[int, str]:
    """The exit status, and the output with its white space normalised."""
    result = CliRunner().invoke(app, ["btl", "calibrate", *map(str, args)])
    return result.exit_code, " ".join(result.output.split())


def test_saves_a_calibrated_pipeline_with_the_settings(trained_path, corpus_path, tmp_path):
    out = tmp_path / "out"
    options = ["--n-neighbors", "5", "--knn-weight", "0.5", "--tau", "0.25"]
    options += ["--transition-weight", "0.1"]
    status, output = run(trained_path, corpus_path, out, *options)
    assert status == 0, output
    assert f"Fitting a knn_calibrator for {trained_path} on {corpus_path}" in output
    assert f"Saved transformer > ner > knn_calibrator > doc_cleaner to {out}" in output
    nlp = spacy.load(out)
    pipe = nlp.get_pipe("knn_calibrator")
    assert pipe.calibrator.settings == Settings(
        n_neighbors=5, knn_weight=0.5, tau=0.25, transition_weight=0.1
    )
    assert all(ent._.confidence is not None for ent in nlp(SENTENCES[0][0]).ents)


def test_the_defaults_are_the_recommended_settings_everywhere(trained_path, corpus_path, tmp_path):
    """Of the estimator, of the factory, and of this command."""
    recommended = {"n_neighbors": 17, "knn_weight": 0.25, "tau": 0.15, "transition_weight": 0.15}
    recommended["min_confidence"] = 0.0
    assert asdict(Settings()) == recommended
    factory = Language.get_factory_meta("knn_calibrator").default_config
    assert {name: factory[name] for name in recommended} == recommended
    assert spacy.blank("en").add_pipe("knn_calibrator").calibrator.settings == Settings()
    status, output = run(trained_path, corpus_path, tmp_path / "out")
    assert status == 0, output
    nlp = spacy.load(tmp_path / "out")
    assert nlp.get_pipe("knn_calibrator").calibrator.settings == Settings()
    saved = nlp.get_pipe_config("knn_calibrator")
    assert {name: saved[name] for name in factory} == factory


def test_the_settings_of_the_paper_can_be_had(trained_path, corpus_path, tmp_path):
    options = ["--knn-weight", "1", "--tau", "0", "--transition-weight", "0"]
    status, output = run(trained_path, corpus_path, tmp_path / "out", *options)
    assert status == 0, output
    pipe = spacy.load(tmp_path / "out").get_pipe("knn_calibrator")
    assert pipe.calibrator.settings == Settings(**PAPER)


def test_warns_where_confidence_is_not_calibrated(
    trained_path, corpus_path, held_out_path, tmp_path
):
    warning = "⚠ Confidence is not calibrated: it is likely to be too high. Give --held-out"
    _, output = run(trained_path, corpus_path, tmp_path / "without")
    assert warning in output
    held_out = ["--held-out", held_out_path]
    _, output = run(trained_path, corpus_path, tmp_path / "with", *held_out)
    assert "⚠" not in output


def test_a_ner_pipe_of_another_name(trained_path, corpus_path, tmp_path):
    nlp = spacy.load(trained_path)
    nlp.rename_pipe("ner", "entities")
    nlp.to_disk(tmp_path / "model")
    status, output = run(tmp_path / "model", corpus_path, tmp_path / "out")
    assert status == 1
    assert "btl_ner pipe named 'ner'" in output
    status, output = run(tmp_path / "model", corpus_path, tmp_path / "out", "--ner", "entities")
    assert status == 0, output


def test_errors_are_told_in_a_line(trained_path, corpus_path, tmp_path):
    out = tmp_path / "out"
    (tmp_path / "mine.txt").write_text("mine")
    for args, message in (
        (("en_gone", corpus_path, out), "Cannot load the pipeline 'en_gone'"),
        ((trained_path, tmp_path / "gone.spacy", out), "gone.spacy: no such file"),
        ((trained_path, corpus_path, tmp_path), "exists and holds no pipeline"),
        ((trained_path, corpus_path, out, "--n-neighbors", "9999"), "n_neighbors = 9999"),
        ((trained_path, corpus_path, out, "--tau", "nan"), "a tau that is a finite number"),
        (
            (trained_path, corpus_path, out, "--transition-weight", "inf"),
            "_weight >= 0, finite",
        ),
    ):
        status, output = run(*args)
        assert status == 1
        assert message in output
        assert "Traceback" not in output
        assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize(
    ("option", "value"),
    [("--knn-weight", "1.5"), ("--n-neighbors", "0"), ("--transition-weight", "-1")],
)
def test_options_out_of_range_are_refused(option, value):
    status, output = run("model", "corpus.spacy", "out", option, value)
    assert status == 2
    assert f"Invalid value for '{option}'" in output


def test_held_out_documents_calibrate_confidence(
    trained_path, corpus_path, held_out_path, tmp_path
):
    out = tmp_path / "out"
    status, output = run(
        trained_path, corpus_path, out, "--n-neighbors", "5", "--held-out", held_out_path
    )
    assert status == 0, output
    maps = spacy.load(out).get_pipe("knn_calibrator").calibrator.maps
    assert maps.settings == Settings(n_neighbors=5)
    gone = ["--held-out", tmp_path / "gone.spacy", "--force"]
    status, output = run(trained_path, corpus_path, out, *gone)
    assert status == 1
    assert "gone.spacy: no such file" in output


@pytest.fixture
def config(tiny_bert, corpus_path, tmp_path) -> Path:
    """A training config, without dev documents."""
    config = bert_pipeline(tiny_bert).config.copy()
    config["training"]["eval_frequency"] = 10
    config["training"]["optimizer"]["learn_rate"] = 0.005
    config.to_disk(tmp_path / "config.cfg")
    return tmp_path / "config.cfg"


@pytest.mark.slow
def test_cross_fitting_trains_the_networks_of_the_folds(
    trained_path, corpus_path, config, tmp_path
):
    out = tmp_path / "out"
    options = ["--fit-on", "crossfit", "--config", config, "--folds", "2", "--n-neighbors", "5"]
    status, output = run(
        trained_path, corpus_path, out, *options, "--training.max_steps", "15", "--system.seed=1"
    )
    assert status == 0, output
    assert "Training 2 networks" in output
    nlp = spacy.load(out)
    pipe = nlp.get_pipe("knn_calibrator")
    docs = read_docs(corpus_path, nlp.vocab)
    datastore = pipe.calibrator.datastore
    assert len(datastore.tags) == sum(len(doc) for doc in docs)
    assert set(datastore.documents) == set(range(len(docs)))
    assert pipe.calibrator.maps is not None
    # None of its logits are those of the pipeline's own network.
    own = spacy.load(trained_path)(docs[0].text)._.token_logits
    assert np.abs(datastore.logits[datastore.documents == 0] - own).max() > 0.1
    data = b"".join(path.read_bytes() for path in out.rglob("*") if path.is_file())
    assert str(tmp_path).encode() not in data
    assert {path.name for path in tmp_path.iterdir()} == {"out", "config.cfg"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--training.max_steps", "3"], "--training.max_steps goes with --fit-on crossfit only"),
        (["--transition", "0.2"], "There is no option or argument --transition"),
        (["superfluous"], "There is no option or argument superfluous"),
        (["--folds", "3"], "--folds goes with --fit-on crossfit only"),
        (["--gpu-id", "0"], "--gpu-id goes with --fit-on crossfit only"),
        (["--config", "a.cfg"], "--config goes with --fit-on crossfit only"),
        (["--fit-on", "crossfit"], "needs the --config of the training"),
        (["--fit-on", "crossfit", "--config", "a.cfg", "--nonsense"], "No such option"),
        (["--fit-on", "dev"], "Invalid value for '--fit-on'"),
    ],
)
def test_options_that_do_not_go_together_are_refused(options, message):
    status, output = run("model", "corpus.spacy", "out", *options)
    assert status == 2
    assert message in " ".join(output.replace("│", "").split())
