"""`python -m spacy btl convert`, as its user sees it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from spacy.cli._util import app
from spacy.vocab import Vocab
from typer.testing import CliRunner

import spacy_btl.cli  # noqa: F401  (adds the commands)
from spacy_btl.corpora.docbin import read_docs

SECRET = "Zyxwvut"  # stands for what must never be printed


@pytest.fixture
def src(tmp_path: Path) -> Path:
    records = [
        {"text": f"{SECRET} has fever", "ents": [[12, 17, "Sign"], [0, 99, "Sign"]]},
        {"text": f"{SECRET} is old", "ents": [[11, 14, "[Age]"]]},
        {"text": SECRET, "spans": [], "answer": "reject"},
    ]
    path = tmp_path / "notes.jsonl"
    path.write_text("\n".join(json.dumps(record) for record in records) + "\n{broken")
    return path


def run(*args: str | Path) -> tuple[int, str]:
    """The exit status, and the output with its white space normalised."""
    result = CliRunner().invoke(app, ["btl", "convert", *map(str, args)])
    return result.exit_code, " ".join(result.output.split())


def test_prints_an_account(src: Path, tmp_path: Path) -> None:
    out = tmp_path / "corpus.spacy"
    status, output = run(src, out, "--skip-invalid")
    assert status == 0, output
    assert out.is_file()
    for line in (
        "notes read 4",
        "- skipped: answer: reject 1",
        "- skipped: broken JSON 1",
        "= notes written 2",
        "mentions read 3",
        "- lost to an overlapping mention 0",
        "- skipped: mention offsets outside the text 1",
        "= mentions kept 2",
        "types kept 2",
    ):
        assert line in output
    assert SECRET not in output


def test_names_the_types_it_drops(src: Path, tmp_path: Path) -> None:
    _, output = run(src, tmp_path / "c.spacy", "--skip-invalid", "--min-mentions", "2")
    assert "dropped for having fewer than 2 mentions: Sign (1), [Age] (1)" in output


def test_says_whose_notes_it_converts(src: Path, tmp_path: Path) -> None:
    out, file = tmp_path / "corpus.spacy", tmp_path / "patients.csv"
    file.write_text("note_id,patient_id\nline-000002,p2\nline-000001,p1\n")
    status, output = run(src, out, "--skip-invalid", "--patients", file)
    assert status == 0, output
    docs = read_docs(out, Vocab())
    assert [doc.user_data["patient_id"] for doc in docs] == ["p1", "p2"]
    file.write_text("note_id,patient_id\nline-000001,p1\n")
    status, output = run(src, tmp_path / "other.spacy", "--skip-invalid", "--patients", file)
    assert status == 1
    assert "does not say whose 1 of 2 notes are. The first is note 2 of" in output
    assert not (tmp_path / "other.spacy").exists()


def test_an_error_is_one_line_and_leaves_nothing(src: Path, tmp_path: Path) -> None:
    status, output = run(src, tmp_path / "corpus.spacy")
    assert status == 1
    assert "line 1, mention 2: mention offsets outside the text." in output
    assert SECRET not in output
    assert list(tmp_path.iterdir()) == [src]


def test_loading_the_commands_loads_nothing_heavy() -> None:
    code = (
        "import sys, spacy.cli; before = set(sys.modules); import spacy_btl.cli; "
        "new = set(sys.modules) - before; heavy = ('torch', 'sklearn', 'spacy_btl.corpora'); "
        "print('new' if 'spacy_btl.cli' in new else 'old', [n for n in new if n.startswith(heavy)])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout == "new []\n", result.stderr
