"""Notes into docs: which mentions are in `doc.ents`, and which tokens have no annotation."""

from typing import Any

import numpy as np
import pytest
import spacy
from hypothesis import given, settings
from spacy.tokens import Doc, DocBin, Span
from spacy.training import Example

from spacy_btl.corpora.gold import Overlaps, to_doc
from spacy_btl.corpora.note import Mention, Note
from spacy_btl.corpora.report import ConversionReport
from spacy_btl.metrics.scorer import score_ner
from spacy_btl.tags import MISSING, TagScheme
from tests.corpora.test_brat import ANY, notes

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
    assert (report.gapped_lost, report.gapped_kept, report.total("overlapped")) == (1, 0, 1)


def test_an_enclosing_span_that_holds_no_other_mention_stays() -> None:
    doc, report = make_doc(
        TEXT,
        Mention("T1", "Sign", ((6, 13), (21, 24))),
        Mention("T2", "Value", ((30, 32), (33, 37))),
    )
    assert spans(doc.ents) == [("swollen, warm, red", "Sign"), ("84 mg/L", "Value")]
    assert unknown(doc) == []
    assert (report.discontinuous, report.gapped_kept, report.gapped_lost) == (2, 1, 0)


def test_an_enclosing_span_does_not_swallow_what_is_missing() -> None:
    mention = Mention("T1", "Sign", ((0, 4), (10, 14)))
    for missing in ((5, 9), (3, 6)):
        doc, report = make_doc("left mild pain", mention, missing=(missing,))
        assert spans(doc.ents) == []
        assert unknown(doc) == ["left", "mild", "pain"]
        assert (report.types["Sign"].overlapped, report.gapped_lost) == (1, 1)
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
    assert (report.gapped_kept, report.gapped_lost) == (1, 1)


def test_mentions_grow_to_tokens_and_shed_white_space() -> None:
    doc, report = make_doc(
        "Postoperative  \nfever now",
        Mention("T1", "Time", ((4, 13),)),
        Mention("T2", "Sign", ((14, 21),)),
        Mention("T3", "Time", ((22, 25),)),
    )
    assert spans(doc.ents) == [("Postoperative", "Time"), ("fever", "Sign"), ("now", "Time")]
    assert spans(doc.spans["mentions"]) == spans(doc.ents)
    assert (report.total("kept"), report.moved) == (3, 2)


def test_of_two_mentions_that_become_the_same_the_second_is_lost() -> None:
    doc, report = make_doc(
        "EGFR/HER2-positive",
        Mention("T1", "Gene", ((0, 4),)),
        Mention("T2", "Gene", ((0, 3),)),
    )
    assert len(doc.ents) == 1
    assert [span.id_ for span in doc.spans["mentions"]] == ["T1", "T2"]
    assert (report.total("kept"), report.total("overlapped"), report.moved) == (1, 1, 0)
    assert unknown(doc) == []


def test_a_fragment_of_white_space_is_no_span() -> None:
    # brat cuts a mention that runs over a line end into fragments
    doc, report = make_doc("chest \npain", Mention("T1", "Sign", ((0, 5), (5, 7), (7, 11))))
    assert spans(doc.ents) == [("chest \npain", "Sign")]
    assert spans(doc.spans["mentions"]) == [("chest", "Sign"), ("pain", "Sign")]
    assert (report.discontinuous, report.gapped_kept) == (1, 0)


@settings(deadline=None)
@given(note=notes(ANY))
@pytest.mark.parametrize("overlaps", ["outer", "inner"])
def test_any_note_becomes_a_doc_and_its_report_adds_up(overlaps: Overlaps, note: Note) -> None:
    doc, report = make_doc(note.text, *note.mentions, overlaps=overlaps)
    assert doc.text == note.text
    assert doc.user_data["note_id"] == "n"
    assert report.total("kept") + report.total("overlapped") == report.total("read")
    assert report.total("kept") == len(doc.ents)
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
