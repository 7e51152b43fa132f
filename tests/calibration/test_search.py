"""The searches against distances computed one by one."""

import pickle

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from sklearn.neighbors import NearestNeighbors
from spacy import registry

from spacy_btl.calibration import ivf
from spacy_btl.calibration.ivf import ClusterSearch, InvertedLists
from spacy_btl.calibration.search import SklearnSearch


def test_finds_the_nearest_rows_nearest_first():
    rng = np.random.default_rng(0)
    rows = rng.normal(0, 3, (200, 12)).astype("float32")
    queries = rng.normal(0, 3, (30, 12)).astype("float32")
    search = registry.misc.get("spacy_btl.SklearnSearch.v1")()
    search.fit(rows)
    distances, numbers = search.query(queries, 7)
    expected = cdist(queries, rows)
    np.testing.assert_array_equal(numbers, expected.argsort(axis=1)[:, :7])
    np.testing.assert_allclose(distances, np.sort(expected, axis=1)[:, :7], rtol=1e-5)


def test_fitting_again_forgets_the_first_rows():
    search = registry.misc.get("spacy_btl.SklearnSearch.v1")()
    search.fit(np.zeros((5, 2), dtype="float32"))
    search.fit(np.full((3, 2), 4, dtype="float32"))
    distances, _ = search.query(np.full((1, 2), 4, dtype="float32"), 3)
    np.testing.assert_array_equal(distances, np.zeros((1, 3)))


K = 17


@pytest.fixture(scope="module")
def rows():
    """Like logits: one direction per tag, more or less sure, most of them of one tag."""
    rng = np.random.default_rng(0)
    tags = rng.choice(20, 30_000, p=[0.62, *[0.02] * 19])
    directions = rng.normal(0, 1, (20, 20)) + 5 * np.eye(20)
    sure = rng.uniform(0.2, 1.5, (len(tags), 1))
    noise = rng.normal(0, 0.5, (len(tags), 8)) @ rng.normal(0, 0.5, (8, 20))
    return (sure * directions[tags] + noise).astype("float32")


@pytest.fixture(scope="module")
def queries(rows):
    noise = np.random.default_rng(1).normal(0, 0.3, (500, rows.shape[1]))
    return (rows[::60] + noise).astype("float32")


@pytest.fixture(scope="module")
def truth(rows, queries):
    return NearestNeighbors(algorithm="brute").fit(rows).kneighbors(queries, K)


def fitted(rows):
    search = ClusterSearch()
    search.fit(rows)
    return search


def recall(found, true):
    return np.mean([len(set(a) & set(b)) / len(b) for a, b in zip(found, true, strict=True)])


def test_it_finds_nearly_all_that_an_exact_search_finds(rows, queries, truth):
    distances, numbers = fitted(rows).query(queries, K)
    assert recall(numbers, truth[1]) > 0.99
    found = np.linalg.norm(rows[numbers] - queries[:, None], axis=2)
    np.testing.assert_allclose(distances, found, rtol=1e-5)
    assert (np.diff(distances, axis=1) >= 0).all()
    assert all(len(set(row)) == K for row in numbers)


def test_a_worker_receives_the_lists_and_does_not_cluster_again(rows, queries, monkeypatch):
    search = fitted(rows)
    found = search.query(queries, K)
    sent = pickle.loads(pickle.dumps(search))
    monkeypatch.setattr(InvertedLists, "from_rows", None)
    sent.fit(rows.copy())
    for ours, theirs in zip(sent.query(queries, K), found, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    sent.fit(rows[::-1].copy())
    with pytest.raises(TypeError):
        sent.query(queries, K)


def test_it_searches_a_small_part_of_the_rows(rows):
    lists = InvertedLists.from_rows(rows)
    assert len(lists.numbers) / 2 > ivf.NPROBE


def test_with_all_lists_probed_it_is_exact(rows, queries, truth, monkeypatch):
    monkeypatch.setattr(ivf, "NPROBE", 10**6)
    distances, numbers = fitted(rows).query(queries, K)
    np.testing.assert_allclose(distances, truth[0], atol=1e-3)
    assert recall(numbers, truth[1]) > 0.9999  # rows at equal distances may change places


def test_every_row_is_in_one_list(rows):
    lists = InvertedLists.from_rows(rows)
    filled = np.isfinite(lists.vectors[:, -1])
    assert sorted(lists.numbers[filled]) == list(range(len(rows)))
    np.testing.assert_array_equal(-lists.vectors[:, :-1].swapaxes(1, 2), rows[lists.numbers])


def test_few_rows_are_searched_exactly(rows, queries):
    few = rows[: ivf.EXACT_BELOW - 1]
    exact = SklearnSearch()
    exact.fit(few)
    for found, expected in zip(fitted(few).query(queries, K), exact.query(queries, K), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_more_neighbours_than_lists_are_probed(rows, queries):
    distances, numbers = fitted(rows).query(queries[:20], 1000)
    assert numbers.shape == (20, 1000)
    assert np.isfinite(distances).all()
    assert all(len(set(row)) == 1000 for row in numbers)


def test_the_same_neighbours_however_the_queries_are_cut(rows, queries, monkeypatch):
    search = fitted(rows)
    _, whole = search.query(queries, K)
    monkeypatch.setattr(ivf, "MAX_DISTANCES", 1)
    _, singly = search.query(queries, K)
    assert recall(singly, whole) > 0.999  # products of another size round otherwise
    np.testing.assert_array_equal(fitted(rows).query(queries, K)[1], singly)


def test_fitted_again_it_knows_the_new_rows_only(rows, queries):
    search = fitted(rows)
    search.query(queries, K)
    search.fit(rows + 100)
    distances, _ = search.query(queries, K)
    assert distances.min() > 50
