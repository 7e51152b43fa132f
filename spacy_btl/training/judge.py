"""Scores of decisions on held-out documents, without spaCy's spans, since hundreds are tried."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spacy_btl.arrays import Probabilities
from spacy_btl.calibration.datastore import Datastore
from spacy_btl.calibration.fit import decide_held_out
from spacy_btl.calibration.held_out import HeldOut, read_entities
from spacy_btl.calibration.settings import Settings
from spacy_btl.tags import MISSING

Sums = NDArray[np.float64]


class Scores(NamedTuple):
    """Figures on the held-out documents, from 0 to 1.

    tag_uar (float): Mean token recall of the classes in the annotation, `O` among them.
    tag_macro_f (float): Their mean token F1.
    ents_f (float): F1 of entities, boundaries and type right.
    """

    tag_uar: float
    tag_macro_f: float
    ents_f: float


@dataclass(frozen=True)
class Judge:
    """Scores decisions on held-out documents, and says which of them are good enough.

    tolerance (float): How far entity micro F1 may fall below that of the network's arg-max. Token
        macro F1 may not fall.
    """

    held_out: HeldOut
    datastore: Datastore
    tolerance: float

    def score(self, p: Probabilities, settings: Settings) -> Scores:
        """Score the decisions by probabilities [N, C]."""
        return scores(self.sums(p, settings))

    def sums(self, p: Probabilities, settings: Settings) -> Sums:
        """What the scores are computed from, which adds up over documents.

        RETURNS (float64 [3, K + 1]): Right, gold and found: tokens of `O` and of each type, then
            entities.
        """
        tags = decide_held_out(self.held_out, p, self.datastore, settings)
        scheme = self.datastore.tag_scheme
        scored = self.held_out.tags != MISSING
        tag_types, n_types = scheme.tag_types, len(scheme.types)
        gold, found = tag_types[self.held_out.tags[scored]], tag_types[tags[scored]]
        entities = read_entities(self.held_out, tags, p, scheme=scheme)
        counted = (gold[gold == found], gold, found)
        tokens = [np.bincount(types, minlength=n_types + 1) for types in counted]
        ents = [int(entities.correct.sum()), len(self.held_out.gold_ents), len(entities.correct)]
        return np.column_stack([np.array(tokens), ents]).astype("float64")

    def allows(self, scores: Scores, plain: Scores) -> bool:
        """Whether scores keep what the network's arg-max has."""
        return (
            scores.tag_macro_f >= plain.tag_macro_f
            and scores.ents_f >= plain.ents_f - self.tolerance
        )


def scores(sums: Sums) -> Scores:
    """The figures of sums [3, K + 1]; nan of tokens where none is annotated."""
    n_right, n_gold, n_found = sums[:, :-1]
    right, *both = sums[:, -1]
    held = n_gold > 0
    recall = n_right[held] / n_gold[held] if held.any() else np.array([np.nan])
    f = 2 * n_right[held] / (n_gold + n_found)[held] if held.any() else recall
    entity_f = 2 * right / max(sum(both), 1)
    return Scores(float(recall.mean()), float(f.mean()), float(entity_f))
