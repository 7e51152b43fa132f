"""Which errors are shown, and where they are in the text."""

from dataclasses import replace

import numpy as np
import pytest
import spacy
from spacy.tokens import Doc

from spacy_btl.evaluation.mistakes import CONTEXT, MAX_ERRORS, worst_errors
from tests.evaluation.made_up import predictions_of

VOCAB = spacy.blank("en").vocab


def notes(corpus):
    """Each word tells its document and its place."""
    return [
        Doc(VOCAB, [f"word{number}.{i}" for i in range(len(gold))])
        for number, (gold, _) in enumerate(corpus)
    ]


def errors_of(corpus, confidence=None):
    predictions = predictions_of(corpus)
    if confidence is not None:
        predictions = replace(predictions, confidence=np.array(confidence))
    return worst_errors(predictions, notes(corpus))


def shown(error, side):
    return [(error["text"][ent["start"] : ent["end"]], ent["label"]) for ent in error[side]]


CORPUS = [
    (["B-Sign", "I-Sign", "O", "B-Test"], ["B-Sign", "O", "B-Drug", "O"]),
    (["B-Sign", "O", "O", "B-Rare"], ["B-Sign", "O", "B-Sign", "O"]),
]


def test_wrong_ones_come_first_and_the_surest_of_them():
    errors = errors_of(CORPUS, [0.5, np.nan, 0.99, 0.9])
    rows = [(error["kind"], error["label"], error["confidence"]) for error in errors]
    assert rows == [
        ("wrong", "Sign", 0.9),  # the right Sign, surer still, is no error
        ("wrong", "Sign", 0.5),
        ("wrong", "Drug", None),
        ("missed", "Test", None),
        ("missed", "Rare", None),
    ]


def test_a_mention_that_an_entity_overlaps_is_not_missed():
    """Its wrong entity is shown already."""
    assert [error["kind"] for error in errors_of([(["B-Sign", "I-Sign"], ["B-Test", "O"])])] == [
        "wrong"
    ]


def test_the_entities_around_are_where_the_text_has_them():
    error = errors_of(CORPUS, [0.99, 0.5, 0.5, 0.5])[0]
    assert error["text"] == "word0.0 word0.1 word0.2 word0.3"
    assert shown(error, "gold") == [("word0.0 word0.1", "Sign"), ("word0.3", "Test")]
    assert shown(error, "predicted") == [("word0.0", "Sign"), ("word0.2", "Drug")]


def test_only_a_piece_of_the_note_is_shown():
    gold = ["O"] * 100
    predicted = [*gold[:50], "B-Sign", *gold[51:]]
    gold[10] = gold[45] = "B-Test"
    wrong, *missed = errors_of([(gold, predicted)])
    assert wrong["text"].split() == [f"word0.{i}" for i in range(50 - CONTEXT, 51 + CONTEXT)]
    assert shown(wrong, "predicted") == [("word0.50", "Sign")]
    assert shown(wrong, "gold") == [("word0.45", "Test")]
    assert [shown(error, "gold")[0] for error in missed] == [
        ("word0.10", "Test"),
        ("word0.45", "Test"),
    ]


def test_the_rarest_types_are_missed_first_and_a_few_will_do():
    rare = (["B-Rare"], ["O"])
    common = (["B-Sign"] * 40, ["O"] * 40)
    vain = (["O"] * 40, ["B-Sign"] * 40)
    errors = errors_of([common, rare, vain], np.linspace(0, 1, 40))
    assert len(errors) == 2 * MAX_ERRORS
    assert [error["kind"] for error in errors] == ["wrong"] * MAX_ERRORS + ["missed"] * MAX_ERRORS
    assert errors[0]["confidence"] == 1
    assert errors[MAX_ERRORS]["label"] == "Rare"


@pytest.mark.parametrize("tags", [["O", "O"], ["B-Sign", "O"]])
def test_there_may_be_none(tags):
    assert errors_of([(tags, tags)]) == []
