"""Candidate mentions, where each type decides for itself, and what tells the correct ones.

One threshold cuts some mentions short and lets others run on. So the runs of words above several
thresholds are candidates, beside those of the decided tags, and a `MentionMap` says how probable
each is, by how probable its words and its borders are. N words, K types of S tags, P candidates.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spacy_btl.arrays import Probabilities
from spacy_btl.lines import PARAGRAPH
from spacy_btl.mentions import OverlappingScheme
from spacy_btl.tags import Runs

# Log odds of a type. A candidate is a run of words above one of them.
LEVELS = (-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0)
# Log odds beyond these say nothing more. Beyond the text they are the lower one.
LOWEST, HIGHEST = -8.0, 8.0

FEATURES = (
    "lowest",  # of the log odds of its type, over its words
    "mean",
    "first",
    "last",
    "before",  # of the word before it in the document, and so on
    "second before",
    "after",
    "second after",
    "other type",  # the lowest, over its words, of the highest of the other types
    "log of the number of words",
    "at a line start",
    "at a line end",
    "start",  # of the log odds that a mention of its type begins, that of its first word
    "start after",  # of the word after it
    "start inside",  # the highest of its other words
    "end",  # of the log odds that one ends, that of its last word
    "end before",
    "end inside",
)


class Words(NamedTuple):
    """Where N words stand: arrays [N], as in `HeldOut`."""

    documents: NDArray[np.integer]
    breaks: NDArray[np.int8]
    short: NDArray[np.bool_]


def type_log_odds(p: Probabilities, scheme: OverlappingScheme) -> NDArray[np.float64]:
    """The log odds of the types, float64 [N, K], within bounds.

    p (float64 [N, K, S], or with borders [N, K, S + 2]): Probabilities of the tags.
    """
    return _log_odds(np.minimum(scheme.type_probabilities(p), 1.0))


def border_log_odds(p: Probabilities) -> NDArray[np.float64]:
    """The log odds that mentions begin and that they end, float64 [2, N, K], within bounds.

    p (float64 [N, K, S + 2]): See `OverlappingScheme.add_borders`.
    """
    return _log_odds(np.moveaxis(p[..., -2:], -1, 0))


def _log_odds(p: Probabilities) -> NDArray[np.float64]:
    with np.errstate(divide="ignore"):
        return np.clip(np.log(p) - np.log1p(-p), LOWEST, HIGHEST)


def find_candidates(
    log_odds: NDArray[np.float64],
    tags: NDArray[np.integer],
    words: Words,
    scheme: OverlappingScheme,
) -> Runs:
    """The runs of the decided tags and of all levels, each once.

    log_odds (float64 [N, K]): See `type_log_odds`.
    tags (int [N, K]): Decided tags.
    """
    above = [((log_odds > level) * scheme.width).astype("int8") for level in LEVELS]
    found = [scheme.runs(each, words.breaks, words.short) for each in (tags, *above)]
    rows = np.concatenate([np.stack(runs, axis=1) for runs in found])
    return Runs(*np.unique(rows, axis=0).T)


def describe(
    candidates: Runs,
    log_odds: NDArray[np.float64],
    borders: NDArray[np.float64],
    words: Words,
) -> NDArray[np.float64]:
    """What tells correct candidates from others, float64 [P, F]: `FEATURES`.

    log_odds (float64 [N, K]): See `type_log_odds`.
    borders (float64 [2, N, K]): See `border_log_odds`.
    """
    first, last, types = candidates
    lengths = last - first + 1
    starts, ends = borders
    ids = np.pad(words.documents, 2, mode="constant", constant_values=-1)

    def beside(
        values: NDArray[np.float64], places: NDArray[np.int64], steps: int
    ) -> NDArray[np.float64]:
        other = places + steps
        same = ids[other + 2] == ids[places + 2]
        return np.where(same, values[np.clip(other, 0, len(values) - 1), types], LOWEST)

    line_starts = np.append(words.breaks, PARAGRAPH) > 0
    features = [
        candidates.of(log_odds, np.minimum),
        candidates.of(log_odds, np.add) / lengths,
        log_odds[first, types],
        log_odds[last, types],
        beside(log_odds, first, -1),
        beside(log_odds, first, -2),
        beside(log_odds, last, 1),
        beside(log_odds, last, 2),
        candidates.of(_of_others(log_odds), np.minimum),
        np.log(lengths),
        line_starts[first],
        line_starts[last + 1],
        starts[first, types],
        beside(starts, last, 1),
        _highest(starts, Runs(first + 1, last, types)),
        ends[last, types],
        beside(ends, first, -1),
        _highest(ends, Runs(first, last - 1, types)),
    ]
    return np.stack(features, axis=1).astype("float64")


def _highest(values: NDArray[np.float64], runs: Runs) -> NDArray[np.float64]:
    """The highest value of each run, float64 [P]; of one without words the lowest that there is."""
    highest = np.full(len(runs.first), LOWEST)
    has_words = runs.first <= runs.last
    highest[has_words] = runs.take(has_words).of(values, np.maximum)
    return highest


def choose(candidates: Runs, scores: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which candidates have no better one of their type that overlaps them, of those above 0:
    bool [P]. The greatest score is chosen first.

    scores (float64 [P]): One per candidate.
    """
    n_words = int(candidates.last.max(initial=-1)) + 1
    chosen = np.zeros(len(scores), dtype=bool)
    taken: dict[int, NDArray[np.bool_]] = {}
    order = np.argsort(-scores, kind="stable")
    order = order[scores[order] > 0]
    rows = np.stack(candidates, axis=1)[order].tolist()
    for number, (first, last, kind) in zip(order.tolist(), rows, strict=True):
        of_type = taken.setdefault(kind, np.zeros(n_words, dtype=bool))
        if not of_type[first : last + 1].any():
            of_type[first : last + 1] = chosen[number] = True
    return chosen


def _of_others(log_odds: NDArray[np.float64]) -> NDArray[np.float64]:
    """For each word and type the highest of the other types, float64 [N, K]."""
    if log_odds.shape[1] < 2 or not len(log_odds):
        return np.full_like(log_odds, LOWEST)
    second, best = np.partition(log_odds, -2, axis=1)[:, -2:].T[..., None]
    is_best = log_odds.argmax(axis=1)[:, None] == np.arange(log_odds.shape[1])
    return np.where(is_best, second, best)
