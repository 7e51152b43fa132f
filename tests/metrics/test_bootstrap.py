"""Bootstrap intervals against scipy's, and where they have to hold by themselves."""

from collections import Counter

import numpy as np
import pytest
from scipy import stats

from spacy_btl.metrics.bootstrap import SAMPLES, bootstrap
from spacy_btl.metrics.counts import document_counts, total, weighted
from spacy_btl.metrics.scores import scores, type_scores
from tests.evaluation.made_up import random_predictions

PREDICTIONS = random_predictions(30)
COUNTS = document_counts(PREDICTIONS)


def intervals(seed=0):
    return bootstrap(30, lambda weights: scores(weighted(COUNTS, weights)), seed=seed)


def test_documents_are_drawn_with_replacement():
    drawn = []

    def statistic(weights):
        drawn.append(weights)
        return {"n": weights.sum(axis=1)}

    bootstrap(5, statistic, seed=0)
    whole, *samples = drawn
    assert whole.tolist() == [[1] * 5]
    samples = np.concatenate(samples)
    assert samples.shape == (SAMPLES, 5)
    assert (samples.sum(axis=1) == 5).all()
    assert samples.mean(axis=0) == pytest.approx([1] * 5, abs=0.1)
    # How often a document is drawn is binomial: 5 times with a chance of 1 in 5.
    seen = Counter(samples.ravel().tolist())
    for times in range(4):
        share = stats.binom.pmf(times, 5, 0.2)
        assert seen[times] / samples.size == pytest.approx(share, abs=0.02)


METHODS = {
    "tag_uar": "percentile",
    "tag_macro_f": "percentile",
    "ents_f": "percentile",
    "tag_ece": "basic",
    "ents_ece": "basic",
}


@pytest.mark.parametrize(("name", "method"), METHODS.items())
def test_intervals_are_scipys(name, method):
    def statistic(docs):
        sums = {key: values[docs].sum(axis=0) for key, values in COUNTS.items()}
        return scores(sums)[name]

    theirs = stats.bootstrap(
        (np.arange(30),),
        lambda docs: statistic(docs.astype(int)),
        vectorized=False,
        method=method,
        n_resamples=2000,
        rng=np.random.default_rng(7),
    )
    ours = intervals()[name]
    assert ours.value == pytest.approx(statistic(np.arange(30)))
    width = theirs.confidence_interval.high - theirs.confidence_interval.low
    assert ours.low == pytest.approx(theirs.confidence_interval.low, abs=0.1 * width)
    assert ours.high == pytest.approx(theirs.confidence_interval.high, abs=0.1 * width)


def test_calibration_errors_hold_what_is_measured_and_are_not_below_0():
    """Percentiles of the samples lie above it where calibration is good."""
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.2, 1, (40, 20))
    right = rng.random((40, 20)) < confidence
    numbers = np.minimum((confidence * 15).astype(int), 14)
    bins = np.stack(
        [
            [np.bincount(numbers[d], values[d], minlength=15) for d in range(40)]
            for values in (np.ones_like(confidence), confidence, right)
        ],
        axis=1,
    )

    def statistic(weights):
        n, stated, found = np.moveaxis(np.tensordot(weights, bins, axes=1), 1, 0)
        return {"ents_ece": np.abs(stated - found).sum(-1) / n.sum(-1)}

    value, low, high = bootstrap(40, statistic, seed=0)["ents_ece"]
    assert 0 <= low < value
    assert value <= high < value + 0.01
    samples = statistic(rng.multinomial(40, np.full(40, 1 / 40), size=200).astype(float))
    assert np.quantile(samples["ents_ece"], 0.025) > value


def test_every_figure_has_one():
    for name, interval in intervals().items():
        assert interval.low < interval.high, name
        assert all(np.shape(bound) == () for bound in interval)


def test_the_seed_decides():
    assert intervals(1) == intervals(1)
    assert intervals(1)["tag_uar"].value == intervals(2)["tag_uar"].value
    assert intervals(1)["tag_uar"].low != intervals(2)["tag_uar"].low


def test_samples_without_a_type_have_no_part_in_its_interval():
    def statistic(weights):  # of a type that only the first document has, where it is found
        return {"recall": np.where(weights[:, :1] > 0, [[1.0]], np.nan)}

    interval = bootstrap(3, statistic, seed=0)["recall"]
    assert (interval.value, interval.low, interval.high) == ([1], [1], [1])


def test_a_type_without_support_has_no_interval_and_raises_no_warning(recwarn):
    def statistic(weights):
        return {"recall": np.full((len(weights), 2), [np.nan, 0.5])}

    interval = bootstrap(3, statistic, seed=0)["recall"]
    for bound in interval:
        assert bound == pytest.approx([np.nan, 0.5], nan_ok=True)
    assert not len(recwarn)


def test_types_have_intervals_of_their_own():
    rows = bootstrap(30, lambda weights: type_scores(weighted(COUNTS, weights)), seed=0)
    value, low, high = rows["ents_f"]
    assert value == pytest.approx(type_scores(total(COUNTS))["ents_f"])
    assert (low <= value).all()
    assert (value <= high).all()
    assert len(set(low.tolist())) == 3


def test_one_document_tells_nothing_about_others():
    counts = {name: values[:1] for name, values in COUNTS.items()}
    rows = bootstrap(1, lambda weights: scores(weighted(counts, weights)), seed=0)
    assert all(row.low == row.value == row.high for row in rows.values())
