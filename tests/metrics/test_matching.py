"""Which entities are correct, against sets of tuples, and the partial credit by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spacy_btl.metrics.matching import are_among, are_correct, partial_credit

ROWS = st.lists(st.tuples(*[st.integers(0, 2)] * 3), max_size=8).map(
    lambda rows: np.array(rows, dtype="int64").reshape(-1, 3)
)


@given(ROWS, ROWS)
def test_each_gold_entity_counts_once(predicted, gold):
    free = set(map(tuple, gold.tolist()))
    expected = []
    for entity in map(tuple, predicted.tolist()):
        expected.append(entity in free)
        free.discard(entity)
    assert are_correct(predicted, gold).tolist() == expected


@given(ROWS, ROWS)
def test_each_mention_counts_if_it_is_predicted(mentions, predicted):
    known = set(map(tuple, predicted.tolist()))
    assert are_among(mentions, predicted).tolist() == [tuple(m) in known for m in mentions.tolist()]


@pytest.mark.parametrize(
    ("gold", "predicted", "credit"),
    [
        ([(0, 2)], [(0, 2)], 1),
        ([(0, 2)], [(1, 4)], 0.5),
        ([(0, 2)], [(2, 4)], 0),
        ([(0, 1), (2, 3)], [(0, 3)], 0.5),  # matched to one at most
        ([(0, 3)], [(0, 1), (2, 3)], 0.5),
        ([(0, 1), (2, 5)], [(0, 1), (3, 5)], 1.5),
    ],
)
def test_partial_credit_by_hand(gold, predicted, credit):
    assert partial_credit(gold, predicted) == credit
