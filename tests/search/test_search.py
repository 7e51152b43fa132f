"""The searches against distances computed one by one."""

import pickle
import sys

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from sklearn.neighbors import NearestNeighbors
from spacy import registry

from spacy_btl.search import ivf
from spacy_btl.search.ivf import ClusterSearch, InvertedLists
from spacy_btl.search.search import SklearnSearch


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


def test_every_query_finds_most_of_its_neighbours(rows, queries, truth):
    _, numbers = fitted(rows).query(queries, K)
    worst = min(len(set(a) & set(b)) for a, b in zip(numbers, truth[1], strict=True))
    assert worst >= K / 2


def test_a_worker_receives_the_lists_and_does_not_make_them_again(rows, queries, monkeypatch):
    search = fitted(rows)
    found = search.query(queries, K)
    sent = pickle.loads(pickle.dumps(search))
    monkeypatch.setattr(InvertedLists, "from_clusters", None)
    sent.fit(rows.copy())
    for ours, theirs in zip(sent.query(queries, K), found, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    sent.fit(rows[::-1].copy())
    with pytest.raises(TypeError):
        sent.query(queries, K)


def test_with_the_clusters_of_before_it_divides_nothing_and_finds_the_same(
    rows, queries, monkeypatch
):
    before = fitted(rows)
    clusters = before.get_clusters()
    assert (clusters.shape, clusters.dtype) == ((len(rows),), "int32")
    monkeypatch.setitem(sys.modules, "sklearn.cluster", None)  # not to be imported
    search = ClusterSearch()
    search.fit(rows)
    search.set_clusters(clusters)
    for found, expected in zip(search.query(queries, K), before.query(queries, K), strict=True):
        np.testing.assert_array_equal(found, expected)
    with pytest.raises(ImportError):
        fitted(rows).query(queries, K)


def test_any_clusters_do_where_all_lists_are_read(rows, queries, truth, monkeypatch):
    monkeypatch.setattr(ivf, "EXACT_BELOW", 10**6)
    clusters = np.random.default_rng(0).integers(0, 900, len(rows)) * 7
    for given in (clusters, np.arange(len(rows)) // 10_000, np.zeros(len(rows), int)):
        search = ClusterSearch()
        search.fit(rows)
        search.set_clusters(given)
        distances, _ = search.query(queries[:60], K)
        np.testing.assert_allclose(distances, truth[0][:60], atol=1e-3)


def test_it_reads_a_small_part_of_the_rows(rows, queries, monkeypatch):
    search = fitted(rows)
    search.query(queries[:1], K)
    read, parts = [], ivf._parts
    monkeypatch.setattr(ivf, "_parts", lambda lists: read.append(lists) or parts(lists))
    search.query(queries, K)
    own, probed = read
    sizes = [vectors.shape[1] for vectors in search._lists.vectors]
    assert own.sum() == len(queries)
    assert (probed @ sizes).mean() < len(rows) / 4


def test_with_all_lists_read_it_is_exact(rows, queries, truth, monkeypatch):
    monkeypatch.setattr(ivf, "EXACT_BELOW", 10**6)
    distances, numbers = fitted(rows).query(queries, K)
    np.testing.assert_allclose(distances, truth[0], atol=1e-3)
    assert recall(numbers, truth[1]) > 0.9999  # rows at equal distances may change places


def test_every_row_is_in_one_list(rows):
    clusters = ivf.divide(rows)
    lists = InvertedLists.from_clusters(rows, clusters)
    sizes = np.array([vectors.shape[1] for vectors in lists.vectors])
    assert sorted(lists.numbers) == list(range(len(rows)))
    np.testing.assert_array_equal(np.diff([*lists.starts, len(rows)]), sizes)
    for number, start, vectors in zip(range(len(sizes)), lists.starts, lists.vectors, strict=True):
        members = lists.numbers[start : start + len(vectors.T)]
        np.testing.assert_array_equal(-vectors[:-1].T, rows[members])
        assert len(set(clusters[members])) == 1
        spread = rows[members].std(axis=0)  # numpy's own
        np.testing.assert_allclose(lists.radii[number], np.linalg.norm(spread), rtol=1e-3)
    assert sizes.max() <= ivf.MAX_SIZE * (1 + len(rows) / len(set(clusters)))


def test_logits_that_are_no_numbers_stop_no_others(rows, queries):
    search = fitted(rows)
    bad = np.full_like(queries[:1], np.nan)
    _, numbers = search.query(np.vstack([bad, queries, bad]), K)
    assert recall(numbers[1:-1], search.query(queries, K)[1]) > 0.999


def test_rows_that_are_all_alike(rows, queries):
    distances, numbers = fitted(np.ones_like(rows)).query(np.zeros_like(queries[:3]), K)
    np.testing.assert_allclose(distances, np.sqrt(rows.shape[1]), rtol=1e-6)
    assert all(len(set(row)) == K for row in numbers)


def test_a_query_reads_its_own_list_however_far_that_extends(rows):
    rows = rows.copy()
    rows[:K] = far = rows[0] + 40 * np.eye(20, dtype="float32")[0]
    search = ClusterSearch()
    search.fit(rows)
    search.set_clusters(np.zeros(len(rows), "int32"))
    distances, numbers = search.query(np.stack([rows[100], far, rows[200]]), K)
    assert sorted(numbers[1]) == list(range(K))
    np.testing.assert_array_equal(distances[1], np.zeros(K))


@pytest.mark.parametrize("n_rows", [1, 2, 40, ivf.EXACT_BELOW - 1])
def test_few_rows_are_searched_exactly(rows, queries, n_rows):
    few, k = rows[:n_rows], min(K, n_rows)
    exact = SklearnSearch()
    exact.fit(few)
    distances, numbers = fitted(few).query(queries, k)
    expected = exact.query(queries, k)
    np.testing.assert_allclose(distances, expected[0], atol=1e-3)
    assert recall(numbers, expected[1]) > 0.9999  # rows at equal distances may change places


@pytest.mark.parametrize("k", [1000, 29_000])
def test_more_neighbours_than_the_lists_have_rows(rows, queries, k):
    distances, numbers = fitted(rows).query(queries[:20], k)
    assert numbers.shape == (20, k)
    assert np.isfinite(distances).all()
    assert all(len(set(row)) == k for row in numbers)


def test_the_same_neighbours_however_the_queries_are_cut(rows, queries, monkeypatch):
    search = fitted(rows)
    _, whole = search.query(queries, K)
    monkeypatch.setattr(ivf, "BLOCK", 1)
    _, singly = search.query(queries, K)
    assert recall(singly, whole) > 0.999  # products of another size round otherwise
    np.testing.assert_array_equal(fitted(rows).query(queries, K)[1], singly)


def test_fitted_again_it_knows_the_new_rows_only(rows, queries):
    search = fitted(rows)
    search.query(queries, K)
    search.fit(rows + 100)
    distances, _ = search.query(queries, K)
    assert distances.min() > 50
