"""Entities get other types, go, come, and are restored."""

import pytest

from spacy_btl.notes.entities import Entity
from spacy_btl.web.corrections import Correction, added, corrected, place_of, retyped

FEVER = Entity("n", 3, 8, "fever", "Sign", 0.9)
COUGH = Entity("n", 12, 17, "cough", "Sign", 0.4)
FOUND = [FEVER, COUGH]


def test_another_type_takes_the_place_and_has_no_confidence():
    corrections = retyped([], FEVER, "Disease")
    disease = FEVER._replace(label="Disease", confidence=None)
    assert corrected(FOUND, corrections) == [disease, COUGH]
    # changed again, it is still one correction of what the pipeline found
    again = retyped(corrections, disease, "Test")
    assert again == [Correction(FEVER, disease._replace(label="Test"))]
    assert retyped(again, again[0].meant, "Sign") == []


def test_what_is_meant_stays_when_the_pipeline_finds_it_no_more():
    corrections = retyped([], FEVER, "Disease")
    assert [one.label for one in corrected([COUGH], corrections)] == ["Disease", "Sign"]
    assert corrected([COUGH], retyped([], FEVER, None)) == [COUGH]


def test_a_deleted_one_goes_and_is_restored_by_adding_it():
    corrections = retyped([], COUGH, None)
    assert corrected(FOUND, corrections) == [FEVER]
    assert added(corrections, COUGH._replace(confidence=None)) == []


@pytest.mark.parametrize("label", [None, "Test"])
def test_an_added_one_is_in_the_order_of_the_text_and_is_corrected_as_others(label):
    dry = Entity("n", 9, 11, "dry", "Texture", None)
    corrections = added([], dry)
    assert list(map(place_of, corrected(FOUND, corrections))) == [
        (3, 8, "Sign"),
        (9, 11, "Texture"),
        (12, 17, "Sign"),
    ]
    expected = [] if label is None else [Correction(None, dry._replace(label=label))]
    assert retyped(corrections, dry, label) == expected


def test_a_type_that_another_mention_has_there_merges_them():
    both = [FEVER, FEVER._replace(label="Test", confidence=0.2)]
    assert len(corrected(both, retyped([], FEVER, "Test"))) == 1
