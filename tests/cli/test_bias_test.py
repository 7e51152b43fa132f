"""`python -m spacy btl bias-test`, as its user sees it."""

import json
import sys
from pathlib import Path

import pytest
from spacy.cli._util import app
from typer.testing import CliRunner

import spacy_btl.cli  # noqa: F401  (adds the commands)
from spacy_btl.experiments.bias_test import LOSSES, BiasTest, run_bias_test


def run(*args: str | Path) -> tuple[int, str]:
    """The exit status and the output."""
    result = CliRunner(env={"COLUMNS": "100"}).invoke(app, ["btl", "bias-test", *map(str, args)])
    return result.exit_code, result.output


def test_prints_and_writes_what_was_found(corpus_path, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    losses = {name: LOSSES[name] for name in ("ATL", "ATL, complement")}
    monkeypatch.setattr("spacy_btl.experiments.bias_test.LOSSES", losses)
    small = ("--steps", 2, "--seeds", 1, "--shares", "90/10")
    status, output = run(corpus_path, "--output", tmp_path / "new", *small)
    assert status == 0, output
    written = json.loads((tmp_path / "new" / "bias.json").read_text())
    assert written["command"] == (
        "python -m spacy btl bias-test sentences.spacy --output DIR --shares 90/10 --per token "
        "--steps 2 --seeds 1"
    )
    assert [row["loss"] for row in written["runs"]] == list(losses)
    assert written["losses"] == losses
    again = run_bias_test(BiasTest(corpus_path, steps=2), shares="90/10", loss="ATL", seed=0)
    tv = written["runs"][0]["readings"]["softmax"]["tv"]
    assert tv == pytest.approx(again["readings"]["softmax"]["tv"], abs=1e-5)
    row = next(line for line in output.splitlines() if line.split()[:2] == ["ATL,", "complement"])
    assert len(row) <= 100
    assert (tmp_path / "new" / "bias.svg").read_bytes().startswith(b"<?xml")


def test_a_missing_library_is_told_before_any_training(corpus_path, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setattr("spacy_btl.experiments.bias_test.run_bias_test", None)
    status, output = run(corpus_path, "--output", tmp_path)
    assert status == 1
    assert "pip install '.[report]'" in output


def test_errors_are_told_in_a_line(corpus_path, tmp_path):
    for args, message in (
        ((tmp_path / "gone.spacy",), "no such file"),
        ((corpus_path, "--shares", "90/10", "--shares", "90/20"), "are no shares"),
    ):
        status, output = run(*args, "--output", tmp_path / "out", "--steps", 1)
        assert status == 1
        assert message in output
        assert "Traceback" not in output
