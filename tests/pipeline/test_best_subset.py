"""Weighted interval scheduling against trying all subsets."""

from itertools import combinations, pairwise

from hypothesis import given
from hypothesis import strategies as st

from spacy_btl.pipeline.best_subset import best_subset

intervals = st.lists(
    st.tuples(st.integers(0, 9), st.integers(1, 5), st.integers(1, 8)).map(
        lambda drawn: (drawn[0], drawn[0] + drawn[1], drawn[2] / 8)
    ),
    max_size=9,
)


def apart(chosen):
    ordered = sorted(chosen)
    return all(one[1] <= other[0] for one, other in pairwise(ordered))


@given(intervals)
def test_no_subset_has_a_greater_sum(drawn):
    spans, weights = [one[:2] for one in drawn], [one[2] for one in drawn]
    chosen = best_subset(spans, weights)
    assert apart([spans[i] for i in chosen])
    assert [spans[i] for i in chosen] == sorted(spans[i] for i in chosen)
    subsets = (
        subset
        for size in range(len(spans) + 1)
        for subset in combinations(range(len(spans)), size)
        if apart([spans[i] for i in subset])
    )
    best = max(sum(weights[i] for i in subset) for subset in subsets)
    assert sum(weights[i] for i in chosen) == best  # eighths are exact


def test_it_is_not_greedy():
    assert best_subset([(0, 2), (1, 4), (3, 5)], [0.6, 0.9, 0.6]) == [0, 2]


def test_ties_fall_to_the_longer_interval_and_then_to_the_first():
    assert best_subset([(1, 3), (0, 3)], [0.5, 0.5]) == [1]
    assert best_subset([(0, 3), (0, 3)], [0.5, 0.5]) == [0]
    assert best_subset([(0, 2), (1, 3)], [0.5, 0.5]) == [0]  # the one that ends first
    assert best_subset([], []) == []
