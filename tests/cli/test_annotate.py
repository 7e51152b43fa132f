"""The command itself: what it prints, and what a kill at any moment costs (nothing)."""

import io
import random
import re
import signal
import subprocess
import sys
import time

import pytest
from rich.console import Console
from typer.testing import CliRunner

from spacy_btl.annotate.job import Job
from spacy_btl.cli import btl
from spacy_btl.cli._progress import shown
from tests.annotate.conftest import write_notes
from tests.annotate.test_annotate import tree
from tests.conftest import SENTENCES

RUNNER = CliRunner()
TEXTS = [text for text, _ in SENTENCES]


def test_it_says_what_was_found_and_what_failed(calibrated_path, tmp_path):
    notes = write_notes(tmp_path / "notes.jsonl", [*enumerate(TEXTS), (99, None)])
    output = tmp_path / "out.jsonl"
    result = RUNNER.invoke(btl, ["annotate", str(calibrated_path), str(notes), str(output)])
    assert result.exit_code == 3, result.output
    n_entities = len(output.read_text().splitlines())
    assert f"5 notes, 4 annotated, 1 failed, {n_entities} entities" in result.output
    assert "Sign" in result.output
    assert "out.jsonl.errors.jsonl" in result.output.replace("\n", "")
    n_words = sum(len(text.split()) for text in TEXTS)
    assert re.search(
        rf"{n_words} words in under a second \(CPU, \d+ threads?, float32\)",
        result.output,
    )


def test_ctrl_c_says_what_is_done_and_how_to_go_on(calibrated_path, tmp_path, monkeypatch):
    notes = write_notes(tmp_path / "notes.jsonl", list(enumerate(TEXTS)))
    output = tmp_path / "out.jsonl"
    arguments = ["annotate", str(calibrated_path), str(notes), str(output), "--part-size", "2"]
    write = Job.write

    def stopped(self, part, *rest):
        if part == 1:
            raise KeyboardInterrupt
        return write(self, part, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(Job, "write", stopped)
        result = RUNNER.invoke(btl, arguments)
    assert result.exit_code == 130
    assert "Stopped at 4 of 4 notes. The same command goes on" in result.output
    assert not output.exists()
    assert RUNNER.invoke(btl, arguments).exit_code == 0
    assert output.exists()


def test_a_log_has_a_line_a_minute_and_a_terminal_a_bar(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    sink = io.StringIO()
    with shown("notes", Console(file=sink)) as show:
        for second in range(0, 185, 5):
            now[0] = float(second)
            show(10 * second, 10_000, "12 words/s")
    assert sink.getvalue().splitlines() == [
        "600 of 10,000 notes, 12 words/s",
        "1,200 of 10,000 notes, 12 words/s",
        "1,800 of 10,000 notes, 12 words/s",
    ]
    monkeypatch.undo()
    sink = io.StringIO()
    with shown("notes", Console(file=sink, force_terminal=True, width=80)) as show:
        show(3, 10, "12 words/s")
    assert "3/10 12 words/s" in re.sub(r"\x1b\[[0-9;]*m", "", sink.getvalue())


def test_an_error_is_one_line(calibrated_path, tmp_path):
    notes = write_notes(tmp_path / "notes.jsonl", [(1, "secret"), (1, "secret")])
    output = tmp_path / "out.jsonl"
    result = RUNNER.invoke(btl, ["annotate", str(calibrated_path), str(notes), str(output)])
    assert result.exit_code == 1
    assert "line 2: the id of this note is used before" in result.output
    assert "Traceback" not in result.output
    assert "secret" not in result.output
    assert not output.exists()


def test_a_folder_is_annotated_whole_or_not_at_all(calibrated_path, tmp_path):
    folder = write_notes(tmp_path / "notes", [("top", TEXTS[0]), ("ward-a/n1", TEXTS[1])])
    (folder / "ward-a/n2.TXT").write_text(TEXTS[2])
    arguments = ["annotate", str(calibrated_path), str(folder), str(tmp_path / "out.jsonl")]
    result = RUNNER.invoke(btl, arguments)
    assert result.exit_code == 0, result.output
    assert "3 notes, 3 annotated, 0 failed" in result.output
    (folder / "n3.docx").touch()
    arguments[-1] = str(tmp_path / "other.jsonl")
    result = RUNNER.invoke(btl, arguments)
    assert result.exit_code == 1
    assert "n3.docx: a file of another kind" in result.output.replace("\n", "")
    assert not (tmp_path / "other.jsonl").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("id,text,text\n1,secret draft,secret\n", "two columns are called 'text'. Name another"),
        ("id;text\n1;secret caf\xe9\n", "Of 1 note none could be annotated"),
    ],
)
def test_what_annotates_nothing_is_an_error_and_writes_nothing(
    content, message, calibrated_path, tmp_path
):
    (tmp_path / "notes.csv").write_bytes(content.encode("latin-1"))
    arguments = ["annotate", str(calibrated_path), str(tmp_path / "notes.csv")]
    result = RUNNER.invoke(btl, [*arguments, str(tmp_path / "out.jsonl")])
    assert result.exit_code == 1
    assert message in result.output.replace("\n", "")
    assert "secret" not in result.output
    assert [path.name for path in tmp_path.iterdir()] == ["notes.csv"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["out.parquet", "brat"])
def test_a_kill_at_any_moment_loses_no_note_and_doubles_none(
    name,
    calibrated_path,
    tmp_path,
):
    notes = write_notes(tmp_path / "notes.jsonl", [(n, TEXTS[n % 4]) for n in range(600)])
    outputs = {kind: tmp_path / kind / name for kind in ("whole", "killed")}

    def start(output):
        arguments = ["annotate", calibrated_path, notes, output, "--part-size", "5"]
        return subprocess.Popen(
            [sys.executable, "-m", "spacy", "btl", *map(str, arguments)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    killed, parts = outputs["killed"], outputs["killed"].with_name(f"{name}.parts")
    moments = random.Random(name)
    for _ in range(2):
        process = start(killed)
        before = len(list((parts / "done").glob("*.json")))
        while len(list((parts / "done").glob("*.json"))) == before and process.poll() is None:
            time.sleep(0.01)
        time.sleep(moments.random() * 0.3)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL, "it was done before it could be killed"
        assert not killed.exists()
    for output in outputs.values():
        assert start(output).wait() == 0
    assert tree(killed) == tree(outputs["whole"])
    assert not parts.exists()
