"""A network that has learned nothing, as model-best is at step 0, is told by every command."""

import json
from pathlib import Path

import pytest
import spacy
from spacy.cli._util import app
from typer.testing import CliRunner

import spacy_btl.cli  # noqa: F401  (adds the commands)


def run(*args: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["btl", *map(str, args)])
    return result.exit_code, " ".join(result.output.split())


@pytest.fixture(scope="module")
def idle(trained_path, tmp_path_factory) -> Path:
    """A network that says `O` of everything, as spaCy saves it with its figures."""
    nlp = spacy.load(trained_path)
    head = nlp.get_pipe("ner").model.layers[-1].layers[0]
    head.set_param("W", head.get_param("W") * 0)
    bias = head.get_param("b") * 0
    bias[0] = 3
    head.set_param("b", bias)
    nlp.meta["performance"] = {"ents_f": 0.0}
    path = tmp_path_factory.mktemp("idle") / "model-best"
    nlp.to_disk(path)
    return path


def test_evaluate_says_so_and_shows_no_calibration_of_entities(idle, corpus_path, tmp_path):
    status, output = run("evaluate", idle, corpus_path, "--output", tmp_path / "out")
    assert status == 0, output
    assert "⚠ No entity is predicted: has the network learned anything?" in output
    assert "entity ECE n/a" in output or "entity ECE" not in output
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert "ents_ece" not in metrics["scores"]
    assert metrics["cautions"][0].startswith("No entity is predicted")
    assert "No entity is predicted" in (tmp_path / "out" / "report.html").read_text("utf-8")


def test_calibrate_says_so(idle, trained_path, corpus_path, tmp_path):
    status, output = run("calibrate", idle, corpus_path, tmp_path / "out")
    assert status == 0, output
    assert "no better than chance: it has learned nothing" in output
    _, output = run("calibrate", trained_path, corpus_path, tmp_path / "other")
    assert "chance" not in output


@pytest.mark.parametrize("command", ["average", "ensemble"])
def test_average_and_ensemble_say_so(command, idle, trained_path, tmp_path):
    status, output = run(command, trained_path, idle, tmp_path / "out")
    assert (status == 0) or "too far apart" in output
    if status == 0:
        assert f"⚠ {idle} predicted no correct entity" in output
    status, output = run(command, idle, idle, tmp_path / "twice")
    assert status == 0, output
    assert output.count("It has learned nothing") == 2
    _, output = run(command, trained_path, trained_path, tmp_path / "fine")
    assert "⚠" not in output
