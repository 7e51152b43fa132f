"""p-values and certified settings, against independent implementations and by their error rates."""

import numpy as np
import pytest
from scipy.stats import binom

from spacy_btl.guarantee.bounds import certified, documents_needed, highest_level, p_value

RNG = np.random.default_rng(0)


def wealth_by_loop(losses, limit, risk):
    """The gambler of Bates et al. (2021), one loss at a time."""
    n, wealth, most = len(losses), 1.0, 1.0
    total, squares, variance = 0.5, 0.25, 0.25
    for i, loss in enumerate(losses, start=1):
        bet = min(1.0, np.sqrt(2 * np.log(1 / risk) / (n * variance)))
        wealth *= 1 - bet * (loss - limit)
        most = max(most, wealth)
        total += loss
        squares += (loss - total / (1 + i)) ** 2
        variance = squares / (1 + i)
    return 1 / most


def shares(rng, mean, n, *, spread=0.1):
    """Losses of documents: shares of their mentions, which are alike within a document."""
    p = rng.beta(mean * (1 - spread) / spread, (1 - mean) * (1 - spread) / spread, n)
    mentions = 1 + rng.poisson(3, n)
    return rng.binomial(mentions, p) / mentions


@pytest.mark.parametrize("limit", [0.05, 0.2, 0.6])
@pytest.mark.parametrize("n", [1, 7, 80])
def test_a_p_value_is_that_of_the_gambler_loss_by_loss(limit, n):
    losses = shares(RNG, 0.2, n)
    assert p_value(losses, limit, 0.05) == pytest.approx(wealth_by_loop(losses, limit, 0.05))


def test_without_losses_nothing_is_known():
    assert p_value(np.zeros(0), 0.5, 0.05) == 1.0


@pytest.mark.parametrize("n", [40, 100])
@pytest.mark.parametrize("mean", [0.1, 0.3])
def test_a_true_hypothesis_is_rejected_as_rarely_as_stated(mean, n):
    rng = np.random.default_rng(1)
    draws = [*(shares(rng, mean, n) for _ in range(1000))]
    draws += [rng.binomial(1, mean, n).astype(float) for _ in range(1000)]
    p = np.array([p_value(losses, mean, 0.1) for losses in draws])
    # Of 2,000 draws, more than this are rejected with probability 0.001 if each is with 0.1.
    assert (p <= 0.1).sum() <= binom.ppf(0.999, 2000, 0.1)
    assert (p <= 0.1).any()


def test_losses_that_vary_little_need_few_documents():
    """Fewer than the exact binomial test needs, which knows of whole documents only."""
    losses = np.full(80, 0.05)
    assert p_value(losses, 0.1, 0.05) < 0.05 < binom.cdf(4, 80, 0.1)


def test_one_start_is_fixed_sequence_testing():
    p = np.array([0.01, 0.04, 0.06, 0.001])
    starts = np.array([True, False, False, False])
    assert certified(p.__getitem__, starts, 0.05).tolist() == [True, True, False, False]


def test_starts_share_the_risk_and_what_is_certified_hands_its_share_on():
    starts = np.array([True, False, True, False])
    assert certified([0.03, 0.0, 0.02, 0.03].__getitem__, starts, 0.05).tolist() == [
        False,
        False,
        True,
        False,
    ]
    assert certified([0.02, 0.0, 0.04, 0.05].__getitem__, starts, 0.05).all()


def test_all_settings_together_are_wrong_as_rarely_as_stated():
    """Settings whose true mean loss passes the limit on the way, tested on the same documents."""
    rng, limit, wrong = np.random.default_rng(2), 0.2, 0
    means = np.linspace(0.05, 0.35, 16)
    starts = np.arange(16) % 8 == 0
    for _ in range(600):
        draws = rng.random((60, 4))  # of four mentions, each is missed below the mean
        losses = (draws[..., None] < means).mean(axis=1)
        p = np.array([p_value(column, limit, 0.05) for column in losses.T])
        wrong += certified(p.__getitem__, starts, 0.1)[means > limit].any()
    assert 0 < wrong <= binom.ppf(0.999, 600, 0.1)


def test_the_highest_level_is_certified_and_no_higher_one_is():
    losses = shares(np.random.default_rng(3), 0.1, 120)
    level = highest_level(losses, 0.05)
    assert 0.6 < level < 1 - losses.mean()
    assert p_value(losses, 1 - level, 0.05) <= 0.05 < p_value(losses, 0.99 - level, 0.05)
    assert highest_level(np.ones(50), 0.05) == 0


def test_the_documents_that_are_needed_are_enough_and_hardly_fewer_are():
    losses = shares(np.random.default_rng(6), 0.05, 30)
    n = documents_needed(losses, 0.1, 0.05)
    assert n is not None
    assert n > 30
    assert p_value(np.resize(losses, n), 0.1, 0.05) <= 0.05
    assert p_value(np.resize(losses, round(n / 1.06)), 0.1, 0.05) > 0.05


def test_zero_losses_need_as_many_documents_as_the_wealth_says():
    """All bets of 1 win the limit: (1 + limit)^n, but for the first ones, which are smaller."""
    n = documents_needed(np.zeros(3), 0.1, 0.05)
    assert n is not None
    assert np.log(20) / np.log(1.1) <= n <= 40


def test_no_number_of_documents_helps_a_pipeline_that_is_not_good_enough():
    assert documents_needed(np.full(10, 0.3), 0.2, 0.05) is None
