"""Bootstrap intervals over documents, or patients: the tokens of one are not independent.

`scipy.stats.bootstrap` resamples one array at a time; here one draw of documents serves all scores,
and the calibration errors, which are biased, need mirrored percentiles.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spacy_btl.metrics.counts import Weights
from spacy_btl.metrics.scores import Scores

SAMPLES = 2000
LEVEL = 0.95
# Samples that are computed at once.
BATCH = 250
# ECE averages absolute gaps, so it is biased upward in finite samples, and more so in bootstrap
# samples of them.
BIASED = ("tag_ece", "ents_ece", "spans_btl_ece")

# From the weights of documents, float64 [B, D], to scores, float64 [B, ...].
Statistic = Callable[[Weights], Scores]


class Interval(NamedTuple):
    """A score over all documents, and the bounds of its 95% interval; arrays for many scores."""

    value: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


def bootstrap(
    n_docs: int, statistic: Statistic, *, seed: int, minimum: float = 0.0
) -> dict[str, Interval]:
    """Compute intervals of scores by resampling documents with replacement.

    The bounds are percentiles of the samples. Those of calibration errors, which are biased, are
    mirrored at the value ("basic", Davison and Hinkley 1997, chapter 5).

    n_docs (int): D, the number of documents or patients. With a single one, intervals have no
        width.
    statistic (Statistic): Computes scores from weights of documents. A sample without a score, such
        as that of a type without support in it, has nan and is left out.
    seed (int): The same seed gives the same intervals.
    minimum (float): The lower limit of a calibration error; -1 for a difference of two.
    RETURNS (Dict[str, Interval]): By the keys of the statistic.
    """
    values = statistic(np.ones((1, n_docs)))
    samples = [statistic(weights) for weights in _resamples(n_docs, seed)]
    intervals = {
        name: _interval(value[0], np.concatenate([sample[name] for sample in samples]))
        for name, value in values.items()
    }
    return intervals | {
        name: _mirrored(intervals[name], minimum) for name in BIASED if name in intervals
    }


def _resamples(n_docs: int, seed: int) -> Iterator[Weights]:
    """How often each document is sampled, float64 [B, D]."""
    rng = np.random.default_rng(seed)
    for _ in range(SAMPLES // BATCH):
        yield rng.multinomial(n_docs, np.full(n_docs, 1 / n_docs), size=BATCH).astype(float)


def _interval(value: NDArray[np.float64], samples: NDArray[np.float64]) -> Interval:
    """samples (float64 [B, ...]): The score of each sample."""
    without = np.isnan(samples).all(axis=0)
    tails = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
    low, high = np.nanquantile(np.where(without, 0, samples), tails, axis=0)
    return Interval(value, np.where(without, value, low), np.where(without, value, high))


def _mirrored(interval: Interval, minimum: float) -> Interval:
    value, low, high = interval
    # Where all samples lie on one side of the value, the mirrored interval lies on the other.
    low, high = np.minimum(2 * value - high, value), np.maximum(2 * value - low, value)
    return Interval(value, np.maximum(low, minimum), high)
