"""`python -m spacy btl fit`, as its user sees it."""

import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest
import spacy
from spacy.cli._util import app
from typer.testing import CliRunner

import spacy_btl.cli  # noqa: F401  (adds the commands)
import spacy_btl.fit.run as run_module
from tests.conftest import SENTENCES
from tests.fit.test_fit import write_notes


def run(*args: str | Path) -> tuple[int, str]:
    """The exit status, and the output with its white space normalised."""
    result = CliRunner().invoke(app, ["btl", "fit", *map(str, args)])
    return result.exit_code, " ".join(result.output.split())


@pytest.fixture
def given(tiny_bert) -> list[str]:
    return ["--encoder", str(tiny_bert), "--max-steps", "3", "--effort", "small", "--gpu-id", "-1"]


def test_prints_the_report_the_choices_and_the_conclusions(given, tmp_path, monkeypatch):
    wheels = []
    monkeypatch.setattr(
        run_module, "build_wheel", lambda _, wheel, log: _write(wheel) or wheels.append(log)
    )
    notes, out = write_notes(tmp_path / "notes.jsonl"), tmp_path / "out"
    status, output = run(notes, out, *given)
    assert status == 0, output
    for expected in (
        "= mentions kept",
        "steps 3 as given",
        "lang en",
        "processor CPU as given",
        "Learned 4 types",
        f"Report: {out / 'report.html'}",
        'nlp = spacy.load("en_notes")',
    ):
        assert expected in output
    status, output = run(notes, out, *given, "--name", "other")
    assert status == 0, output
    assert "card, again: changed: name" in output
    assert "train btl" not in output
    assert not any(sentence in output for sentence, _ in SENTENCES)


def _write(wheel: Path) -> None:
    wheel.parent.mkdir(exist_ok=True)
    wheel.write_text("a wheel")


def test_an_interruption_says_how_to_go_on(given, tmp_path, monkeypatch):
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(run_module, "train_network", stop)
    status, output = run(write_notes(tmp_path / "notes.jsonl"), tmp_path / "out", *given)
    assert status == 130
    assert "The same command goes on: finished steps are kept." in output


def test_errors_are_told_in_a_line(given, tmp_path):
    notes, out = write_notes(tmp_path / "notes.jsonl"), tmp_path / "out"
    for args, message in (
        ((tmp_path / "gone", out, *given), "gone: no such file or folder"),
        ((notes, out, *given, "--name", "a b"), "cannot be called 'a b'"),
        ((notes, out, "--encoder", "./gone"), "'./gone' is not a folder"),
    ):
        status, output = run(*args)
        assert status == 1
        assert message in output
        assert "Traceback" not in output


@pytest.mark.slow
def test_a_killed_run_goes_on_and_ends_with_a_wheel_that_holds_the_pipeline(given, tmp_path):
    notes, out = write_notes(tmp_path / "notes.jsonl"), tmp_path / "out"
    command = [sys.executable, "-m", "spacy", "btl", "fit", str(notes), str(out), *given]
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=dict(os.environ)
    )
    steps = out / ".fit" / "steps"
    end = time.monotonic() + 300
    while not (steps / "split.json").is_file() and time.monotonic() < end:
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (out / "report.html").exists()
    status, output = run(notes, out, *given)
    assert status == 0, output
    assert "= mentions kept" not in output  # converted already
    (wheel,) = (out / "packages").iterdir()
    assert wheel.name == "en_notes-0.1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "unpacked")
    nlp = spacy.load(tmp_path / "unpacked" / "en_notes" / "en_notes-0.1.0")
    assert "knn_calibrator" in nlp.pipe_names
    nlp(SENTENCES[0][0])
