"""`python -m spacy btl calibrate`, as its user sees it."""

from pathlib import Path

import pytest
import spacy
from spacy.cli._util import app
from typer.testing import CliRunner

import spacy_btl.cli  # noqa: F401  (adds the commands)
from tests.conftest import SENTENCES


def run(*args: str | Path) -> tuple[int, str]:
    """The exit status, and the output with its white space normalised."""
    result = CliRunner().invoke(app, ["btl", "calibrate", *map(str, args)])
    return result.exit_code, " ".join(result.output.split())


def test_saves_a_calibrated_pipeline_with_the_settings(trained_path, corpus_path, tmp_path):
    out = tmp_path / "out"
    options = ["--n-neighbors", "5", "--votes", "distance", "--mix", "0.5", "--tau", "0.25"]
    status, output = run(trained_path, corpus_path, out, *options)
    assert status == 0, output
    assert f"Fitting a knn_calibrator for {trained_path} on {corpus_path}" in output
    assert f"Saved transformer > ner > knn_calibrator > doc_cleaner to {out}" in output
    nlp = spacy.load(out)
    pipe = nlp.get_pipe("knn_calibrator")
    assert (pipe.n_neighbors, pipe.votes, pipe.mix, pipe.tau) == (5, "distance", 0.5, 0.25)
    assert all(ent._.confidence is not None for ent in nlp(SENTENCES[0][0]).ents)


def test_the_defaults_are_the_papers(trained_path, corpus_path, tmp_path):
    status, output = run(trained_path, corpus_path, tmp_path / "out")
    assert status == 0, output
    pipe = spacy.load(tmp_path / "out").get_pipe("knn_calibrator")
    assert (pipe.n_neighbors, pipe.votes, pipe.mix, pipe.tau) == (17, "uniform", 1.0, 0.0)


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
    ):
        status, output = run(*args)
        assert status == 1
        assert message in output
        assert "Traceback" not in output
        assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize(
    ("option", "value"), [("--votes", "best"), ("--mix", "1.5"), ("--n-neighbors", "0")]
)
def test_options_out_of_range_are_refused(option, value):
    status, output = run("model", "corpus.spacy", "out", option, value)
    assert status == 2
    assert f"Invalid value for '{option}'" in output
    assert option != "--votes" or "'uniform', 'distance'" in output
