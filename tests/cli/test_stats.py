"""`python -m spacy btl stats`, as its user sees it."""

import json
from pathlib import Path

import spacy
from spacy.cli._util import app
from spacy.tokens import Span
from typer.testing import CliRunner

import spacy_btl.cli  # noqa: F401  (adds the commands)
from spacy_btl.corpora.docbin import write_docs
from spacy_btl.corpora.stats import corpus_stats
from spacy_btl.splits.split import split_corpus
from tests.splits.test_split import make_corpus


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
    assert "In fewer than 3 documents, so not in each of train, dev and test" in output
    assert "after a split: [age]" in output
    figures = json.loads((tmp_path / "stats.json").read_text())
    assert [row["type"] for row in figures["types"]] == ["[age]", "Sign"]
    assert figures["outside"]["tokens"] == 4
    assert (figures["documents"], figures["mentions"], figures["listed"]["left_out"]) == (4, 4, 0)


def test_names_the_conversion_report(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path / "c.spacy", [{"Sign"}])
    assert "report" not in run(corpus)[1]
    (tmp_path / "c.report.json").write_text("{}")
    assert f"left out: {tmp_path / 'c.report.json'}" in run(corpus)[1]


def test_an_error_is_told(tmp_path: Path) -> None:
    (tmp_path / "c.spacy").write_bytes(b"")
    status, output = run(tmp_path / "c.spacy")
    assert status == 1
    assert "c.spacy: not a .spacy file, or a damaged one" in output


def test_a_part_of_a_split_is_not_said_to_be_too_small(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path / "c.spacy", [{"Sign"}, {"Sign", "Age"}] * 10)
    for folds, folder in ((None, tmp_path), (2, tmp_path / "fold-1")):
        split_corpus(corpus, tmp_path, folds=folds)
        for part in ("dev", "test"):
            status, output = run(folder / f"{part}.spacy")
            assert status == 0
            assert "Sign" in output
            assert "In fewer than" not in output
    (tmp_path / "split.json").unlink()
    assert "In fewer than 3 documents" in run(folder / "dev.spacy")[1]


def test_mentions_over_line_ends_are_counted(tmp_path: Path) -> None:
    nlp = spacy.blank("en")
    texts = ("severe chest\npain today", "severe chest\n\npain today", "no fever\n")
    docs = [nlp.make_doc(text) for text in texts]
    for doc in docs:
        doc.ents = [Span(doc, 1, len(doc) - 1, label="Sign")]
    write_docs(tmp_path / "c.spacy", docs)
    _, output = run(tmp_path / "c.spacy")
    assert "2 mentions over a line end, 1 of them where the tag scheme IO" in output
    stats = corpus_stats(tmp_path / "c.spacy")
    assert (stats.over_line_ends, stats.cut_by_io, stats.is_part) == (2, 1, False)
