"""Notes into docs: which mentions each mode has, and which tokens have no annotation."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import spacy
from hypothesis import given, settings
from spacy.cli._util import app
from spacy.tokens import Doc, DocBin, Span
from spacy.training import Example
from typer.testing import CliRunner

import spacy_btl.cli  # noqa: F401  (adds the commands)
from spacy_btl.corpora.gold import Overlaps, to_doc
from spacy_btl.corpora.note import Mention, Note
from spacy_btl.corpora.report import ConversionReport
from spacy_btl.corpora.stats import corpus_stats
from spacy_btl.expressible import DUPLICATE, GAP, OTHER_TYPE, OWN_TYPE, Expressible
from spacy_btl.formats.convert import convert
from spacy_btl.metrics.scorer import score_ner
from spacy_btl.pipeline.btl_ner import BtlNer
from spacy_btl.tags import MISSING, TagScheme
from tests.formats.test_brat import ANY, notes

NLP = spacy.blank("en")


def make_doc(
    text: str,
    *mentions: Mention,
    missing: tuple[tuple[int, int], ...] = (),
    overlaps: Overlaps = "outer",
) -> tuple[Doc, ConversionReport]:
    report = ConversionReport()
    note = Note("n", text, mentions, missing)
    report.count_mentions(note)
    types = {mention.type for mention in mentions}
    return to_doc(note, NLP, types=types, report=report, overlaps=overlaps), report


def spans(items: Any) -> list[tuple[str, str]]:
    return [(span.text, span.label_) for span in items]


def unknown(doc: Doc) -> list[str]:
    return [token.text for token in doc if not token.ent_iob and not token.is_space]


def test_the_longest_wins_and_every_mention_is_in_the_spans() -> None:
    doc, report = make_doc(
        "old left knee pain",
        Mention("T1", "Site", ((9, 13),)),
        Mention("T2", "Sign", ((4, 18),)),
        Mention("T3", "Age", ((0, 8),)),
    )
    assert spans(doc.ents) == [("left knee pain", "Sign")]
    assert [(span.text, span.label_, span.id_) for span in doc.spans["mentions"]] == [
        ("knee", "Site", "T1"),
        ("left knee pain", "Sign", "T2"),
        ("old left", "Age", "T3"),
    ]
    # A token of a mention that is not in doc.ents is not known to be outside of all.
    assert unknown(doc) == ["old"]
    assert (report.tokens, report.tokens_missing) == (4, 1)
    counts = {label: (m.read, m.kept, m.overlapped) for label, m in report.types.items()}
    assert counts == {"Site": (1, 0, 1), "Sign": (1, 1, 0), "Age": (1, 0, 1)}


def test_the_inner_stays_if_asked() -> None:
    mentions = (Mention("T1", "Sign", ((4, 18),)), Mention("T2", "Site", ((9, 13),)))
    doc, report = make_doc("old left knee pain", *mentions, overlaps="inner")
    assert spans(doc.ents) == [("knee", "Site")]
    assert unknown(doc) == ["left", "pain"]
    assert (report.total("kept"), report.total("overlapped")) == (1, 1)


TEXT = "Knee: swollen, warm, red. CRP 84 mg/L in the left knee."


def test_an_enclosing_span_does_not_swallow_the_mentions_in_its_gap() -> None:
    doc, report = make_doc(
        TEXT,
        Mention("T1", "Sign", ((6, 13), (45, 54))),
        Mention("T2", "Sign", ((15, 19),)),
        Mention("T3", "Value", ((30, 37),)),
    )
    assert spans(doc.ents) == [("warm", "Sign"), ("84 mg/L", "Value")]
    assert [(s.text, s.id_) for s in doc.spans["mentions"] if s.id_ == "T1"] == [
        ("swollen", "T1"),
        ("left knee", "T1"),
    ]
    assert unknown(doc) == ["swollen", "left", "knee"]
    # With spans_key "warm" is lost: it cannot be told from T1, of its type, which goes around it.
    assert (report.flat.lost, report.flat.gapped) == ({GAP: 1}, 0)
    assert (report.overlapping.lost, report.overlapping.gapped) == ({GAP: 1}, 1)


def test_an_enclosing_span_that_holds_no_other_mention_stays() -> None:
    doc, report = make_doc(
        TEXT,
        Mention("T1", "Sign", ((6, 13), (21, 24))),
        Mention("T2", "Value", ((30, 32), (33, 37))),
    )
    assert spans(doc.ents) == [("swollen, warm, red", "Sign"), ("84 mg/L", "Value")]
    assert unknown(doc) == []
    for mode in (report.flat, report.overlapping):
        assert (mode.discontinuous, mode.gapped, mode.lost) == (2, 1, {})


def test_an_enclosing_span_does_not_swallow_what_is_missing() -> None:
    mention = Mention("T1", "Sign", ((0, 4), (10, 14)))
    for missing in ((5, 9), (3, 6)):
        doc, report = make_doc("left mild pain", mention, missing=(missing,))
        assert spans(doc.ents) == []
        assert unknown(doc) == ["left", "mild", "pain"]
        assert (report.types["Sign"].overlapped, report.flat.lost) == (1, {GAP: 1})
    doc, _ = make_doc("left mild pain", mention, missing=((0, 4),))  # of the mention itself
    assert spans(doc.ents) == [("left mild pain", "Sign")]


def test_of_discontinuous_mentions_that_cross_one_stays() -> None:
    doc, report = make_doc(
        "left and right knee pain",
        Mention("T1", "Site", ((0, 4), (15, 19))),
        Mention("T2", "Sign", ((9, 14), (20, 24))),
    )
    assert spans(doc.ents) == [("left and right knee", "Site")]
    assert unknown(doc) == ["pain"]
    assert (report.flat.gapped, report.flat.lost) == (1, {GAP: 1})
    assert (report.overlapping.gapped, report.overlapping.lost) == (2, {})


def test_mentions_grow_to_tokens_and_shed_white_space() -> None:
    doc, report = make_doc(
        "Postoperative  \nfever now",
        Mention("T1", "Time", ((4, 13),)),
        Mention("T2", "Sign", ((14, 21),)),
        Mention("T3", "Time", ((22, 25),)),
    )
    assert spans(doc.ents) == [("Postoperative", "Time"), ("fever", "Sign"), ("now", "Time")]
    assert spans(doc.spans["mentions"]) == spans(doc.ents)
    assert (report.total("kept"), report.flat.moved, report.overlapping.moved) == (3, 2, 2)


def test_of_two_mentions_that_become_the_same_the_second_is_lost() -> None:
    doc, report = make_doc(
        "EGFR/HER2-positive",
        Mention("T1", "Gene", ((0, 4),)),
        Mention("T2", "Gene", ((0, 3),)),
    )
    assert len(doc.ents) == 1
    assert [span.id_ for span in doc.spans["mentions"]] == ["T1", "T2"]
    for mode in (report.flat, report.overlapping):
        assert (mode.lost, mode.moved) == ({DUPLICATE: 1}, 0)
    assert (report.total("kept"), report.total("told_apart")) == (1, 1)
    assert unknown(doc) == []


def test_a_fragment_of_white_space_is_no_span() -> None:
    # brat cuts a mention that runs over a line end into fragments
    doc, report = make_doc("chest \npain", Mention("T1", "Sign", ((0, 5), (5, 7), (7, 11))))
    assert spans(doc.ents) == [("chest \npain", "Sign")]
    assert spans(doc.spans["mentions"]) == [("chest", "Sign"), ("pain", "Sign")]
    assert (report.flat.discontinuous, report.flat.gapped) == (1, 0)


@settings(deadline=None)
@given(note=notes(ANY))
@pytest.mark.parametrize("overlaps", ["outer", "inner"])
def test_any_note_becomes_a_doc_and_its_report_adds_up(overlaps: Overlaps, note: Note) -> None:
    doc, report = make_doc(note.text, *note.mentions, overlaps=overlaps)
    assert doc.text == note.text
    assert doc.user_data["note_id"] == "n"
    assert report.total("kept") + report.total("overlapped") == report.total("read")
    assert report.total("kept") == len(doc.ents)
    assert report.total("told_apart") + report.overlapping.lost.total() == report.total("read")
    assert report.flat.lost.total() == report.total("overlapped")
    enclosing = [mention.enclosing_span for mention in note.mentions]
    for ent in doc.ents:
        assert ent.text == ent.text.strip()
        assert any(start < ent.end_char and ent.start_char < end for start, end in enclosing)
    assert {span.id_ for span in doc.spans["mentions"]} == {m.id for m in note.mentions}
    # No token of any mention is said to be outside of all.
    marked = {token.i for span in doc.spans["mentions"] for token in span if not token.is_space}
    assert all(doc[i].ent_iob_ != "O" for i in marked)
    assert report.tokens_missing == len(unknown(doc))


def test_what_is_missing_is_neither_learned_nor_scored() -> None:
    doc, _ = make_doc(
        "mild fever, severe cough",
        Mention("T1", "Sign", ((5, 10),)),
        missing=((0, 4), (8, 17)),  # part of a mention is part of it; "sever" is "severe"
    )
    assert spans(doc.ents) == [("fever", "Sign")]
    assert unknown(doc) == ["mild", ",", "severe"]
    (doc,) = DocBin().from_bytes(DocBin(docs=[doc]).to_bytes()).get_docs(NLP.vocab)
    tags = TagScheme(["Sign", "Severity"]).encode(Example(NLP.make_doc(doc.text), doc))
    assert tags.tolist() == [MISSING, 1, MISSING, MISSING, 0]

    predicted = NLP.make_doc(doc.text)
    right = [Span(predicted, 1, 2, label="Sign")]
    over_missing = [Span(predicted, 0, 1, label="Severity"), Span(predicted, 3, 5, label="Sign")]
    predicted.ents = right
    scores = score_ner([Example(predicted, doc)])
    predicted.ents = [*right, *over_missing]
    assert score_ner([Example(predicted, doc)])["ents_f"] == scores["ents_f"] == 1
    assert np.isclose(scores["tag_uar"], 1)


def test_a_note_that_is_missing_as_a_whole_has_no_annotation() -> None:
    doc, report = make_doc("no fever", missing=((0, 8),))
    assert not doc.has_annotation("ENT_IOB")
    assert (report.tokens, report.tokens_missing) == (2, 2)


# What each mode can express

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
    assert corpus_stats(tmp_path / "c.spacy").listed.expressible == report.expressible
    assert report.flat.lost == {OTHER_TYPE: 2, OWN_TYPE: 2}
    assert report.overlapping.lost == {OWN_TYPE: 3}
    written = json.loads((tmp_path / "c.report.json").read_text())
    assert written["flat"]["lost"] == report.flat.lost
    assert written["overlapping"]["lost"] == report.overlapping.lost
    assert written["types"]["Sign"]["told_apart"] == 2
    assert written["expressible"] == {"mentions": 11, "flat": 7, "overlapping": 8}


def run(*args: object) -> str:
    result = CliRunner().invoke(app, ["btl", *map(str, args)])
    assert result.exit_code == 0, result.output
    return " ".join(result.output.split())


def test_both_commands_recommend_the_mode(source: Path, tmp_path: Path):
    output = run("convert", source, tmp_path / "c.spacy")
    assert SAID in output
    for line in (
        "one label spans_key mentions read 11 11",
        f"- left out: {OTHER_TYPE} 2 0",
        f"- left out: {OWN_TYPE} 2 3",
        "= mentions kept 7 8",
    ):
        assert line in output
    output = run("stats", tmp_path / "c.spacy", "--output", tmp_path / "stats.json")
    assert SAID in output
    figures = json.loads((tmp_path / "stats.json").read_text())
    assert figures["listed"]["expressible"] == {"mentions": 11, "flat": 7, "overlapping": 8}
    assert f"3 mentions that spans_key cannot express either: {OWN_TYPE}" in output


def test_the_mode_is_recommended_where_it_adds_a_fiftieth():
    assert Expressible(100, 98, 100).recommends_spans_key
    assert not Expressible(100, 99, 100).recommends_spans_key
    assert not Expressible(0, 0, 0).recommends_spans_key
    assert str(Expressible(100, 99, 100)).endswith("it is not needed here")


def test_a_corpus_without_mentions_of_its_own_is_not_spoken_of(source: Path, tmp_path: Path):
    nlp = spacy.blank("en")
    doc = nlp.make_doc("no fever")
    doc.set_ents([], default="outside")
    doc.to_disk(tmp_path / "doc")
    spacy.tokens.DocBin(docs=[doc]).to_disk(tmp_path / "c.spacy")
    assert corpus_stats(tmp_path / "c.spacy").listed is None
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


def test_white_space_duplicates_nested_and_discontinuous_mentions_are_accounted_for(
    tmp_path: Path,
) -> None:
    """In both modes, of brat notes as of the corpus that they become."""
    (tmp_path / "brat").mkdir()
    (tmp_path / "brat" / "n.txt").write_text("left and right knee pain  today")
    (tmp_path / "brat" / "n.ann").write_text(
        "T1\tSite 0 4;15 19\tleft knee\nT2\tSite 9 19\tright knee\nT3\tSite 9 19\tright knee\n"
        "T4\tSign 0 24\tleft and right knee pain\nT5\tSign 24 26\t  \nT6\tTime 26 31\ttoday\n"
    )
    report = convert(tmp_path / "brat", tmp_path / "c.spacy", skip_invalid=True)
    assert report.total("read") == 6
    assert report.mentions_invalid == {"mention of white space only": 1}
    assert report.flat.lost == {OTHER_TYPE: 2, GAP: 1}
    assert (report.total("kept"), report.flat.discontinuous) == (2, 0)
    # "left and right knee" holds both others of its type.
    assert report.overlapping.lost == {DUPLICATE: 2}
    assert (report.total("told_apart"), report.overlapping.discontinuous) == (3, 1)
    listed = corpus_stats(tmp_path / "c.spacy").listed
    assert listed is not None
    assert (listed.expressible, listed.left_out) == (Expressible(5, 2, 3), 3)
    assert (listed.lost, listed.discontinuous, listed.white_space) == ({DUPLICATE: 2}, 1, 0)


def test_ten_thousand_mentions_in_a_note_are_converted(tmp_path: Path) -> None:
    ents = [[2 * i, 2 * i + 3, "AB"[i % 2]] for i in range(10_000)]
    record = {"text": "w " * 10_002, "ents": ents}
    (tmp_path / "n.jsonl").write_text(json.dumps(record))
    report = convert(tmp_path / "n.jsonl", tmp_path / "c.spacy")
    assert report.expressible == Expressible(10_000, 5_000, 10_000)
    assert report.flat.lost == {OTHER_TYPE: 5_000}
