"""What share of a corpus's mentions each mode can express, on a corpus counted by hand."""

import json
from pathlib import Path

import pytest
import spacy
from spacy.cli._util import app
from typer.testing import CliRunner

import spacy_btl.cli  # noqa: F401  (adds the commands)
from spacy_btl.corpora.convert import convert
from spacy_btl.corpora.expressible import Expressible
from spacy_btl.corpora.stats import corpus_stats
from spacy_btl.pipeline.btl_ner import BtlNer

# 11 mentions: 7 are entities. Of the others "severe" and "fever" are inside one of another type,
# "84" is inside one of its own, and "cough today" crosses one of its own.
RECORDS = [
    {
        "text": "severe fever, no pain",
        "ents": [[0, 12, "Sign"], [0, 6, "Severity"], [7, 12, "Finding"], [17, 21, "Sign"]],
    },
    {"text": "crp was 84 mg", "ents": [[0, 3, "Test"], [8, 13, "Value"], [8, 10, "Value"]]},
    {"text": "dry cough today", "ents": [[0, 9, "Sign"], [4, 15, "Sign"]]},
    {"text": "aspirin and paracetamol", "ents": [[0, 7, "Drug"], [12, 23, "Drug"]]},
]
SAID = (
    "One label per token expresses 63.6% of the 11 mentions, and btl_ner with spans_key 72.7%: set "
    "it, so that the mentions that overlap are learned and predicted"
)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "notes.jsonl"
    path.write_text("\n".join(map(json.dumps, RECORDS)))
    return path


def test_the_conversion_report_and_the_statistics_say_the_same(source: Path, tmp_path: Path):
    report = convert(source, tmp_path / "c.spacy")
    # Of the two that cross, neither is told from the other; "84 mg" holds "84".
    assert report.expressible == Expressible(mentions=11, flat=7, overlapping=8)
    assert corpus_stats(tmp_path / "c.spacy").expressible == report.expressible
    written = json.loads((tmp_path / "c.report.json").read_text())
    assert written["merged"] == 3
    assert written["expressible"] == {"mentions": 11, "flat": 7, "overlapping": 8}


def run(*args: object) -> str:
    result = CliRunner().invoke(app, ["btl", *map(str, args)])
    assert result.exit_code == 0, result.output
    return " ".join(result.output.split())


def test_both_commands_recommend_the_mode(source: Path, tmp_path: Path):
    output = run("convert", source, tmp_path / "c.spacy")
    assert SAID in output
    assert "mentions that overlap another of their own type 3" in output
    output = run("stats", tmp_path / "c.spacy", "--output", tmp_path / "stats.json")
    assert SAID in output
    figures = json.loads((tmp_path / "stats.json").read_text())
    assert figures["expressible"] == {"mentions": 11, "flat": 7, "overlapping": 8}


def test_the_mode_is_recommended_where_it_adds_a_twentieth():
    assert Expressible(100, 95, 100).recommends_spans_key
    assert not Expressible(100, 96, 100).recommends_spans_key
    assert not Expressible(0, 0, 0).recommends_spans_key
    assert str(Expressible(100, 98, 100)).endswith("it is not needed here")


def test_a_corpus_without_mentions_of_its_own_is_not_spoken_of(source: Path, tmp_path: Path):
    nlp = spacy.blank("en")
    doc = nlp.make_doc("no fever")
    doc.set_ents([], default="outside")
    doc.to_disk(tmp_path / "doc")
    spacy.tokens.DocBin(docs=[doc]).to_disk(tmp_path / "c.spacy")
    assert corpus_stats(tmp_path / "c.spacy").expressible is None
    assert "spans_key" not in run("stats", tmp_path / "c.spacy")


def test_a_converted_corpus_is_what_the_mode_trains_on(source: Path, tmp_path: Path):
    """Tokens of left-out mentions are missing to the flat mode alone."""
    convert(source, tmp_path / "c.spacy")
    nlp = spacy.blank("en")
    loss = {"@losses": "spacy_btl.BinaryTokenLabels.v1", "competition": "pair"}
    ner = nlp.add_pipe("btl_ner", config={"spans_key": "btl", "loss": loss})
    assert isinstance(ner, BtlNer)
    nlp.initialize(lambda: spacy.training.Corpus(tmp_path / "c.spacy")(nlp))
    data = ner.label_data
    assert data["tokens"] == 5 + 4 + 3 + 3
    expected = {
        "Drug": 2, "Finding": 1, "O": 4, "Severity": 1, "Sign": 6, "Test": 1, "Value": 2
    }  # fmt: skip
    assert data["tags"] == expected
