"""`python -m spacy btl stats`, as its user sees it."""

import json
from pathlib import Path

from spacy.cli._util import app
from typer.testing import CliRunner

import spacy_btl.cli  # noqa: F401  (adds the commands)
from tests.corpora.test_split import make_corpus


def run(*args: str | Path) -> tuple[int, str]:
    """The exit status, and the output with its white space normalised."""
    result = CliRunner().invoke(app, ["btl", "stats", *map(str, args)])
    return result.exit_code, " ".join(result.output.split())


def test_prints_and_writes_the_figures(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path / "c.spacy", [{"Sign"}, {"Sign"}, {"Sign"}, {"[age]"}])
    status, output = run(corpus, "--output", tmp_path / "stats.json")
    assert status == 0, output
    assert "type mentions documents tokens share weight" in output
    rows = ("[age] 1 1 1 12.500% 0.8750", "Sign 3 3 3 37.500% 0.6250", "O 0 4 4 50.000% 0.5000")
    assert " ".join(rows) in output
    assert "4 documents, 8 tokens, 4 mentions, 2 types" in output
    assert "In fewer than 3 documents, too few for train, dev and test" in output
    assert "one each: [age]" in output
    figures = json.loads((tmp_path / "stats.json").read_text())
    assert [row["type"] for row in figures["types"]] == ["[age]", "Sign"]
    assert figures["outside"]["tokens"] == 4
    assert (figures["documents"], figures["mentions"], figures["left_out"]) == (4, 4, 0)


def test_an_error_is_told(tmp_path: Path) -> None:
    (tmp_path / "c.spacy").write_bytes(b"")
    status, output = run(tmp_path / "c.spacy")
    assert status == 1
    assert "c.spacy: not a .spacy file, or a damaged one" in output
