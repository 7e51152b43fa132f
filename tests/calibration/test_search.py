"""The search against distances computed one by one."""

import numpy as np
from scipy.spatial.distance import cdist
from spacy import registry


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
