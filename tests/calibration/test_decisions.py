"""Decisions by their properties; the best path against every path and against a dense matrix."""

from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spacy_btl.calibration.decisions import UNSEEN, Transitions, count_pairs, decide

N_TAGS = 6
TAGS = np.array([0, 0, 1, 1, 1, 0, 2, 0, 1])
DOCUMENTS = np.array([0, 0, 0, 0, 0, 0, 1, 1, 4])
PAIRS = count_pairs(TAGS, DOCUMENTS)


def in_one(tags):
    tags = np.array(tags, dtype=int)
    return count_pairs(tags, np.zeros(len(tags)))


def test_pairs_are_counted_within_documents():
    assert PAIRS.tolist() == [[0, 0, 1], [0, 1, 1], [1, 0, 1], [1, 1, 2], [2, 0, 1]]
    assert in_one([]).shape == in_one([1]).shape == (0, 3)


def dense(pairs, n_tags):
    """log P(next | tag) - log P(next), written out."""
    counts = np.full((n_tags, n_tags), UNSEEN)
    for tag, following, count in pairs:
        counts[tag, following] += count
    joint = counts / counts.sum()
    return np.log(counts / counts.sum(axis=1, keepdims=True)) - np.log(joint.sum(axis=0))


def value(path, scores, matrix, weight):
    return sum(scores[t, tag] for t, tag in enumerate(path)) + weight * sum(
        matrix[a, b] for a, b in pairwise(path)
    )


@given(
    st.integers(0, 10_000),
    st.integers(1, 5),
    st.sampled_from([0.2, 1.0, 3.0]),
    st.sampled_from([1, 3, 10]),
)
def test_no_path_is_better(seed, length, weight, spread):
    """Also where some tokens are so far ahead that transitions cannot change them."""
    rng = np.random.default_rng(seed)
    n_tags = 3
    pairs = in_one(rng.integers(0, n_tags, size=rng.integers(0, 9)))
    scores = spread * rng.normal(size=(length, n_tags))
    path = Transitions.from_pairs(pairs, n_tags).best_paths(scores, weight)
    matrix = dense(pairs, n_tags)
    best = max(
        value(each, scores, matrix, weight) for each in product(range(n_tags), repeat=length)
    )
    assert value(path, scores, matrix, weight) == pytest.approx(best)


@given(st.integers(0, 10_000), st.lists(st.integers(1, 9), min_size=1, max_size=7))
def test_all_documents_at_once_are_each_by_itself(seed, lengths):
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=(sum(lengths), 4))
    scores[rng.random(scores.shape) < 0.1] = -np.inf
    scores[:, 0] = 0
    transitions = Transitions.from_pairs(in_one(rng.integers(0, 4, size=12)), 4)
    documents = np.repeat(np.arange(len(lengths)), lengths)
    together = transitions.best_paths(scores, 0.7, documents)
    alone = [transitions.best_paths(scores[documents == d], 0.7) for d in range(len(lengths))]
    np.testing.assert_array_equal(together, np.concatenate(alone))


def test_long_documents_with_sure_tokens_have_the_path_of_a_dense_matrix():
    """Viterbi's algorithm, written out."""
    rng = np.random.default_rng(0)
    documents = np.repeat(np.arange(6), [1, 2, 300, 1, 40, 3])
    scores = rng.gumbel(0, 1, (len(documents), N_TAGS)) * rng.choice([1, 6], (len(documents), 1))
    pairs = in_one(rng.integers(0, N_TAGS, size=200))
    matrix, expected = 0.6 * dense(pairs, N_TAGS), []
    for number in range(6):
        rows = scores[documents == number]
        best, back = rows[0], []
        for row in rows[1:]:
            arriving = best[:, None] + matrix
            back.append(arriving.argmax(axis=0))
            best = arriving.max(axis=0) + row
        path = [int(best.argmax())]
        for step in back[::-1]:
            path.append(int(step[path[-1]]))
        expected += path[::-1]
    found = Transitions.from_pairs(pairs, N_TAGS).best_paths(scores, 0.6, documents)
    assert found.tolist() == expected
    assert (found != scores.argmax(axis=1)).any()


def test_weight_0_is_arg_max():
    scores = np.random.default_rng(0).normal(size=(20, 3))
    transitions = Transitions.from_pairs(PAIRS, 3)
    assert (transitions.best_paths(scores, 0.0) == scores.argmax(axis=1)).all()
    assert transitions.best_paths(scores[:0], 1.0).shape == (0,)


def test_a_doubtful_token_between_sure_ones_joins_them():
    pairs = in_one([0] * 20 + [1] * 20 + [0] * 20)
    scores = np.log(np.array([[0.9, 0.1], [0.1, 0.9], [0.55, 0.45], [0.1, 0.9], [0.9, 0.1]]))
    assert Transitions.from_pairs(pairs, 2).best_paths(scores, 0.5).tolist() == [0, 1, 1, 1, 0]


def test_impossible_tags_are_never_chosen():
    """A token that the encoder never saw has probability 1 of `O`."""
    with np.errstate(divide="ignore"):
        scores = np.log(np.array([[0.1, 0.9], [1.0, 0.0], [0.1, 0.9]]))
    pairs = in_one([1] * 50)
    assert Transitions.from_pairs(pairs, 2).best_paths(scores, 5.0)[1] == 0


def test_no_path_leads_from_one_document_into_the_next():
    rng = np.random.default_rng(1)
    p = rng.dirichlet(np.ones(3), 30)
    prior, tau = np.array([0.6, 0.3, 0.1]), np.full(3, 0.5)
    transitions = Transitions.from_pairs(PAIRS, 3)

    def decided(rows, documents=None):
        return decide(
            p[rows], prior, tau, documents=documents, transitions=transitions, transition_weight=2.0
        ).tolist()

    first, second = slice(0, 11), slice(11, 30)
    together = decided(slice(0, 30), np.repeat([3, 5], [11, 19]))
    assert together == decided(first) + decided(second)
    assert together != decided(slice(0, 30))


def random_probabilities() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(5)
    return rng.dirichlet(np.ones(N_TAGS), 500), rng.dirichlet(np.ones(N_TAGS))


def test_tau_zero_decides_by_arg_max():
    p, prior = random_probabilities()
    np.testing.assert_array_equal(decide(p, prior, np.zeros(N_TAGS)), p.argmax(axis=1))


def test_tau_one_decides_as_if_all_tags_were_equally_frequent():
    p, prior = random_probabilities()
    np.testing.assert_array_equal(decide(p, prior, np.ones(N_TAGS)), (p / prior).argmax(axis=1))


def test_a_greater_tau_never_decides_for_a_more_frequent_tag():
    p, prior = random_probabilities()
    chosen = [prior[decide(p, prior, np.full(N_TAGS, tau))] for tau in np.linspace(0, 3, 13)]
    for before, after in pairwise(chosen):
        assert (after <= before).all()
    assert (chosen[-1] < chosen[0]).any()


def test_tau_of_one_tag_favours_that_tag_alone():
    p, prior = random_probabilities()
    tau = np.zeros(N_TAGS)
    tau[2] = 1.0
    before, after = p.argmax(axis=1), decide(p, prior, tau)
    changed = before != after
    assert changed.any()
    assert (after[changed] == 2).all()


def test_certainty_outweighs_any_tau():
    p = np.array([[1.0, 0.0]])  # a token that the encoder never saw
    assert decide(p, np.array([0.999, 0.001]), np.full(2, 50.0)) == [0]


@pytest.mark.parametrize("n_tokens", [0, 3, 40, 4000])
def test_how_far_transitions_reach_is_that_of_a_dense_matrix(n_tokens):
    """With few pairs seen, and with all of them."""
    rng = np.random.default_rng(n_tokens)
    transitions = Transitions.from_pairs(in_one(rng.integers(0, N_TAGS, n_tokens)), N_TAGS)
    leaving = np.repeat(transitions.unseen[:, None], N_TAGS, axis=1)
    leaving[transitions.tags, transitions.following] = transitions.seen
    into = leaving + transitions.entering
    before = (into.max(axis=1, keepdims=True) - into).max(axis=0)
    after = (leaving.max(axis=0) - leaving).max(axis=1)
    np.testing.assert_allclose(transitions._reach, before + after)
