"""Bootstrap over documents, or patients: the tokens of one are not independent."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spacy_btl.metrics.counts import Weights
from spacy_btl.metrics.scores import Figures

SAMPLES = 2000
LEVEL = 0.95
# Samples that are held at once.
BATCH = 250
# Means of absolute gaps, which chance widens: larger in samples than in the whole, as they are
# larger in the whole than they would be of endless documents.
BIASED = ("token_ece", "entity_ece")

# From the weights of documents, float64 [B, D], to figures, float64 [B, ...].
Statistic = Callable[[Weights], Figures]


class Interval(NamedTuple):
    """A figure over all documents, and the bounds of its 95% interval; arrays for many figures."""

    value: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


def bootstrap(
    n_docs: int, statistic: Statistic, *, seed: int, least: float = 0.0
) -> dict[str, Interval]:
    """Intervals of figures under resampling of documents, with replacement.

    By percentiles of the samples; of the calibration errors, which are biased, by percentiles
    mirrored at the figure ("basic", Davison and Hinkley 1997, chapter 5).

    n_docs (int): D, the documents, or the patients whose they are. A single one gives intervals
        of no width.
    statistic (Statistic): Computes figures from weights of documents; nan where a sample has none
        (a type without support in it), which leaves the sample out.
    seed (int): The same seed, the same intervals.
    least (float): The least that a calibration error can be; of a difference of two, -1.
    RETURNS (Dict[str, Interval]): By figure.
    """
    values = statistic(np.ones((1, n_docs)))
    samples = [statistic(weights) for weights in _resamples(n_docs, seed)]
    intervals = {
        name: _interval(value[0], np.concatenate([sample[name] for sample in samples]))
        for name, value in values.items()
    }
    return intervals | {
        name: _mirrored(intervals[name], least) for name in BIASED if name in intervals
    }


def _resamples(n_docs: int, seed: int) -> Iterator[Weights]:
    """How often each document is drawn, float64 [B, D]."""
    rng = np.random.default_rng(seed)
    for _ in range(SAMPLES // BATCH):
        yield rng.multinomial(n_docs, np.full(n_docs, 1 / n_docs), size=BATCH).astype(float)


def _interval(value: NDArray[np.float64], samples: NDArray[np.float64]) -> Interval:
    """samples (float64 [B, ...]): The figure in each sample."""
    without = np.isnan(samples).all(axis=0)
    tails = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
    low, high = np.nanquantile(np.where(without, 0, samples), tails, axis=0)
    return Interval(value, np.where(without, value, low), np.where(without, value, high))


def _mirrored(interval: Interval, least: float) -> Interval:
    value, low, high = interval
    # Where all samples lie on one side of the value, the mirrored interval lies on the other.
    low, high = np.minimum(2 * value - high, value), np.maximum(2 * value - low, value)
    return Interval(value, np.maximum(low, least), high)
