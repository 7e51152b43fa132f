"""Intervals of scores that rest on few documents or mentions.

A bootstrap resamples what was seen: if all of three mentions were predicted, each sample has all of
them, and the interval has no width. Wilson's interval for three of three is 44 to 100%.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from spacy_btl.metrics.bootstrap import LEVEL, Interval
from spacy_btl.metrics.counts import Counts, class_counts, total
from spacy_btl.metrics.scores import CALIBRATION, SPANS_KEYS

# The bootstrap is not used below FEW items for a share, below FEW_MENTIONS for a calibration error,
# and below FEW_DOCUMENTS for either.
FEW = 10
FEW_MENTIONS = 30
FEW_DOCUMENTS = 5

Floats = NDArray[np.floating]


class Share(NamedTuple):
    """A share with Wilson's 95% interval, and the number of its items; arrays for many shares."""

    interval: Interval
    n: Floats


def share(part: Floats, whole: Floats) -> Share:
    """part / whole, float64 [...], with Wilson's interval (1927); 0 to 1 where whole is 0.

    `scipy.stats.binomtest` has the same interval, for one share at a time.
    """
    z = ndtri((1 + LEVEL) / 2)
    n = np.maximum(whole, 1e-9)
    value = part / n
    centre = value + z**2 / (2 * n)
    half = z * np.sqrt(np.maximum(value * (1 - value), 0) / n + z**2 / (4 * n**2))
    low, high = ((centre + sign * half) / (1 + z**2 / n) for sign in (-1, 1))
    interval = Interval(value, np.where(part <= 0, 0, low), np.where(part >= whole, 1, high))
    return Share(interval, whole)


def f_share(correct: Floats, gold: Floats, predicted: Floats) -> Share:
    """F1 with an interval: F1 is 2J / (1 + J), where J is the share of the gold and predicted items
    that are both."""
    interval, n = share(correct, gold + predicted - correct)
    return Share(Interval(*(2 * bound / (1 + bound) for bound in interval)), n)


def mean(shares: Share, present: NDArray[np.bool_]) -> Share:
    """The mean of the shares that are present. Its interval is by the square-and-add rule (Zou and
    Donner 2008), which assumes that they are independent."""
    n = max(present.sum(), 1)
    value, low, high = (np.where(present, bound, 0) for bound in shares.interval)
    below, above = (np.sqrt(((bound - value) ** 2).sum()) / n for bound in (low, high))
    centre = value.sum() / n
    bounds = np.maximum(centre - below, 0), np.minimum(centre + above, 1)
    return Share(Interval(centre, *bounds), np.array(np.inf))


def gap(bins: Floats) -> Interval:
    """A calibration error from few items. Its bounds let the correct share of each bin lie anywhere
    in Wilson's interval.

    bins (float64 [3, 15]): See `document_counts`.
    """
    n, stated, correct = bins
    confidence, weights = stated / np.maximum(n, 1), n / max(n.sum(), 1)
    value, low, high = (bound - confidence for bound in share(correct, n).interval)
    smallest = np.where((low < 0) & (high > 0), 0, np.minimum(abs(low), abs(high)))
    largest = np.maximum(abs(low), abs(high))
    return Interval(*((weights * gaps).sum() for gaps in (abs(value), smallest, largest)))


def widened(interval: Interval, by: Share) -> Interval:
    """Wilson's interval for few items, else the union of both intervals.

    interval (Interval): The bootstrap's. Where it is nan and there are no items, it stays nan.
    """
    few = (by.n < FEW) | np.isnan(interval.value)
    low = np.where(few, by.interval.low, np.minimum(interval.low, by.interval.low))
    high = np.where(few, by.interval.high, np.maximum(interval.high, by.interval.high))
    unknown = np.isnan(interval.value) & (by.n == 0)
    value = np.where(np.isnan(interval.value), by.interval.value, interval.value)
    return Interval(*(np.where(unknown, np.nan, bound) for bound in (value, low, high)))


def widen_types(intervals: Mapping[str, Interval], counts: Counts) -> dict[str, Interval]:
    """Widen the intervals of the entity and mention scores of each type.

    intervals (Mapping[str, Interval]): The bootstrap's.
    counts (Counts): Per document, or per patient, as the bootstrap samples them.
    """
    new, sums = dict(intervals), _as_one(counts)
    for prefix, kind in {"ents": "entities", "spans_btl": "mentions"}.items():
        if kind in sums:
            for letter, one in zip("prf", _p_r_f(*sums[kind]), strict=True):
                name = f"{prefix}_{letter}"
                new[name] = widened(intervals[name], one)
    return new


def widen(intervals: Mapping[str, Interval], counts: Counts) -> dict[str, Interval]:
    """Widen the intervals of the scores over all types; arguments as for `widen_types`.

    Brier scores and log-likelihoods of few entities or documents have no interval (nan).
    """
    new, sums = dict(intervals), _as_one(counts)
    for name, one in _shares(sums).items():
        new[name] = widened(intervals[name], one)
    for prefix, kind in CALIBRATION.items():
        if f"{kind}_bins" not in sums:
            continue
        bins, ece = sums[f"{kind}_bins"], f"{prefix}_ece"
        few = len(counts["documents"]) < FEW_DOCUMENTS or bins[0].sum() < FEW_MENTIONS
        if few or _all_or_none(bins):
            new[ece] = gap(bins)._replace(value=intervals[ece].value)
        if few:
            for name in (f"{prefix}_brier", f"{prefix}_nll"):
                new[name] = Interval(intervals[name].value, np.array(np.nan), np.array(np.nan))
    return new


def _all_or_none(bins: Floats) -> bool:
    """Whether all items of each bin are correct, or none: no resample differs then."""
    n, _, correct = bins
    return bool(((correct == 0) | np.isclose(correct, n)).all())


def _as_one(counts: Counts) -> Counts:
    """Sums over all patients, in which the documents of a patient weigh as one: they are alike."""
    sums = total(counts)
    weight = len(counts["documents"]) / sums["documents"]
    return {name: values * weight for name, values in sums.items()}


def _shares(sums: Counts) -> dict[str, Share]:
    entities, tokens = sums["entities"], class_counts(sums)
    partly = np.stack([sums["overlaps"], *entities[1:]])
    annotated, classes = entities[1] > 0, tokens[1] > 0
    shares = {
        **dict(zip(("ents_p", "ents_r", "ents_f"), _p_r_f(*entities.sum(axis=1)), strict=True)),
        "ents_macro_f": mean(f_share(*entities), annotated),
        "ents_partial_f": f_share(*partly.sum(axis=1)),
        "ents_partial_macro_f": mean(f_share(*partly), annotated),
        "tag_uar": mean(share(*tokens[:2]), classes),
        "tag_uar_types": mean(share(*tokens[:2, 1:]), classes[1:]),
        "tag_macro_f": mean(f_share(*tokens), classes),
    }
    if "tokens" in sums:
        shares["tag_accuracy"] = share(*tokens.sum(axis=1)[:2])
    if "mentions" in sums:
        mentions = sums["mentions"]
        macro = mean(f_share(*mentions), mentions[1] > 0)
        shares |= zip(SPANS_KEYS, (*_p_r_f(*mentions.sum(axis=1)), macro), strict=True)
    if "lost" in sums:
        shares["spans_btl_r_lost"] = share(*sums["lost"].sum(axis=-1))
    return shares


def _p_r_f(correct: Floats, gold: Floats, predicted: Floats) -> tuple[Share, Share, Share]:
    return share(correct, predicted), share(correct, gold), f_share(correct, gold, predicted)
