"""The maps against brute force, scikit-learn and scipy; what they promise, by their properties."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from spacy_btl.calibration.calibration_maps import ConfidenceMap, Maps, TokenMap
from spacy_btl.calibration.fit import fit_confidence_map, fit_token_map
from spacy_btl.calibration.mention_map import N_TERMS, MentionMap
from spacy_btl.calibration.settings import Settings
from spacy_btl.errors import CalibratorError

N, C = 4000, 5
PRIOR = np.array([0.6, 0.2, 0.1, 0.07, 0.03])


def draw(p: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One class per row, with the probabilities of the row."""
    return (p.cumsum(axis=1) > rng.random(len(p))[:, None]).argmax(axis=1)


@pytest.fixture(scope="module")
def tokens() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Overconfident logits and neighbours, and tags that follow their calibrated forms."""
    rng = np.random.default_rng(0)
    calibrated = rng.normal(0, 1, (N, C)) + 1.5 * np.log(PRIOR)
    tags = draw(softmax(calibrated, axis=1), rng)
    votes = rng.multinomial(17, softmax(2 * calibrated, axis=1)) / 17
    return 2.5 * calibrated, (17 * votes + PRIOR) / 18, tags


def plain_map(p: np.ndarray, sharpness: float, certainty: float) -> np.ndarray:
    mapped = p**sharpness / (1 - p) ** certainty
    return mapped / mapped.sum(axis=1, keepdims=True)


def test_unfitted_it_changes_nothing(tokens):
    logits, p_knn, _ = tokens
    np.testing.assert_array_equal(TokenMap()(logits, None, 0), softmax(logits, axis=1))
    np.testing.assert_array_equal(TokenMap().neighbors(p_knn), p_knn)


def test_the_map_of_neighbours_is_the_power_of_odds(tokens):
    p_knn = tokens[1]
    expected = plain_map(p_knn, 0.7, 0.3)
    np.testing.assert_allclose(TokenMap(1, 0.7, 0.3).neighbors(p_knn), expected, rtol=1e-10)


def test_the_temperature_is_the_most_likely_of_a_grid(tokens):
    logits, p_knn, tags = tokens
    fitted = fit_token_map(logits, None, tags, PRIOR)
    assert (fitted.sharpness, fitted.certainty) == (1, 0)
    grid = np.arange(1.5, 4, 0.01)
    losses = [log_loss(tags, softmax(logits / t, axis=1)) for t in grid]
    assert fitted.temperature == pytest.approx(grid[np.argmin(losses)], abs=0.02)
    assert fitted.temperature == pytest.approx(2.5, abs=0.15)  # what the tags were drawn with
    assert log_loss(tags, fitted(logits, None, 0)) <= min(losses) + 1e-6
    assert fit_token_map(logits, p_knn, tags, PRIOR).temperature == fitted.temperature


def test_the_curve_of_neighbours_is_the_most_likely_of_a_grid(tokens):
    logits, p_knn, tags = tokens
    fitted = fit_token_map(logits, p_knn, tags, PRIOR)
    steps = np.arange(0, 1.2, 0.05)
    losses = {(a, b): log_loss(tags, plain_map(p_knn, a, b)) for a in steps[1:] for b in steps}
    best = min(losses, key=losses.__getitem__)
    assert log_loss(tags, fitted.neighbors(p_knn)) <= losses[best] + 1e-6
    assert (fitted.sharpness, fitted.certainty) == pytest.approx(best, abs=0.06)
    assert losses[best] < log_loss(tags, p_knn) - 0.05  # there was something to mend


def test_certainty_can_be_positive():
    """Where unanimous neighbours are right more often than the others suggest."""
    rng = np.random.default_rng(1)
    p = rng.dirichlet(np.full(C, 0.3), N)
    tags = draw(plain_map(p, 0.5, 0.4), rng)
    fitted = fit_token_map(np.zeros((N, C)), p, tags, PRIOR)
    assert (fitted.sharpness, fitted.certainty) == pytest.approx((0.5, 0.4), abs=0.1)


def test_what_can_be_told_apart_without_error_stays_finite():
    tags = np.arange(60) % C
    logits = np.eye(C)[tags]
    p = (17 * logits + PRIOR) / 18
    fitted = fit_token_map(logits, p, tags, PRIOR)
    assert 0 < fitted.temperature < 1  # surer than it was
    assert np.isfinite([fitted.sharpness, fitted.certainty]).all()
    assert (fitted.neighbors(p) > 0).all()
    curve = fit_confidence_map(np.linspace(0.5, 1, 20), np.arange(20) >= 10)
    assert np.isfinite([curve.sharpness, curve.certainty, curve.bias]).all()


@given(
    st.lists(st.floats(0, 1), min_size=2, max_size=6).filter(lambda p: sum(p) > 0.1),
    st.floats(0.01, 5),
    st.floats(0, 5),
)
def test_the_most_probable_tag_stays_the_most_probable(values, sharpness, certainty):
    p = np.array([values]) / sum(values)
    mapped = TokenMap(1, sharpness, certainty).neighbors(p)
    assert mapped.sum() == pytest.approx(1)
    assert mapped[0, p.argmax()] == mapped.max()
    assert (mapped >= 0).all()


@pytest.fixture(scope="module")
def entities() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(2)
    p = rng.beta(2, 1, N)
    return p, rng.random(N) < 0.1 + 0.6 * p**2


def test_the_confidence_curve_is_logistic_regression(entities):
    p, correct = entities
    fitted = fit_confidence_map(p, correct)
    curves = np.stack([np.log(p), -np.log(1 - p)], axis=1)
    expected = LogisticRegression(C=1e9, tol=1e-9, max_iter=1000).fit(curves, correct)
    assert (expected.coef_ > 0).all()  # else the bounds would bind
    assert [fitted.sharpness, fitted.certainty] == pytest.approx(expected.coef_[0], abs=0.01)
    assert fitted.bias == pytest.approx(expected.intercept_[0], abs=0.01)
    np.testing.assert_allclose(fitted(p), expected.predict_proba(curves)[:, 1], atol=0.002)


def test_the_confidence_curve_follows_isotonic_regression(entities):
    p, correct = entities
    free = IsotonicRegression(out_of_bounds="clip").fit(p, correct).predict(p)
    assert np.abs(fit_confidence_map(p, correct)(p) - free).mean() < 0.03
    assert np.abs(p - free).mean() > 0.1


def test_confidence_rises_and_is_never_certain(entities):
    p, correct = entities
    grid = np.concatenate([[0, 1e-300, 1e-12], np.linspace(0, 1, 101), [1 - 1e-16, 1]])
    for fitted in (
        fit_confidence_map(p, correct),
        fit_confidence_map(p, ~correct),  # a falling truth: the curve stays level instead
        fit_confidence_map(p[:30], np.ones(30, bool)),
        fit_confidence_map(p[:1], np.zeros(1, bool)),
        ConfidenceMap(50, 50, 0, 8),
    ):
        values = fitted(np.sort(grid))
        assert (np.diff(values) >= 0).all()
        minimum = 1 / (fitted.n_entities + 2)
        assert minimum <= values[0]
        assert values[-1] <= 1 - minimum
    assert fit_confidence_map(p, ~correct)(grid) == pytest.approx(1 - correct.mean(), abs=0.01)


def test_no_row_gives_no_row():
    p = np.zeros((0, C))
    assert TokenMap(2, 0.5, 0.5).neighbors(p).shape == (0, C)
    assert TokenMap(2, 0.5, 0.5)(p.astype("float32"), p, 0.5).shape == (0, C)
    assert ConfidenceMap(1, 1, 0, 5)(np.zeros(0)).shape == (0,)


# Any maps come back as they were, and no damaged byte goes unnoticed.

POSITIVE = st.floats(1e-3, 1e6)
NOT_NEGATIVE = st.floats(0, 1e6)
WEIGHTS, COUNTS = st.floats(-1e9, 1e9), st.integers(1, 10**9)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
SETTINGS = st.builds(
    Settings,
    n_neighbors=st.integers(1, 10**6),
    knn_weight=st.floats(0, 1),
    tau=NUMBERS | st.dictionaries(st.text(), NUMBERS, max_size=3),
    transition_weight=NOT_NEGATIVE,
)
MAPS = st.builds(
    Maps,
    st.builds(TokenMap, POSITIVE, POSITIVE, NOT_NEGATIVE),
    st.builds(ConfidenceMap, NOT_NEGATIVE, NOT_NEGATIVE, WEIGHTS, COUNTS)
    | st.builds(
        MentionMap,
        st.lists(WEIGHTS, min_size=N_TERMS, max_size=N_TERMS).map(tuple),
        WEIGHTS,
        WEIGHTS,
        COUNTS,
    ),
    SETTINGS,
)


@settings(max_examples=50)
@given(MAPS)
def test_any_maps_come_back_as_they_were(maps):
    assert Maps.from_bytes(maps.to_bytes(), where="here") == maps


@settings(max_examples=100)
@given(MAPS, st.data())
def test_any_damaged_byte_or_cut_is_an_error_or_changes_nothing(maps, data):
    whole = bytearray(maps.to_bytes())
    place = data.draw(st.integers(0, len(whole) - 1))
    if data.draw(st.booleans(), label="cut"):
        del whole[place:]
    else:
        whole[place] ^= data.draw(st.integers(1, 255))
    try:
        found = Maps.from_bytes(bytes(whole), where="here")
    except CalibratorError:
        return
    assert found == maps
