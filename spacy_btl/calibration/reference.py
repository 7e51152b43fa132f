"""What a pipeline finds in each document, in a few numbers without text: those of held-out
documents are saved with the calibrator, to compare other notes with.

N words, D documents, K types. A document is a row of M = 9 + K numbers.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spacy_btl.arrays import Probabilities, load_arrays, save_arrays
from spacy_btl.calibration.mention_map import Found
from spacy_btl.errors import CalibratorError
from spacy_btl.tags import TagScheme

FORMAT = "spacy_btl.reference"
VERSION = "1"

# The first columns of a row: counts. What is scored are candidates for mentions; without a
# `MentionMap`, the entities.
COUNTS = ("words", "mentions", "scored")
# The columns behind them, which are compared. Those of the types are behind these.
FEATURES = (
    "share of words not seen by the encoder",
    "distance to labelled words",  # mean of log(1 + distance), over the words that are searched
    "doubt",  # mean probability that the tag of a word is wrong
    "mentions per word",
    "confidence",  # mean, of mentions
    "share of candidates that are correct",  # mean of their probabilities
)
SHARES = ("confidence", "share of candidates that are correct")  # at most 1
MOST = 1e9  # of any number
N_FIXED = len(COUNTS) + len(FEATURES)
DISTANCE = FEATURES.index("distance to labelled words")

Floats = NDArray[np.float64]


class Tokens(NamedTuple):
    """What is known of N words: their document, int [N], counted from 0; probabilities, float64
    [N, C] or [N, K, S]; whether the encoder saw them, bool [N]; and the distance of their logits to
    the nearest labelled ones, float [N], nan where that was not searched."""

    documents: NDArray[np.integer]
    p: Probabilities
    seen: NDArray[np.bool_]
    nearest: NDArray[np.floating]


def describe(tokens: Tokens, found: Found, scheme: TagScheme, n_documents: int) -> Floats:
    """The rows of D documents, float64 [D, M]; zeros for one without words.

    found (Found): Their mentions, and what else was scored.
    """
    documents = tokens.documents

    def mean(values: NDArray[np.floating], owners: NDArray[np.integer]) -> Floats:
        total = np.bincount(owners, values, minlength=n_documents)
        return total / np.maximum(np.bincount(owners, minlength=n_documents), 1)

    p = tokens.p[..., : scheme.columns.shape[-1]]
    wrong = 1 - p.max(axis=-1).min(axis=tuple(range(1, p.ndim - 1)))  # of any type's decision
    searched = ~np.isnan(tokens.nearest)
    of_types = scheme.type_probabilities(p)
    of_mentions, of_scored = documents[found.runs.first], documents[found.first]
    words, mentions, scored = (
        np.bincount(owners, minlength=n_documents) for owners in (documents, of_mentions, of_scored)
    )
    columns = [
        words,
        mentions,
        scored,
        mean((~tokens.seen).astype("float64"), documents),
        mean(np.log1p(tokens.nearest[searched]), documents[searched]),
        mean(wrong, documents),
        mentions / np.maximum(words, 1),
        mean(found.confidences, of_mentions),
        mean(found.p, of_scored),
        *(mean(of_type, documents) for of_type in of_types.T),
    ]
    return np.stack(columns, axis=1).astype("float64")


@dataclass(frozen=True)
class Reference:
    """The held-out documents that the maps of a calibrator were fitted to.

    rows (float64 [D, M]): One per document with words, see `describe`.
    judged (int64 [D, 2]): Its mentions where annotation is known, and how many are correct.
    """

    rows: Floats
    judged: NDArray[np.int64]

    @property
    def accuracy(self) -> float:
        """The share of mentions that are correct; 0 without any."""
        known, correct = self.judged.sum(axis=0)
        return float(correct / max(known, 1))

    def to_bytes(self) -> bytes:
        """The reference as the bytes of a safetensors file."""
        content = {"format": FORMAT, "version": VERSION}
        return save_arrays({"rows": self.rows, "judged": self.judged}, content)

    @classmethod
    def from_bytes(cls, data: bytes, *, where: str) -> "Reference":
        """Read and check a reference.

        where (str): What to call its origin in an error.
        RAISES: CalibratorError, for anything but a complete and finite one of this version.
        """
        try:
            arrays, content = load_arrays(data)
            rows, judged = arrays["rows"], arrays["judged"]
            is_whole = (
                (content["format"], content["version"]) == (FORMAT, VERSION)
                and (rows.dtype, judged.dtype) == ("float64", "int64")
                and rows.ndim == 2
                and rows.shape[1] > N_FIXED
                and judged.shape == (len(rows), 2)
                and np.isfinite(rows).all()
                and (rows >= 0).all()
                and (rows <= MOST).all()
                and (rows[:, [len(COUNTS) + FEATURES.index(name) for name in SHARES]] <= 1).all()
                and (judged[:, 1] >= 0).all()
                and (judged[:, 1] <= judged[:, 0]).all()
            )
            if not is_whole:
                raise ValueError("not the numbers of documents")
            return cls(rows, judged)
        except Exception as error:  # safetensors, json and numpy each have their own
            raise CalibratorError(
                f"Cannot use the calibrator's reference in {where}: it is damaged, or of another "
                "version. Fit it again (python -m spacy btl calibrate --held-out)."
            ) from error
