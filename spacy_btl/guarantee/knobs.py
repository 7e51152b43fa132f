"""The settings that are tried for a promise, from the safest to the cheapest, and what they find.

Recall rises with the tau of its type. All types of a sweep get one bonus of log odds at a time, so
that types which compete for a token keep their order. Precision rises with the least confidence of
its type, which changes nothing about other types.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from spacy_btl.arrays import Probabilities
from spacy_btl.calibration.calibrator import Calibrator
from spacy_btl.calibration.datastore import Datastore
from spacy_btl.calibration.decisions import PerType, Tau, confidence_limits
from spacy_btl.calibration.held_out import HeldOut
from spacy_btl.guarantee.bounds import certified, p_value
from spacy_btl.guarantee.tally import Counts, Kind, Match, losses, tally
from spacy_btl.tags import OUTSIDE

# Of log odds, above the present tau. On MACCROBAT recall rises no more beyond.
BONUSES = tuple(0.25 * i for i in range(16, -1, -1))
CONFIDENCES = tuple(round(0.02 * i, 2) for i in range(45, -1, -1))
# Where tests start, see `bounds.certified`. Strict ones leave too few documents with a mention to
# certify anything, and which leave enough is not known before.
CONFIDENCE_STARTS = (0.9, 0.7, 0.5, 0.3)
DIGITS = 4  # of a tau


@dataclass(frozen=True)
class Sweep:
    """What S settings find of K types in D documents.

    labels (Tuple[str, ...]): The types, which have one setting together.
    values (Tuple[float, ...]): The bonuses, or the least confidences.
    starts (bool [S]): See `bounds.certified`.
    counts (int64 [S, D, K, 3]): See `tally`.
    """

    kind: Kind
    labels: tuple[str, ...]
    values: tuple[float, ...]
    starts: NDArray[np.bool_]
    counts: Counts

    def losses(self, setting: int, column: int) -> NDArray[np.float64]:
        """The losses of a type with a setting, see `tally.losses`."""
        return losses(self.counts[setting, :, column], self.kind)

    def certified(self, column: int, level: float, risk: float) -> NDArray[np.bool_]:
        """Which settings are certified to keep a level of a type, bool [S]."""
        share = risk / self.starts.sum()

        def p_value_of(setting: int) -> float:
            return p_value(self.losses(setting, column), 1 - level, share)

        return certified(p_value_of, self.starts, risk)

    def apart(self) -> list["Sweep"]:
        """A sweep of each type, where they do not compete."""
        return [
            replace(self, labels=(label,), counts=self.counts[:, :, [column]])
            for column, label in enumerate(self.labels)
        ]


def sweep_recall(
    calibrator: Calibrator,
    held_out: HeldOut,
    p: Probabilities,
    types: Sequence[int],
    documents: NDArray[np.integer],
    match: Match,
) -> Sweep:
    """Try bonuses on some types, which keep mentions of any confidence.

    p (float64 [N, C]): What the calibrator's `predict_proba` returned.
    types (Sequence[int]): Their places in those of the tag scheme.
    documents (int [N]): See `tally`.
    """
    present, datastore = calibrator.settings, calibrator.fitted_datastore()
    calibrator.set_params(
        min_confidence=with_confidences(present.min_confidence, datastore, dict.fromkeys(types, 0))
    )
    counts = []
    for bonus in BONUSES:
        tau = with_bonuses(present.tau, datastore, dict.fromkeys(types, bonus))
        runs = calibrator.find_entities(p, held_out.words, tau=tau).runs
        counts.append(tally(held_out, runs, types, documents, match))
    calibrator.settings = present
    labels = tuple(datastore.tag_scheme.types[kind] for kind in types)
    return Sweep("recall", labels, BONUSES, np.arange(len(BONUSES)) == 0, np.stack(counts))


def sweep_precision(
    calibrator: Calibrator,
    held_out: HeldOut,
    p: Probabilities,
    kind: int,
    documents: NDArray[np.integer],
    match: Match,
) -> Sweep:
    """Try least confidences on a type, down to its present one; arguments as `sweep_recall`."""
    present, types = calibrator.settings, calibrator.fitted_datastore().tag_scheme.types
    lowest = float(confidence_limits(present.min_confidence, types)[kind])
    values = (*(value for value in CONFIDENCES if value > lowest), lowest)
    found = calibrator.find_entities(p, held_out.words)
    runs, confidences = found.runs, found.confidences
    counts = [
        tally(held_out, runs.take(confidences >= value), [kind], documents, match)
        for value in values
    ]
    starts = confidence_starts(values)
    return Sweep("precision", (types[kind],), values, starts, np.stack(counts))


def confidence_starts(values: Sequence[float]) -> NDArray[np.bool_]:
    """Which least confidences are starts: the first one is, always. bool [S]."""
    starts = np.isin(values, CONFIDENCE_STARTS)
    starts[0] = True
    return starts


def with_bonuses(tau: Tau, datastore: Datastore, bonuses: Mapping[int, float]) -> Tau:
    """A tau per type that adds bonuses to the log odds of some types.

    bonuses (Mapping[int, float]): By the places of types in those of the tag scheme.
    """
    scheme = datastore.tag_scheme
    names = scheme.types if scheme.overlapping else (OUTSIDE, *scheme.types)
    new = {name: tau.get(name, 0.0) if isinstance(tau, dict) else float(tau) for name in names}
    inside = scheme.type_probabilities(datastore.prior)
    rarity = -np.log(inside)
    if scheme.overlapping:
        rarity += np.log(1 - inside)
    for kind, bonus in bonuses.items():
        label = scheme.types[kind]
        new[label] = round(float(new[label] + bonus / rarity[kind]), DIGITS)
    return new


def with_confidences(
    min_confidence: PerType, datastore: Datastore, values: Mapping[int, float]
) -> PerType:
    """A least confidence per type, with those of some types changed.

    values (Mapping[int, float]): By the places of types in those of the tag scheme.
    """
    types = datastore.tag_scheme.types
    new = dict(zip(types, confidence_limits(min_confidence, types).tolist(), strict=True))
    return new | {types[kind]: float(value) for kind, value in values.items()}
