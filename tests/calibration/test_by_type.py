"""Types that decide for themselves, against a calibrator of one type for each of them."""

import numpy as np
import pytest
from scipy.special import softmax

from spacy_btl.calibration.calibration_maps import TokenMap
from spacy_btl.calibration.calibrator import Calibrator
from spacy_btl.calibration.datastore import Datastore
from spacy_btl.calibration.decisions import Transitions, count_pairs, tau_per_tag
from spacy_btl.calibration.fit import fit_token_map
from spacy_btl.errors import CalibratorError
from spacy_btl.mentions import OverlappingScheme
from spacy_btl.tags import TagScheme
from tests.calibration.made_up import made_up_datastore

TYPES = ("Sign", "Test", "Value")
N_ROWS, N_TOKENS = 300, 40
DOCUMENTS = np.repeat([0, 1, 2], [100, 150, 50]).astype("int32")
OF_TOKENS = np.repeat([0, 1], [15, 25])


def columns(scheme: TagScheme, number: int) -> list[int]:
    """Those of `O` and of one type."""
    return [0, *np.flatnonzero(scheme.tag_types == number + 1)]


def made_up(name: str) -> tuple[OverlappingScheme, np.ndarray, np.ndarray, np.ndarray]:
    """A scheme; logits, tags of every type, and their frequencies."""
    scheme = OverlappingScheme(TYPES, name)
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (N_ROWS, len(scheme))).astype("float32")
    decisions = logits[:, scheme.columns]
    tags = (decisions + rng.gumbel(size=decisions.shape)).argmax(axis=-1).astype("int8")
    counts = scheme.count_tags(tags) + 1.0
    return scheme, logits, tags, counts / counts.sum(axis=-1, keepdims=True)


def fitted(scheme, logits, tags, prior, **settings) -> Calibrator:
    arrays = vars(made_up_datastore(scheme, np.zeros(N_ROWS), logits=logits, prior=prior))
    datastore = Datastore(**{**arrays, "tags": tags, "documents": DOCUMENTS})
    return Calibrator(**settings).fit(datastore)


@pytest.fixture(params=["IO", "BIO"])
def both(request):
    """A calibrator of all types, and for each type one of that type alone."""
    scheme, logits, tags, prior = made_up(request.param)
    settings = {"n_neighbors": 7, "knn_weight": 0.4, "tau": 0.3, "transition_weight": 0.5}
    together = fitted(scheme, logits, tags, prior, **settings)
    alone = [
        fitted(scheme.of_type(k), logits[:, columns(scheme, k)], tags[:, k], prior[k], **settings)
        for k in range(len(TYPES))
    ]
    return together, alone


def test_each_type_is_decided_as_if_it_were_the_only_one(both):
    together, alone = both
    scheme = together.datastore.tag_scheme
    rng = np.random.default_rng(1)
    logits = rng.normal(0, 2, (N_TOKENS, scheme.n_columns)).astype("float32")
    logits[3] = 0
    found = together.search.query(logits[:, : len(scheme)], 7)
    distances, rows = (np.delete(values, 3, axis=0) for values in found)
    for one in alone:  # the neighbours are those by all logits
        one.search.query = lambda _, k: (distances, rows)
    p = together.predict_proba(logits)
    tags = together.decide(p, documents=OF_TOKENS)
    assert tags.shape == (N_TOKENS, 3)
    assert tags[3].tolist() == [0, 0, 0]
    assert (p[3, :, 0] == 1).all()
    for k, one in enumerate(alone):
        p_one = one.predict_proba(logits[:, columns(scheme, k)])
        np.testing.assert_allclose(p[:, k, :-2], p_one)
        np.testing.assert_array_equal(tags[:, k], one.decide(p_one, documents=OF_TOKENS))


def test_the_probabilities_of_borders_are_those_of_their_logits_against_outside(both):
    together, _ = both
    scheme = together.datastore.tag_scheme
    logits = np.random.default_rng(6).normal(0, 2, (9, scheme.n_columns)).astype("float32")
    logits[4] = 0  # the encoder did not see it
    p = together.predict_proba(logits)
    for border in range(2):
        first = len(scheme) + 3 * border
        for k in range(3):
            expected = softmax(logits[:, [0, first + k]].astype("float64"), axis=1)[:, 1]
            expected[4] = 0
            np.testing.assert_allclose(p[:, k, border - 2], expected, rtol=1e-6)


def test_logits_without_borders_are_refused(both):
    together, _ = both
    with pytest.raises(CalibratorError, match="columns, and the calibrator reads"):
        together.predict_proba(together.datastore.logits)


def test_the_shares_of_neighbours_are_counted_type_by_type(both):
    datastore = both[0].datastore
    rows = np.random.default_rng(2).integers(0, N_ROWS, (2000, 5))  # more than a chunk
    shares = datastore.type_shares(rows)
    for i, k, tag in np.random.default_rng(3).integers(0, [2000, 3, shares.shape[2]], (200, 3)):
        counted = sum(int(datastore.tags[row, k] == tag) for row in rows[i])
        assert shares[i, k, tag] == pytest.approx(counted / 5)


def test_paths_are_those_of_a_chain_for_each_type(both):
    together, _ = both
    datastore = together.datastore
    n_tags = datastore.prior.shape[1]
    scores = np.random.default_rng(4).normal(size=(N_TOKENS, 3, n_tags))
    paths = datastore.transitions.best_paths(scores, 0.8, OF_TOKENS)
    for k in range(3):
        pairs = count_pairs(datastore.tags[:, k], DOCUMENTS)
        chain = Transitions.from_pairs(pairs, n_tags)
        np.testing.assert_array_equal(paths[:, k], chain.best_paths(scores[:, k], 0.8, OF_TOKENS))
    assert datastore.transitions.best_paths(scores[:0], 0.8).shape == (0, 3)


def test_the_token_map_is_fitted_to_the_decisions_of_all_types(both):
    """One decision after another, as tokens of a single type."""
    datastore = both[0].datastore
    scheme, n_tags = datastore.tag_scheme, datastore.prior.shape[1]
    scores = datastore.logits[:, scheme.columns]
    p_knn = softmax(np.random.default_rng(5).normal(size=scores.shape) + 0.3 * scores, axis=-1)
    even = np.full((3, n_tags), 1 / n_tags)
    found = fit_token_map(scores, p_knn, datastore.tags, even)
    flat = [array.reshape(-1, n_tags) for array in (scores, p_knn)]
    expected = fit_token_map(*flat, datastore.tags.reshape(-1), even[0])
    for name in ("temperature", "sharpness", "certainty"):
        assert getattr(found, name) == pytest.approx(getattr(expected, name), rel=1e-4)
    assert found.temperature != TokenMap().temperature


def test_a_datastore_comes_back_and_its_damage_is_seen(both):
    together, alone = both
    data = together.to_bytes()["datastore"]
    back = Datastore.from_bytes(data, where="here")
    np.testing.assert_array_equal(back.tags, together.datastore.tags)
    np.testing.assert_array_equal(back.prior, together.datastore.prior)
    assert (back.tags.dtype, back.tag_scheme.overlapping) == ("int8", True)
    flat = vars(alone[0].datastore)
    for change in (
        {"tags": together.datastore.tags[:, :2]},
        {"tags": together.datastore.tags + np.int8(9)},
        {"prior": together.datastore.prior * 2},
        {"prior": flat["prior"]},
    ):
        damaged = Datastore(**{**vars(together.datastore), **change}).to_bytes()
        with pytest.raises(CalibratorError, match="Cannot use the calibrator in here"):
            Datastore.from_bytes(damaged, where="here")


def test_tau_is_of_types_and_not_of_outside():
    scheme = OverlappingScheme(TYPES)
    assert tau_per_tag({"Test": 0.5}, scheme).tolist() == [[0.0], [0.5], [0.0]]
    assert tau_per_tag(0.2, scheme).tolist() == [[0.2]] * 3
    with pytest.raises(CalibratorError, match=r"tau names the types \['O'\]"):
        tau_per_tag({"O": 0.5}, scheme)
