"""Maps near earlier ones: with little to learn from they stay, with much they are as if alone."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit

from spacy_btl.calibration.calibration_maps import ConfidenceMap, TokenMap
from spacy_btl.calibration.candidates import FEATURES
from spacy_btl.calibration.fit import PENALTY, fit_confidence_map, fit_token_map
from spacy_btl.calibration.fit_mentions import fit_mention_map
from spacy_btl.calibration.mention_map import N_TERMS, MentionMap, terms
from spacy_btl.tags import Runs

EARLIER = ConfidenceMap(0.6, 0.4, -1.0, n_entities=300)


def made_up_entities(n: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    p = rng.uniform(0.05, 0.95, n)
    return p, rng.random(n) < expit(1.5 * np.log(p) - 0.2 * np.log(1 - p) + 0.5)


def coefficients(fitted: ConfidenceMap) -> np.ndarray:
    return np.array([fitted.sharpness, fitted.certainty, fitted.bias])


def test_one_entity_changes_little_and_many_decide_alone():
    p, correct = made_up_entities(1)
    near = coefficients(fit_confidence_map(p, correct, EARLIER))
    assert np.abs(near - coefficients(EARLIER)).max() < 0.2
    p, correct = made_up_entities(100_000)
    near, alone = (
        coefficients(fit_confidence_map(p, correct, earlier)) for earlier in (EARLIER, None)
    )
    assert np.abs(near - alone).max() < 0.05
    assert np.abs(near - coefficients(EARLIER)).max() > 0.5


def test_the_fit_is_that_of_a_gaussian_prior():
    p, correct = made_up_entities(60)
    features = np.stack([np.log(p), -np.log(1 - p), np.ones(60)], axis=1)
    share = (correct.sum() + 1) / 62

    def loss(values: np.ndarray) -> float:
        score = features @ values
        log_likelihood = correct @ score - np.logaddexp(0, score).sum()
        one_more = np.mean(share * score - np.logaddexp(0, score))
        away = values - coefficients(EARLIER)
        return PENALTY / 2 * away @ away - (60 / 61) * log_likelihood * 61 / 60 - one_more

    expected = minimize(loss, coefficients(EARLIER)).x
    found = coefficients(fit_confidence_map(p, correct, EARLIER))
    np.testing.assert_allclose(found, expected, atol=0.02)


@pytest.mark.parametrize("n", [1, 20_000])
def test_the_map_of_tokens_does_the_same(n):
    rng = np.random.default_rng(1)
    logits = rng.normal(0, 3, (n, 3))
    p = np.exp(logits / 2)
    p /= p.sum(axis=1, keepdims=True)
    tags = (p.cumsum(axis=1) < rng.random((n, 1))).sum(axis=1)
    earlier = TokenMap(4.0, 0.5, 0.3)
    prior = np.full(3, 1 / 3)
    near = fit_token_map(logits, p, tags, prior, earlier)
    alone = fit_token_map(logits, p, tags, prior)
    expected = earlier if n == 1 else alone
    assert 1 / near.temperature == pytest.approx(1 / expected.temperature, abs=0.1)
    assert near.sharpness == pytest.approx(expected.sharpness, abs=0.1)
    assert fit_token_map(logits, None, tags, prior, earlier).sharpness == earlier.sharpness


def made_up_candidates(n: int) -> tuple[Runs, np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(2)
    features = rng.normal(0, 2, (n, len(FEATURES)))
    correct = rng.random(n) < expit(features[:, 0] - 1)
    places = np.arange(n)
    return Runs(places, places, places % 3), features, correct, rng.integers(0, 6, n)


def earlier_map() -> MentionMap:
    weights = np.zeros(N_TERMS)
    weights[1] = 0.5
    return MentionMap(tuple(weights.tolist()), 0.3, 0.0, 400)


def test_the_map_of_candidates_does_the_same():
    candidates, features, correct, documents = made_up_candidates(2)
    earlier = earlier_map()
    near = fit_mention_map(candidates, features, correct, documents, 2, earlier)
    _, others, *_ = made_up_candidates(300)
    moved = near.log_odds(others) - earlier.log_odds(others)
    assert np.abs(moved).mean() < 0.5
    candidates, features, correct, documents = made_up_candidates(8000)
    near, alone = (
        fit_mention_map(candidates, features, correct, documents, 4000, one)
        for one in (earlier, None)
    )
    assert np.abs(near(features) - alone(features)).max() < 0.03


def test_its_penalty_is_on_the_distance_of_standardized_weights():
    candidates, features, correct, documents = made_up_candidates(300)
    earlier = earlier_map()
    values = terms(features)
    mean, scale = values.mean(axis=0), values.std(axis=0)
    values = np.column_stack([(values - mean) / scale, np.ones(len(values))])
    start = np.append(earlier.weights * scale, earlier.bias + earlier.weights @ mean)

    def gradient(found: np.ndarray) -> np.ndarray:
        wrong = expit(values @ found) - correct
        return values.T @ wrong + 10 * (found - start)

    near = fit_mention_map(candidates, features, correct, documents, 150, earlier)
    weights = np.array(near.weights)
    found = np.append(weights * scale, near.bias + weights @ mean)
    assert np.abs(gradient(found)).max() < 0.02 * np.abs(gradient(start)).max()


def test_candidates_of_one_class_are_no_error():
    candidates, features, correct, documents = made_up_candidates(50)
    near = fit_mention_map(candidates, features, correct | True, documents, 50, earlier_map())
    assert replace(near, cutoff=0.0).weights != earlier_map().weights
    assert near(features).mean() > earlier_map()(features).mean()
