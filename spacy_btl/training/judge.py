"""Score decisions on held-out documents without spaCy's spans, since hundreds are tried."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from spacy_btl.arrays import Probabilities
from spacy_btl.calibration.calibration_maps import TokenMap
from spacy_btl.calibration.datastore import Datastore
from spacy_btl.calibration.fit import decide_held_out
from spacy_btl.calibration.held_out import HeldOut, read_entities
from spacy_btl.calibration.settings import Settings
from spacy_btl.metrics.counts import Counts
from spacy_btl.metrics.scores import scores


class Scores(NamedTuple):
    """The scores that settings are chosen by, see `metrics.measures.MEASURES`."""

    tag_uar: float
    tag_macro_f: float
    ents_f: float

    @classmethod
    def of(cls, counts: Counts) -> "Scores":
        """Compute them from counts. counts (Counts): See `Judge.counts`."""
        values = scores(counts)
        return cls(**{name: float(values[name]) for name in cls._fields})


@dataclass(frozen=True)
class Judge:
    """Scores decisions on held-out documents, and says which scores are acceptable.

    tolerance (float): How far entity micro F1 may fall below that of the network's argmax. Token
        macro F1 may not fall.
    """

    held_out: HeldOut
    datastore: Datastore
    tolerance: float

    def probabilities(
        self, token_map: TokenMap, p_knn: Probabilities, knn_weight: float
    ) -> Probabilities:
        """Those of the tags of all tokens, from those by the neighbours of the tokens that the
        encoder saw."""
        scores = self.held_out.logits[:, self.datastore.tag_scheme.columns]
        return token_map(scores, p_knn if knn_weight else None, knn_weight)

    def score(self, p: Probabilities, settings: Settings) -> Scores:
        """Score the decisions by probabilities [N, C]."""
        return Scores.of(self.counts(p, settings))

    def counts(self, p: Probabilities, settings: Settings) -> Counts:
        """Count correct, gold and predicted items, over all documents.

        RETURNS (Dict[str, float64 [3, K + 1]]): `tokens` of `O` and of each type; `entities` of the
            types that the pipe lacks and of each type: with `spans_key`, all mentions.
        """
        tags = decide_held_out(self.held_out, p, self.datastore, settings)
        scheme = self.datastore.tag_scheme
        known = self.held_out.known
        gold, predicted = (scheme.classes(each[known]) for each in (self.held_out.tags, tags))
        n = len(scheme.types) + 1
        entities = read_entities(self.held_out, tags, p, scheme=scheme)
        gold_types = self.held_out.gold_ents[:, 2]
        types = (entities.types[entities.correct], gold_types, entities.types)
        return {
            "tokens": np.stack([each.sum(axis=0) for each in (gold & predicted, gold, predicted)]),
            "entities": np.stack([np.bincount(each, minlength=n) for each in types]).astype(float),
        }

    def allows(self, scores: Scores, plain: Scores) -> bool:
        """Whether scores keep what the network's argmax has."""
        return (
            scores.tag_macro_f >= plain.tag_macro_f
            and scores.ents_f >= plain.ents_f - self.tolerance
        )
