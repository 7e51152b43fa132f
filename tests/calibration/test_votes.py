"""Votes against scikit-learn's classifier; smoothing and decisions by their properties."""

from itertools import pairwise

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier
from spacy_btl.calibration.votes import smooth, vote_shares

from spacy_btl.calibration.decisions import decide
from spacy_btl.calibration.search import sklearn_search

N_TAGS = 6


@pytest.mark.parametrize("votes", ["uniform", "distance"])
def test_search_and_votes_are_scikit_learns_classifier(votes):
    rng = np.random.default_rng(3)
    rows = rng.normal(0, 2, (150, 4)).astype("float32")
    rows[100:110] = rows[:10]  # equal rows under tags of their own
    tags = rng.integers(0, N_TAGS - 1, 150)  # the last tag is unused
    # Some of the queries are stored rows themselves: neighbours at distance 0.
    queries = np.concatenate([rows[:40], rng.normal(0, 2, (40, 4)).astype("float32")])
    search = sklearn_search()
    search.fit(rows)
    distances, numbers = search.query(queries, 9)
    assert (distances[:40, 0] == 0).all()
    assert (distances[:10, 1] == 0).all()

    classifier = KNeighborsClassifier(9, weights=votes, algorithm="kd_tree").fit(rows, tags)
    expected = np.zeros((len(queries), N_TAGS))
    expected[:, classifier.classes_] = classifier.predict_proba(queries)
    shares = vote_shares(distances, tags[numbers], N_TAGS, votes)
    np.testing.assert_allclose(shares, expected, atol=1e-6)


def test_uniform_votes_count_heads():
    shares = vote_shares(np.array([[0.0, 1, 2, 3]]), np.array([[2, 0, 2, 1]]), 4, "uniform")
    np.testing.assert_array_equal(shares, [[0.25, 0.25, 0.5, 0]])


def test_votes_by_distance_are_inverse_to_it():
    shares = vote_shares(np.array([[1.0, 2, 4]]), np.array([[0, 1, 1]]), 2, "distance")
    np.testing.assert_allclose(shares, [[1 / 1.75, 0.75 / 1.75]])


def test_exact_matches_share_all_the_votes():
    shares = vote_shares(np.array([[0.0, 0, 1e-9]]), np.array([[0, 1, 2]]), 3, "distance")
    np.testing.assert_array_equal(shares, [[0.5, 0.5, 0]])


def test_smoothing_leaves_no_zero_and_rows_that_sum_to_one():
    prior = np.array([0.9, 0.0999, 0.0001])
    shares = np.array([[1.0, 0, 0], [0, 0, 1], [0.5, 0.5, 0]])
    p = smooth(shares, prior, 17)
    assert (p > 0).all()
    np.testing.assert_allclose(p.sum(axis=1), 1)
    # One vote among eighteen, spread like the prior.
    np.testing.assert_allclose(p[1], [0.05, 0.00555, 17.0001 / 18], rtol=1e-12)


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
