import json

import pyarrow.parquet
import pytest
import spacy
from spacy.language import Language
from spacy.tokens import Span
from typer.testing import CliRunner

from spacy_btl.annotate.annotate import annotate_file
from spacy_btl.cli import btl
from spacy_btl.corpora.docbin import read_docs
from spacy_btl.errors import AnnotateError
from spacy_btl.formats.convert import convert
from spacy_btl.mentions import read_mentions
from spacy_btl.notes.entities import (
    MANY,
    Failure,
    annotate_notes,
    mentions_of,
    spans_keys,
    stop_at_failure,
)
from spacy_btl.notes.notes import Note
from spacy_btl.pipeline.annotations import set_spans
from tests.annotate.conftest import write_notes
from tests.conftest import SENTENCES
from tests.pipeline.test_overlapping import NOTES, TYPES, initialized, places

GOOD = [Note(number, text, f"line {number}") for number, (text, _) in enumerate(SENTENCES)]
BAD = Note("bad", "given arsenic today", "line 9")


def test_entities_are_those_of_the_pipeline(calibrated):
    found = annotate_notes(calibrated, GOOD, batch_size=3)
    expected = [
        (note.id, ent.start_char, ent.end_char, ent.text, ent.label_)
        for note in GOOD
        for ent in calibrated(note.text).ents
    ]
    assert expected
    assert [entity[:5] for entity in found.entities] == expected
    assert all(0 < entity.confidence <= 1 for entity in found.entities)
    assert not found.failures


def test_a_pipeline_without_a_calibrator_gives_no_confidence(trained):
    found = annotate_notes(trained, GOOD, batch_size=3)
    assert {entity.confidence for entity in found.entities} == {None}


def test_a_note_that_fails_costs_no_other_note(poisoned, calibrated):
    found = annotate_notes(poisoned, [GOOD[0], BAD, *GOOD[1:]], batch_size=3)
    plain = annotate_notes(calibrated, GOOD, batch_size=3)
    assert [entity[:5] for entity in found.entities] == [entity[:5] for entity in plain.entities]
    # The message of the error quotes the note.
    assert found.failures == [Failure("bad", "line 9", "ValueError")]


def test_failures_are_in_the_order_of_the_notes(poisoned):
    notes = [BAD, Note("none", None, "line 2", "no text"), GOOD[0], BAD._replace(id="last")]
    found = annotate_notes(poisoned, notes, batch_size=2)
    assert [failure.note_id for failure in found.failures] == ["bad", "none", "last"]


def test_a_note_that_the_pipeline_drops_is_a_failure(poisoned):
    poisoned.set_error_handler(lambda *_: None)
    found = annotate_notes(poisoned, [GOOD[0], BAD, GOOD[1]], batch_size=3)
    assert found.failures == [Failure("bad", "line 9", "dropped by the pipeline")]
    assert {entity.note_id for entity in found.entities} == {0, 1}


def test_long_and_missing_texts_are_failures(calibrated):
    notes = [Note(1, "x" * 1_000_001, "line 1"), Note(2, None, "line 2", "no text"), GOOD[0]]
    found = annotate_notes(calibrated, notes, batch_size=3)
    assert [failure.reason for failure in found.failures] == [
        "1000001 characters, and the pipeline reads at most 1000000",
        "no text",
    ]
    assert found.entities


def test_an_empty_note_is_no_failure(calibrated):
    found = annotate_notes(calibrated, [Note(1, "", "line 1"), Note(2, " ", "")], batch_size=3)
    assert found[:3] == ([Note(1, "", "line 1"), Note(2, " ", "")], [], [])
    assert found.words == 1
    assert found.facts == []


def test_strict_stops_and_names_the_place(poisoned):
    with pytest.raises(AnnotateError, match=r"line 9: .*ValueError") as error:
        stop_at_failure(annotate_notes(poisoned, [BAD], batch_size=3))
    assert "arsenic" not in str(error.value)


def test_a_cause_that_fails_every_note_stops_the_job_and_loses_none():
    notes = [Note(number, BAD.text, f"line {number}") for number in range(MANY)]
    broken = spacy.blank("en")
    broken.add_pipe("poison")
    with pytest.raises(AnnotateError, match=r"ValueError\. The notes are unlikely") as error:
        annotate_notes(broken, notes, batch_size=4)
    assert "arsenic" not in str(error.value)
    assert len(annotate_notes(broken, [*notes, GOOD[0]], batch_size=4).failures) == MANY


# Mentions that overlap


@Language.component("tests_no_group")
def no_group(doc):
    del doc.spans["btl"]
    return doc


@Language.component("tests_many_spans")
def many_spans(doc):
    """Two mentions at each token but the last, crossing those of the next."""
    spans = [Span(doc, i, i + 2, label) for i in range(len(doc) - 1) for label in TYPES[:2]]
    set_spans(doc, "btl", spans, [0.5] * len(spans), labels=TYPES)
    return doc


@pytest.fixture(scope="module")
def overlapping(overlapping_path):
    """Shared: do not change it."""
    return spacy.load(overlapping_path)


def as_rows(nlp, text):
    doc = nlp(text)  # which a group of spans needs
    return places(doc.spans["btl"])


def test_every_mention_has_a_row_in_every_format(overlapping, overlapping_path, tmp_path):
    texts = [text for text, _ in NOTES]
    notes = write_notes(tmp_path / "notes.jsonl", list(enumerate(texts)))
    expected = [(i, *place) for i, text in enumerate(texts) for place in as_rows(overlapping, text)]
    assert len(expected) > sum(len(overlapping(text).ents) for text in texts)
    for name in ("a.jsonl", "b.jsonl", "c.parquet", "note_nlp.parquet", "note_nlp.csv"):
        counts = annotate_file(str(overlapping_path), notes, tmp_path / name)
        assert counts.entities.total() == len(expected)
    assert (tmp_path / "a.jsonl").read_bytes() == (tmp_path / "b.jsonl").read_bytes()
    rows = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert pyarrow.parquet.read_table(tmp_path / "c.parquet").to_pylist() == rows
    assert [(row["note_id"], row["start"], row["end"], row["label"]) for row in rows] == expected
    assert all(0 < row["confidence"] <= 1 for row in rows)
    omop = pyarrow.parquet.read_table(tmp_path / "note_nlp.parquet").to_pylist()
    assert [(row["note_id"], int(row["offset"])) for row in omop] == [one[:2] for one in expected]
    assert len((tmp_path / "note_nlp.csv").read_text().splitlines()) == 1 + len(expected)


def test_mentions_come_back_from_brat(overlapping, overlapping_path, tmp_path):
    texts = [text.replace(" or", "\nor") for text, _ in NOTES]
    notes = write_notes(tmp_path / "notes.jsonl", [(str(i), text) for i, text in enumerate(texts)])
    annotate_file(str(overlapping_path), notes, tmp_path / "brat")
    report = convert(tmp_path / "brat", tmp_path / "c.spacy")
    assert report.overlapping.lost.total() == 0
    docs = read_docs(tmp_path / "c.spacy", overlapping.vocab)
    back = {
        doc.user_data["note_id"]: [
            (doc[start].idx, doc[end - 1].idx + len(doc[end - 1]), label)
            for start, end, label in sorted(read_mentions(doc, "mentions"))
        ]
        for doc in docs
    }
    assert back == {str(i): as_rows(overlapping, text) for i, text in enumerate(texts)}


def test_the_summary_says_what_is_written(overlapping_path, calibrated_path, tmp_path):
    text, mentions = NOTES[0]
    notes = write_notes(tmp_path / "notes.jsonl", [(1, text)])
    arguments = ["annotate", str(overlapping_path), str(notes), str(tmp_path / "out.jsonl")]
    result = CliRunner().invoke(btl, arguments)
    assert result.exit_code == 0, result.output
    output = " ".join(result.output.split())
    assert "type mentions" in output
    assert (
        f"1 note, 1 annotated, 0 failed, {len(mentions)} mentions: all of doc.spans['btl'], "
        "overlapping or not"
    ) in output
    arguments = ["annotate", str(calibrated_path), str(notes), str(tmp_path / "flat.jsonl")]
    output = " ".join(CliRunner().invoke(btl, arguments).output.split())
    assert "those of doc.ents" in output


def test_entities_of_other_pipes_are_mentions_and_none_is_there_twice(overlapping):
    doc = overlapping(NOTES[0][0])
    ours = places(doc.spans["btl"])
    doc.set_ents([Span(doc, 1, 3, "Rule")])
    assert places(mentions_of(doc, ["btl"])) == sorted([*ours, (3, 11, "Rule")])
    doc.spans["other"] = doc.spans["btl"]
    assert places(mentions_of(doc, ["btl", "other"])) == sorted([*ours, (3, 11, "Rule")])
    assert places(mentions_of(doc, [])) == [(3, 11, "Rule")]
    doc.spans["btl"], doc.ents = [], []
    assert mentions_of(doc, ["btl"]) == []


def test_a_group_that_a_pipe_removed_is_an_error_not_a_note_without_mentions():
    nlp = initialized()
    nlp.add_pipe("tests_no_group")
    with pytest.raises(AnnotateError, match=r"no doc\.spans\['btl'\].*deletes the group") as error:
        annotate_notes(nlp, [Note(1, NOTES[0][0], "line 1")], batch_size=1)
    assert "fever" not in str(error.value)


def test_tokens_that_are_merged_behind_the_pipe_are_an_error_before_any_note(tmp_path):
    """spaCy leaves the numbers of `doc.spans` as they are."""
    nlp = initialized()
    nlp.add_pipe("merge_entities", name="merge")
    nlp.to_disk(tmp_path / "model")
    notes = write_notes(tmp_path / "notes.jsonl", [(1, NOTES[0][0])])
    with pytest.raises(AnnotateError, match="'merge' merges or splits tokens"):
        annotate_file(str(tmp_path / "model"), notes, tmp_path / "out.jsonl")
    assert {path.name for path in tmp_path.iterdir()} == {"model", "notes.jsonl"}
    nlp.remove_pipe("merge")
    assert spans_keys(nlp) == ["btl"]
    nlp.add_pipe("merge_entities", first=True)  # before the encoder it changes no span
    assert spans_keys(nlp) == ["btl"]


def test_ten_thousand_mentions_of_a_note_have_a_row_each(tmp_path):
    nlp = initialized()
    nlp.add_pipe("tests_many_spans")
    text = " ".join(["w"] * 5_001)
    found = annotate_notes(nlp, [Note(1, text, "line 1"), Note(2, "", "line 2")], batch_size=2)
    assert len(found.entities) == 10_000
    order = [(*entity[1:3], entity.label) for entity in found.entities]
    assert order == sorted(order)
