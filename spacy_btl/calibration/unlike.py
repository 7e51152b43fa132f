"""How unlike the held-out documents of a calibrator other notes are, and what that means for their
confidence. Arrays only; D held-out documents, B notes, rows as in `reference.describe`."""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit
from scipy.stats import rankdata, t

from spacy_btl.calibration.calibration_maps import Maps
from spacy_btl.calibration.mention_map import MentionMap
from spacy_btl.calibration.reference import COUNTS, DISTANCE, FEATURES, N_FIXED, Reference
from spacy_btl.errors import CalibratorError

# Notes are unlike if so few divisions of all documents into two parts tell these apart as well.
ALPHA = 0.01
PERMUTATIONS = 1999
# Notes beyond these are thinned out evenly: more of them tell no more.
MOST = 1000
# A single note is far from the held-out ones if so few of these would be as far.
FAR = 0.01

Floats = NDArray[np.float64]


class Difference(NamedTuple):
    """A feature that differs: its medians, and by how many standard errors of the ranks."""

    feature: str
    before: float
    now: float
    z: float


@dataclass(frozen=True)
class Comparison:
    """Notes against the held-out documents of the pipeline's own source.

    notes (int): How many have words.
    held_out (int): How many held-out documents they were compared with.
    p_value (float): That notes of the same source differ as much in any feature.
    differences (List[Difference]): All features, the one that differs most first.
    accuracy (float): The share of mentions that were correct in the held-out documents.
    expected (float): The share to be expected in the notes, see `expected_accuracy`.
    """

    notes: int
    held_out: int
    p_value: float
    differences: list[Difference]
    accuracy: float
    expected: float

    @property
    def unlike(self) -> bool:
        """Whether the notes are unlike the held-out ones."""
        return self.p_value < ALPHA

    @property
    def possible(self) -> bool:
        """Whether so few notes and documents could be told apart at all."""
        few = min(self.notes, self.held_out)
        return bool(few > 1 or self.notes * self.held_out >= 2 / ALPHA)


def compare(reference: Reference, rows: Floats, types: tuple[str, ...]) -> Comparison:
    """Compare notes with the held-out documents by the ranks of each feature.

    The statistic is the greatest difference of mean ranks (Mann and Whitney 1947), in standard
    errors, over all features. Its p-value is by permutation of the documents (Westfall and Young
    1993), so that documents of one source are told apart no more often than it says, whatever the
    features and however they go together.

    rows (float64 [B, M]): The notes; those without words are left out.
    types (Tuple[str, ...]): The names of the types.
    RAISES: CalibratorError, without a note that has words, or for rows of other types.
    """
    if rows.shape[1:] != reference.rows.shape[1:] or rows.shape[1] != N_FIXED + len(types):
        raise CalibratorError(
            "The calibrator's reference is of other entity types than the notes were read for: fit "
            "it again (python -m spacy btl calibrate --held-out)."
        )
    rows = rows[rows[:, 0] > 0]
    if not len(rows):
        raise CalibratorError("There is no note with words to compare.")
    shown = rows[np.linspace(0, len(rows) - 1, min(len(rows), MOST)).round().astype("int64")]
    features = np.concatenate([reference.rows, shown])[:, len(COUNTS) :]
    is_note = np.arange(len(features)) >= len(reference.rows)
    ranks = rankdata(features.round(9), axis=0)
    z = _standard(is_note[None], ranks)[0]
    rng = np.random.default_rng(0)
    parts = rng.permuted(np.tile(is_note, (PERMUTATIONS, 1)), axis=1)
    highest = np.abs(_standard(parts, ranks)).max(axis=1)
    p_value = (1 + (highest >= np.abs(z).max() - 1e-9).sum()) / (PERMUTATIONS + 1)
    before, now = (np.median(features[part], axis=0) for part in (~is_note, is_note))
    names = [*FEATURES, *(f"words of {label}" for label in types)]
    return Comparison(
        notes=len(rows),
        held_out=len(reference.rows),
        p_value=float(p_value),
        differences=[
            Difference(names[i], float(before[i]), float(now[i]), float(z[i]))
            for i in np.argsort(-np.abs(z), kind="stable").tolist()
        ],
        accuracy=reference.accuracy,
        expected=expected_accuracy(reference, rows),
    )


def _standard(parts: NDArray[np.bool_], ranks: Floats) -> Floats:
    """The rank sums of parts of the documents, bool [P, D], in standard errors: float64 [P, F]."""
    n, total = int(parts[0].sum()), len(ranks)
    error = np.sqrt(n * (total - n) / max(total - 1, 1) * ranks.var(axis=0))
    away = parts.astype("float64") @ (ranks - ranks.mean(axis=0))
    return np.divide(away, error, out=np.zeros_like(away), where=error > 0)


def prior_shift(reference: Reference, rows: Floats) -> float:
    """By how much the log odds of a correct candidate are less, or more, in the notes.

    The share of correct candidates is the mean of their probabilities: the first step of the
    expectation maximization of Saerens et al. (2002), whose later steps go too far where more than
    that share has changed.
    """
    before, now = (_share(each) for each in (reference.rows, rows))
    return float(logit(now) - logit(before))


def _share(rows: Floats) -> float:
    scored = rows[:, COUNTS.index("scored")]
    correct = rows[:, len(COUNTS) + FEATURES.index("share of candidates that are correct")]
    return float((scored @ correct + 1) / (scored.sum() + 2))


def expected_accuracy(reference: Reference, rows: Floats) -> float:
    """The share of the notes' mentions that is expected to be correct: their mean confidence,
    corrected by `prior_shift`; 0 without mentions."""
    mentions, confidence = rows[:, 1], rows[:, len(COUNTS) + FEATURES.index("confidence")]
    shifted = expit(logit(confidence.clip(1e-6, 1 - 1e-6)) + prior_shift(reference, rows))
    return float(mentions @ shifted / max(mentions.sum(), 1))


def shift_prior(maps: Maps, by: float) -> Maps:
    """Maps whose confidence has other log odds; what is found stays. by (float): See
    `prior_shift`."""
    confidence = replace(maps.confidence, bias=maps.confidence.bias + by)
    if isinstance(confidence, MentionMap):
        confidence = replace(confidence, cutoff=confidence.cutoff + by)
    return replace(maps, confidence=confidence)


def is_far(reference: Reference, row: Floats) -> bool:
    """Whether the words of a note are farther from all labelled words than those of nearly any
    held-out document: by Student's prediction interval for one more of these.

    row (float64 [M]): The note.
    """
    known = reference.rows[:, len(COUNTS) + DISTANCE]
    if len(known) < 3 or not known.std():
        return False
    error = known.std(ddof=1) * np.sqrt(1 + 1 / len(known))
    return bool(t.sf((row[len(COUNTS) + DISTANCE] - known.mean()) / error, len(known) - 1) < FAR)
