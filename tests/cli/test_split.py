"""`python -m spacy btl split`, as its user sees it."""

import json
from pathlib import Path

import pytest
from spacy.cli._util import app
from typer.testing import CliRunner

import spacy_btl.cli  # noqa: F401  (adds the commands)
from tests.splits.test_split import make_corpus


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    types = [{"Sign"} for _ in range(20)]
    types[0].add("[Rare]")
    return make_corpus(tmp_path / "corpus.spacy", types)


def run(*args: str | Path) -> tuple[int, str]:
    """The exit status, and the output with its white space normalised."""
    result = CliRunner().invoke(app, ["btl", "split", *map(str, args)])
    return result.exit_code, " ".join(result.output.split())


def test_writes_the_parts_and_tells_of_them(corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    status, output = run(corpus, out, "--dev", "0.2", "--test", "0.3", "--seed", "5")
    assert status == 0, output
    files = ["dev.spacy", "split.json", "test.spacy", "train.spacy"]
    assert sorted(path.name for path in out.iterdir()) == files
    record = json.loads((out / "split.json").read_text())
    assert record["seed"] == 5
    assert "part documents mentions types" in output
    for name, notes in record["parts"].items():
        types = 2 if "note-0" in notes else 1
        assert f" {name} {len(notes)} {len(notes) + types - 1} {types} " in output
        assert (f"No document of {name} has: [Rare]" in output) == (types == 1)


def test_writes_folds(corpus: Path, tmp_path: Path) -> None:
    status, output = run(corpus, tmp_path / "out", "--folds", "2")
    assert status == 0, output
    for name in ("fold-0/train", "fold-0/dev", "fold-0/test", "fold-1/test"):
        assert (tmp_path / "out" / f"{name}.spacy").is_file()
        assert f" {name} " in output


def test_an_error_is_told(tmp_path: Path) -> None:
    status, output = run(tmp_path / "gone.spacy", tmp_path / "out")
    assert status == 1
    assert "gone.spacy: no such file" in output
