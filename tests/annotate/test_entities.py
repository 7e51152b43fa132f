import pytest
import spacy

from spacy_btl.annotate.entities import MANY, Failure, annotate_notes, stop_at_failure
from spacy_btl.annotate.notes import Note
from spacy_btl.errors import AnnotateError
from tests.conftest import SENTENCES

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
    assert found == ([Note(1, "", "line 1"), Note(2, " ", "")], [], [])


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
