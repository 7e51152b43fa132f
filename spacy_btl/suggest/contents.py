"""What a note is expected to hold, by the probabilities and logits of its words. Arrays only.

T words of a note, K types, C tags, M rows of a datastore.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spacy_btl.arrays import Probabilities
from spacy_btl.calibration.datastore import LabelledRows
from spacy_btl.lines import PARAGRAPH, SAME_LINE
from spacy_btl.tags import TagScheme

# Words of a note that are compared with those of the notes chosen before it.
ROWS = 32
# Labelled words whose distances to other documents say what is near, and the share that is.
SAMPLED, NEAR = 1000, 0.9
CHUNK = 8192  # labelled words that are compared at once
TINY = 1e-6  # in place of a distance of 0

Floats = NDArray[np.floating]


@dataclass(frozen=True)
class Contents:
    """What a note is expected to hold.

    words (int): T, white space left out.
    mentions (float64 [K]): Expected mentions, see `beginnings`.
    doubt (float): The expected share of its words whose tag is wrong.
    unlike (float): The share of its words that are unlike every labelled one; nan if not known.
    rows (float32 [R, C]): The logits of the words that tell most of rare types, at least one.
    begin (float64 [R, K]): How many mentions begin with each of these words.
    novelty (float64 [R]): How unlike every labelled word each is, from 0 to 1.
    rest (float64 [K]): The mentions that begin with the other words, each by its novelty.
    """

    words: int
    mentions: Probabilities
    doubt: float
    unlike: float
    rows: NDArray[np.float32]
    begin: Probabilities
    novelty: Floats
    rest: Probabilities

    @property
    def expected(self) -> Probabilities:
        """Expected mentions of each type, each by its novelty: float64 [K]."""
        return self.rest + self.novelty @ self.begin


def error(counts: Floats) -> Floats:
    """What is left to learn of types of which so many mentions are annotated. It falls as their
    square root, as the error of an estimate does."""
    return 1 / np.sqrt(1 + counts)


def gain(counts: Floats, expected: Floats) -> Floats:
    """How much expected mentions of each type, float [..., K], lessen what is left to learn of it.

    counts (float [K]): Its annotated mentions so far.
    """
    return error(counts) - error(counts + expected)


def contents_of(
    p: Probabilities,
    right: Floats,
    logits: NDArray[np.float32],
    novelty: Floats | None,
    counts: Floats,
) -> Contents:
    """Sum up a note of one or more words.

    p (float64 [T, K]): The probabilities of the types of its words.
    right (float [T]): The probability that the tag of each word is right.
    logits (float32 [T, C]): Their raw logits.
    novelty (Optional[float [T]]): How unlike every labelled word each is, from 0 to 1; None where
        no words are labelled.
    counts (float [K]): The annotated mentions of each type.
    """
    begin = beginnings(p)
    known = np.ones(len(p)) if novelty is None else novelty
    telling = gain(counts, begin * known[:, None]).sum(axis=1)
    first = np.sort(np.argsort(-telling, kind="stable")[:ROWS])
    others = np.ones(len(p), dtype=bool)
    others[first] = False
    return Contents(
        words=len(p),
        mentions=begin.sum(axis=0),
        doubt=float((1 - right).mean()),
        unlike=float("nan") if novelty is None else float((novelty >= 1).mean()),
        rows=logits[first],
        begin=begin[first],
        novelty=known[first],
        rest=known[others] @ begin[others],
    )


def beginnings(p: Probabilities) -> Probabilities:
    """How many mentions of each type begin with each word: by how much the square of its
    probability rises from the word before. float64 [T, K].

    The squares keep low probabilities, of which a long note has many, from adding up to mentions
    that are not there.

    p (float64 [T, K]): The probabilities of the types of words.
    """
    return np.maximum(np.diff(p**2, axis=0, prepend=0), 0)


def novelty_of(distances: Floats, near: float) -> Floats:
    """How unlike others words are, from 0 to 1 at the distance `near` and beyond."""
    return np.minimum(distances / near, 1)


def annotated_mentions(rows: LabelledRows, scheme: TagScheme) -> NDArray[np.int64]:
    """How many mentions of each type labelled words are, int64 [K]."""
    borders = np.diff(rows.documents, prepend=-1) != 0
    breaks = np.where(borders, PARAGRAPH, SAME_LINE).astype("int8")
    runs = scheme.runs(rows.tags, breaks, np.zeros(len(breaks), dtype=bool))
    return np.bincount(runs.types, minlength=len(scheme.types))


def near_distance(rows: LabelledRows) -> float | None:
    """The distance within which 9 of 10 labelled words have one of another document; None for the
    words of fewer than two documents."""
    if len(np.unique(rows.documents)) < 2:
        return None
    sample = np.arange(0, len(rows.tags), -(-len(rows.tags) // SAMPLED))
    nearest = np.full(len(sample), np.inf)
    for start in range(0, len(rows.tags), CHUNK):
        part = slice(start, start + CHUNK)
        distances = distances_to(rows.logits[sample], rows.logits[part])
        distances[rows.documents[sample][:, None] == rows.documents[part]] = np.inf
        nearest = np.minimum(nearest, distances.min(axis=1))
    return max(float(np.quantile(nearest, NEAR)), TINY)


def distances_to(rows: Floats, others: Floats) -> Floats:
    """Euclidean distances [N, M] between rows [N, C] and others [M, C]."""
    squares = (rows**2).sum(axis=1)[:, None] + (others**2).sum(axis=1) - 2 * rows @ others.T
    return np.sqrt(np.maximum(squares, 0))
