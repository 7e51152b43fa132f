"""Headings, and the pipe `btl_sections`."""

import json

import pytest
import spacy
from spacy.tokens import Doc, Span

from spacy_btl.annotate.annotate import Options, annotate_file
from spacy_btl.context.headings import headings
from spacy_btl.context.sections import HEADINGS, section
from spacy_btl.training.add_sections import add_sections
from tests.annotate.conftest import write_notes


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("PAST MEDICAL HISTORY: Asthma.", ["PAST MEDICAL HISTORY"]),
        ("EXAMINATION\nClear lungs.", ["EXAMINATION"]),
        ("EXAMINATION\r\nClear lungs.", ["EXAMINATION"]),
        ("Past medical history: asthma\nPlan:\nRest.", ["Past medical history", "Plan"]),
        ("Plan\nRest.", ["Plan"]),
        # Line ends were lost, as in collections of transcribed notes.
        ("SUBJECTIVE:,  A cough.,MEDICATIONS: , None.", ["SUBJECTIVE", "MEDICATIONS"]),
        ("MEDICATIONS: 1. Aspirin", ["MEDICATIONS"]),
        ("DISCHARGE DIAGNOSES: 2 of them", ["DISCHARGE DIAGNOSES"]),
        ("ABDOMEN: Soft, not tender.", ["ABDOMEN"]),
        ("HEENT: Normal.", ["HEENT"]),
        # Names of values, abbreviations, and what has no form of a heading.
        ("WEIGHT: 81 kg", []),
        ("BLOOD PRESSURE: 120/80", []),
        ("BP: low", []),
        ("He has a PLAN: none.", []),
        ("Complained of pain: severe.", []),
        ("Fever\nCough", []),
        ("CT of the head was normal.", []),
        ("", []),
        # All in capitals: only usual titles count.
        ("THE PATIENT CAME TODAY\nHISTORY: ASTHMA", ["HISTORY"]),
    ],
)
def test_headings_are_told_by_their_form(text, expected):
    found = headings(text)
    assert [text[start:end] for start, end in found] == expected


@pytest.mark.parametrize("run", [",", "A)"])
def test_a_long_run_of_signs_costs_no_square(run):
    """It would take more than an hour."""
    text = f"{run * 200_000}.,PLAN: rest"
    assert [text[start:end] for start, end in headings(text)] == ["PLAN"]


@pytest.fixture
def nlp():
    """A pipeline whose entities are the words `fever`, `exam` and `plan`, in any case."""
    nlp = spacy.blank("en")
    ruler = nlp.add_pipe("entity_ruler", config={"phrase_matcher_attr": "LOWER"})
    ruler.add_patterns([{"label": "Sign", "pattern": word} for word in ("fever", "exam", "plan")])
    nlp.add_pipe("btl_sections", config={"spans_keys": ["btl"]})
    return nlp


def test_headings_are_no_entities_and_others_have_a_section(nlp):
    doc = nlp("Fever.\nEXAM: no fever\n\nPlan\nExam, if fever.")
    assert [(ent.text, ent._.section) for ent in doc.ents] == [
        ("Fever", None),
        ("fever", "exam"),
        ("Exam", "plan"),
        ("fever", "plan"),
    ]
    assert [heading.text for heading in doc.spans[HEADINGS]] == ["EXAM", "Plan"]
    back = Doc(nlp.vocab).from_bytes(doc.to_bytes())
    assert [section(ent) for ent in back.ents] == [None, "exam", "plan", "plan"]


def test_a_section_is_the_title_alone_where_tokens_have_more(nlp):
    doc = nlp(
        "Lungs were normal.,NECK: Fever.,CARE UNIT COURSE: fever.,Plan: fever, x3,Exam: fever"
    )
    assert [ent._.section for ent in doc.ents] == ["neck", "care unit course", "plan", "plan"]
    assert doc.spans[HEADINGS][0].text != "NECK"  # of spaCy's tokenizer


def test_mentions_that_overlap_are_taken_out_too_and_a_second_run_changes_nothing(nlp):
    doc = nlp.make_doc("EXAM: no fever")
    doc.spans["btl"] = [Span(doc, 0, 1, "Sign"), Span(doc, 0, 4, "Sign"), Span(doc, 3, 4, "Sign")]
    sections = nlp.get_pipe("btl_sections")
    for _ in range(2):
        doc = sections(doc)
        assert [(span.start, span.end) for span in doc.spans["btl"]] == [(3, 4)]


def test_missing_annotation_stays_missing(nlp):
    doc = nlp.make_doc("EXAM: no fever")
    doc.set_ents([Span(doc, 0, 1, "Sign")], missing=[doc[2:4]])
    doc = nlp.get_pipe("btl_sections")(doc)
    assert [token.ent_iob for token in doc] == [2, 2, 0, 0]


def test_rows_have_the_section(calibrated_path, tmp_path):
    nlp = add_sections(str(calibrated_path), tmp_path / "model")
    assert nlp.pipe_names[-1] == "btl_sections"
    texts = ["PAST HISTORY: severe fever", "severe fever"]
    notes = write_notes(tmp_path / "notes.jsonl", list(enumerate(texts)))
    annotate_file(str(tmp_path / "model"), notes, tmp_path / "out.jsonl", Options())
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").open()]
    sections = {row["note_id"]: row["section"] for row in rows}
    assert sections == {0: "past history", 1: None}
    annotate_file(str(calibrated_path), notes, tmp_path / "plain.jsonl", Options())
    assert "section" not in json.loads((tmp_path / "plain.jsonl").open().readline())


def test_the_pipe_stands_before_that_of_assertions_and_once(asserted_path, tmp_path):
    for name in ("one", "two"):
        nlp = add_sections(str(asserted_path), tmp_path / name)
        asserted_path = tmp_path / name
    assert nlp.pipe_names[-2:] == ["btl_sections", "btl_context"]
