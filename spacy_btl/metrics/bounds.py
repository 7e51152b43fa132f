"""Intervals that are no surer than what was counted.

A bootstrap draws from what was seen: where all of three mentions were found, so they are in each
sample, and the interval has no width. What three mentions tell is Wilson's interval, 44 to 100%.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from spacy_btl.metrics.bootstrap import LEVEL, Interval
from spacy_btl.metrics.counts import Counts, total

# Below, a bootstrap is not asked: of a share; of a calibration error, or of anything at all.
FEW = 10
FEW_MENTIONS = 30
FEW_DOCUMENTS = 5

Floats = NDArray[np.floating]


class Share(NamedTuple):
    """A share with Wilson's 95% interval, and of how many it is; arrays for many shares."""

    interval: Interval
    n: Floats


def share(part: Floats, whole: Floats) -> Share:
    """part / whole, float64 [...], with Wilson's interval (1927); 0 to 1 where there is nothing."""
    z = norm.ppf((1 + LEVEL) / 2)
    n = np.maximum(whole, 1e-9)
    value = part / n
    middle = value + z**2 / (2 * n)
    half = z * np.sqrt(np.maximum(value * (1 - value), 0) / n + z**2 / (4 * n**2))
    low, high = ((middle + sign * half) / (1 + z**2 / n) for sign in (-1, 1))
    interval = Interval(value, np.where(part <= 0, 0, low), np.where(part >= whole, 1, high))
    return Share(interval, whole)


def f_share(right: Floats, gold: Floats, found: Floats) -> Share:
    """F1. Its interval is that of J, the share of those in either that are in both: F1 is
    2J / (1 + J)."""
    interval, n = share(right, gold + found - right)
    return Share(Interval(*(2 * bound / (1 + bound) for bound in interval)), n)


def mean(shares: Share, held: NDArray[np.bool_]) -> Share:
    """The mean of the shares that are held, its interval by the square-and-add rule (Zou and Donner
    2008), which takes them for independent."""
    n = max(held.sum(), 1)
    value, low, high = (np.where(held, bound, 0) for bound in shares.interval)
    below, above = (np.sqrt(((bound - value) ** 2).sum()) / n for bound in (low, high))
    middle = value.sum() / n
    bounds = np.maximum(middle - below, 0), np.minimum(middle + above, 1)
    return Share(Interval(middle, *bounds), np.array(np.inf))


def gap(bins: Floats) -> Interval:
    """A calibration error of little: what it would be if the share that is right were anywhere in
    the interval of its bin. bins (float64 [3, 15]): See `document_counts`."""
    n, stated, right = bins
    confidence, weights = stated / np.maximum(n, 1), n / max(n.sum(), 1)
    value, low, high = (bound - confidence for bound in share(right, n).interval)
    least = np.where((low < 0) & (high > 0), 0, np.minimum(abs(low), abs(high)))
    most = np.maximum(abs(low), abs(high))
    return Interval(*((weights * gaps).sum() for gaps in (abs(value), least, most)))


def widened(interval: Interval, by: Share) -> Interval:
    """Wilson's interval where few are counted, else from the lower of the two lower bounds to the
    higher of the upper ones. interval (Interval): The bootstrap's; what is nan there, and of
    nothing, stays so."""
    few = (by.n < FEW) | np.isnan(interval.value)
    low = np.where(few, by.interval.low, np.minimum(interval.low, by.interval.low))
    high = np.where(few, by.interval.high, np.maximum(interval.high, by.interval.high))
    unknown = np.isnan(interval.value) & (by.n == 0)
    value = np.where(np.isnan(interval.value), by.interval.value, interval.value)
    return Interval(*(np.where(unknown, np.nan, bound) for bound in (value, low, high)))


def of_types(intervals: Mapping[str, Interval], counts: Counts) -> dict[str, Interval]:
    """The intervals of the figures of each type, those of entities widened.

    intervals (Mapping[str, Interval]): Those of the bootstrap.
    counts (Counts): Per document, or per patient, that it draws.
    """
    right, gold, found = _as_one(counts)["entities"]
    shares = {
        "precision": share(right, found),
        "recall": share(right, gold),
        "f": f_share(right, gold, found),
    }
    return {
        name: widened(interval, shares[name]) if name in shares else interval
        for name, interval in intervals.items()
    }


def of_figures(intervals: Mapping[str, Interval], counts: Counts) -> dict[str, Interval]:
    """The intervals of the figures over all types, widened; of losses nan where entities or
    documents are few. Both as for `of_types`."""
    new, sums = dict(intervals), _as_one(counts)
    for name, one in _shares(sums).items():
        new[name] = widened(intervals[name], one)
    for kind in ("token", "entity"):
        if f"{kind}_bins" not in sums:
            continue
        bins = sums[f"{kind}_bins"]
        few = len(counts["tokens"]) < FEW_DOCUMENTS or bins[0].sum() < FEW_MENTIONS
        if few or _all_or_none(bins):
            new[f"{kind}_ece"] = gap(bins)._replace(value=intervals[f"{kind}_ece"].value)
        if few:
            for name in (f"{kind}_brier", f"{kind}_nll"):
                new[name] = Interval(intervals[name].value, np.array(np.nan), np.array(np.nan))
    return new


def _all_or_none(bins: Floats) -> bool:
    """Whether each bin holds only what is right or only what is wrong: no resample differs then."""
    n, _, right = bins
    return bool(((right == 0) | np.isclose(right, n)).all())


def _as_one(counts: Counts) -> Counts:
    """Sums over all patients, in which all documents of a patient weigh as one: they are alike."""
    sums = total(counts)
    weight = len(counts["documents"]) / sums["documents"]
    return {name: values * weight for name, values in sums.items()}


def _shares(sums: Counts) -> dict[str, Share]:
    entities, tokens = sums["entities"], sums["tokens"]
    partly = np.stack([sums["overlaps"], *entities[1:]])
    annotated, classes = entities[1] > 0, tokens[1] > 0
    right, gold, found = entities.sum(axis=1)
    shares = {
        "entity_micro_p": share(right, found),
        "entity_micro_r": share(right, gold),
        "entity_micro_f": f_share(right, gold, found),
        "entity_macro_f": mean(f_share(*entities), annotated),
        "partial_micro_f": f_share(*partly.sum(axis=1)),
        "partial_macro_f": mean(f_share(*partly), annotated),
        "uar": mean(share(*tokens[:2]), classes),
        "uar_types": mean(share(*tokens[:2, 1:]), classes[1:]),
        "token_macro_f": mean(f_share(*tokens), classes),
        "token_accuracy": share(*tokens.sum(axis=1)[:2]),
    }
    if "mentions" in sums:
        shares["entity_micro_r_all"] = share(*sums["mentions"].sum(axis=-1))
    return shares
