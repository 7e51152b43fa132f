"""What a pipeline whose mentions can overlap finds with other values of tau, as counts."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from spacy.tokens import Doc
from spacy.training import Example

from spacy_btl.calibration.calibrator import Calibrator
from spacy_btl.calibration.settings import TAUS
from spacy_btl.metrics.counts import Counts
from spacy_btl.metrics.rows import Found, Group, Pairs, read_mentions_and_decisions
from spacy_btl.pipeline.annotations import PROBABILITIES
from spacy_btl.pipeline.decoding import decode

# By whether mentions, or types of tokens, are correct (0), gold (1) or predicted (2), and type.
Tally = Counter[tuple[int, str]]


class AtTaus:
    """Counts documents one by one, with each of `TAUS`.

    calibrator (Calibrator): A fitted one, of a pipeline whose mentions can overlap.
    group (Group): Its groups of mentions.
    """

    def __init__(self, calibrator: Calibrator, group: Group) -> None:
        self._calibrator = calibrator
        self._group = group
        self._tallies: list[tuple[Tally, Tally]] = [(Counter(), Counter()) for _ in TAUS]

    def add(self, doc: Doc, reference: Doc) -> None:
        """Count a document with the probabilities that the calibrator left on it."""
        example = Example(doc, reference)
        p = doc._.get(PROBABILITIES).astype("float64")
        for tau, tallies in zip(TAUS, self._tallies, strict=True):
            ((spans, values),) = decode([doc], [p], self._calibrator, tau=tau)
            found: Found = list(zip(spans, values, strict=True))
            _, mentions, decisions = read_mentions_and_decisions(example, found, self._group)
            for tally, pairs in zip(tallies, (decisions, mentions), strict=True):
                tally.update(_tally(pairs))

    def counts(self, classes: Sequence[str]) -> tuple[Counts, ...]:
        """The `decisions` [3, C] and `mentions` [3, K] of `document_counts` with each of `TAUS`,
        over all documents. classes (Sequence[str]): `O` first, then all types."""
        return tuple(
            {
                "decisions": _by_class(decisions, classes),
                "mentions": _by_class(mentions, classes[1:]),
            }
            for decisions, mentions in self._tallies
        )


def _tally(pairs: Pairs) -> Tally:
    gold, predicted = set(pairs.gold), set(pairs.predicted)
    places = (gold & predicted, gold, predicted)
    return Counter((kind, label) for kind, some in enumerate(places) for *_, label in some)


def _by_class(tally: Tally, classes: Sequence[str]) -> NDArray[np.float64]:
    return np.array([[float(tally[kind, label]) for label in classes] for kind in range(3)])
