"""Score decisions on held-out documents without spaCy's spans, since hundreds are tried."""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from spacy_btl.arrays import Probabilities
from spacy_btl.calibration.calibration_maps import TokenMap
from spacy_btl.calibration.datastore import Datastore
from spacy_btl.calibration.decisions import type_shifts
from spacy_btl.calibration.fit import decide_held_out, fit_mentions
from spacy_btl.calibration.held_out import HeldOut, judge_runs
from spacy_btl.calibration.mention_map import MentionMap, choose_mentions
from spacy_btl.calibration.settings import Settings
from spacy_btl.mentions import OverlappingScheme
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
        """Those of all tokens, as `Calibrator.predict_proba` returns them, from those by the
        neighbours of the tokens that the encoder saw."""
        logits, scheme = self.held_out.logits, self.datastore.tag_scheme
        p = token_map(logits[:, scheme.columns], p_knn if knn_weight else None, knn_weight)
        return scheme.add_borders(p, logits) if isinstance(scheme, OverlappingScheme) else p

    def fit_mentions(self, p: Probabilities, settings: Settings) -> MentionMap | None:
        """What tells mentions among candidates; None without `spans_key`, where tags do."""
        if not self.datastore.tag_scheme.overlapping:
            return None
        return fit_mentions(self.held_out, p, self.datastore, settings)

    def score(
        self, p: Probabilities, settings: Settings, mention_map: MentionMap | None = None
    ) -> Scores:
        """Score the decisions by probabilities [N, C]; as for `counts`."""
        return Scores.of(self.counts(p, settings, mention_map))

    def counts(
        self, p: Probabilities, settings: Settings, mention_map: MentionMap | None = None
    ) -> Counts:
        """Count correct, gold and predicted items, over all documents.

        mention_map (Optional[MentionMap]): Chooses mentions; without it those of the tags are all.
        RETURNS (Dict[str, float64 [3, K + 1]]): `tokens` of `O` and of each type; `entities` of the
            types that the pipe lacks and of each type: with `spans_key`, all mentions.
        """
        held_out, scheme = self.held_out, self.datastore.tag_scheme
        if mention_map is not None and isinstance(scheme, OverlappingScheme):
            shifts = type_shifts(settings.tau, scheme, self.datastore.prior)
            tags = decide_held_out(held_out, p, self.datastore, replace(settings, tau=0.0))
            runs = choose_mentions(p, tags, held_out.words, scheme, mention_map, shifts).runs
            tags = runs.covered(*tags.shape).astype(scheme.tag_dtype)
        else:
            tags = decide_held_out(held_out, p, self.datastore, settings)
            runs = scheme.runs(tags, held_out.breaks, held_out.short)
        gold, predicted = (scheme.classes(each[held_out.known]) for each in (held_out.tags, tags))
        n = len(scheme.types) + 1
        known, correct = judge_runs(held_out, runs)
        found = runs.types[known] + 1
        types = (found[correct], held_out.gold_ents[:, 2], found)
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
