"""Which settings keep what is asked, on arrays."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spacy_btl.arrays import Probabilities
from spacy_btl.calibration.calibrator import Calibrator
from spacy_btl.calibration.decisions import confidence_limits, tau_per_type
from spacy_btl.calibration.held_out import HeldOut
from spacy_btl.errors import GuaranteeError, counted, listed
from spacy_btl.guarantee.asked import Asked
from spacy_btl.guarantee.bounds import documents_needed, highest_level
from spacy_btl.guarantee.knobs import (
    Sweep,
    sweep_precision,
    sweep_recall,
    with_bonuses,
    with_confidences,
)
from spacy_btl.guarantee.promises import WHOLES
from spacy_btl.guarantee.tally import GOLD, Counts, Kind, pooled, tally


@dataclass(frozen=True)
class Notes:
    """Calibration notes.

    p (float64 [N, C]): The calibrator's probabilities of their tokens.
    documents (int64 [D]): What each document counts as, see `tally.tally`.
    file (str): The name of their file.
    """

    held_out: HeldOut
    p: Probabilities
    documents: NDArray[np.int64]
    file: str


@dataclass(frozen=True)
class Chosen:
    """A setting that keeps a level, and what it costs.

    documents (int): The calibration documents that it rests on.
    seen (float): The mean over these: 1 - mean loss.
    tau, min_confidence (float): Of the type.
    before, after (Tuple[float, float]): Recall and precision of the type over all mentions of the
        calibration documents, with the settings before and after.
    """

    label: str
    kind: Kind
    level: float
    documents: int
    seen: float
    tau: float
    min_confidence: float
    before: tuple[float, float]
    after: tuple[float, float]


def choose_settings(calibrator: Calibrator, notes: Notes, asked: Asked) -> list[Chosen]:
    """Set a fitted calibrator to the cheapest settings that are certified to keep what is asked.

    RAISES: GuaranteeError, for what the pipeline cannot be asked, a type without an annotated
        mention, or a level that cannot be certified; the calibrator is then as it was.
    """
    datastore, present = calibrator.fitted_datastore(), calibrator.settings
    scheme = datastore.tag_scheme
    asked.check_types(scheme.types, overlapping=scheme.overlapping)
    kinds = [scheme.types.index(label) for label in asked.levels]
    before = _count(calibrator, notes, kinds, asked)
    if missing := [name for i, name in enumerate(asked.levels) if not before[:, i, GOLD].any()]:
        raise GuaranteeError(
            f"{notes.file} has no annotated mention of {listed(missing)}, so nothing can be said "
            "of it. Give notes that have some."
        )
    sweeps = _sweeps(calibrator, notes, asked)
    settings = [cheapest(sweep, asked) for sweep in sweeps]
    problems = [
        problem
        for sweep, setting in zip(sweeps, settings, strict=True)
        if setting is None
        for problem in _explain(sweep, asked, notes)
    ]
    if problems:
        raise GuaranteeError(" ".join([*problems, "Nothing is saved."]))
    values: dict[Kind, dict[int, float]] = {"recall": {}, "precision": {}}
    seen = {}
    for sweep, setting in zip(sweeps, settings, strict=True):
        assert setting is not None
        for column, label in enumerate(sweep.labels):
            values[sweep.kind][scheme.types.index(label)] = sweep.values[setting]
            seen[label] = sweep.losses(setting, column)
    confidences = dict.fromkeys(values["recall"], 0.0) | values["precision"]
    changed = {"min_confidence": with_confidences(present.min_confidence, datastore, confidences)}
    if asked.recall:
        changed["tau"] = with_bonuses(present.tau, datastore, values["recall"])
    calibrator.set_params(**changed)
    after = _count(calibrator, notes, kinds, asked)
    taus = tau_per_type(calibrator.settings.tau, scheme)
    limits = confidence_limits(calibrator.settings.min_confidence, scheme.types)
    return [
        Chosen(
            label=label,
            kind="recall" if label in asked.recall else "precision",
            level=level,
            documents=len(seen[label]),
            seen=float(1 - seen[label].mean()),
            tau=float(taus[kind]),
            min_confidence=float(limits[kind]),
            before=pooled(before[:, column]),
            after=pooled(after[:, column]),
        )
        for column, (kind, (label, level)) in enumerate(
            zip(kinds, asked.levels.items(), strict=True)
        )
    ]


def cheapest(sweep: Sweep, asked: Asked) -> int | None:
    """The last of the settings that are certified for all types of a sweep; None without any."""
    passed = np.all(
        [
            sweep.certified(column, asked.levels[label], asked.risk)
            for column, label in enumerate(sweep.labels)
        ],
        axis=0,
    )
    return int(np.flatnonzero(passed)[-1]) if passed.any() else None


def _count(calibrator: Calibrator, notes: Notes, kinds: Sequence[int], asked: Asked) -> Counts:
    """What the present settings find of some types, int64 [D, K, 3]."""
    runs = calibrator.find_entities(notes.p, notes.held_out.words).runs
    return tally(notes.held_out, runs, kinds, notes.documents, asked.match)


def _sweeps(calibrator: Calibrator, notes: Notes, asked: Asked) -> list[Sweep]:
    """A sweep for all types that have one setting together: those that compete."""
    scheme = calibrator.fitted_datastore().tag_scheme
    read = (calibrator, notes.held_out, notes.p)
    how = (notes.documents, asked.match)
    sweeps = []
    if asked.recall:
        kinds = [scheme.types.index(label) for label in asked.recall]
        joint = sweep_recall(*read, kinds, *how)
        sweeps += joint.apart() if scheme.overlapping else [joint]
    for label in asked.precision:
        sweeps.append(sweep_precision(*read, scheme.types.index(label), *how))
    return sweeps


def _explain(sweep: Sweep, asked: Asked, notes: Notes) -> Iterator[str]:
    """What can be promised instead, of each type of a sweep without a certified setting."""
    share = asked.risk / sweep.starts.sum()
    n_documents = sweep.counts.shape[1]
    alone = 0
    for column, label in enumerate(sweep.labels):
        level = asked.levels[label]
        if sweep.certified(column, level, asked.risk).any():
            alone += 1
            continue
        starts = np.flatnonzero(sweep.starts).tolist()
        each = [sweep.losses(setting, column) for setting in starts]
        each = [losses for losses in each if len(losses)]
        best = max((highest_level(losses, share) for losses in each), default=0.0)
        today = f"{best:.0%} can be promised today" if best else "No level can be promised today"
        needed = [
            round(n_documents * n / len(losses))
            for losses in each
            if (n := documents_needed(losses, 1 - level, share))
        ]
        more = max(min(needed, default=0) - n_documents, 1)
        yield (
            f"{sweep.kind} of {label}: {level:.1%} cannot be promised by "
            f"{counted(max(map(len, each), default=0), 'document')} with {WHOLES[sweep.kind]} "
            f"mentions, of {n_documents:,} in {notes.file}. {today}. "
            + (
                f"About {counted(more, 'more note')} like these would do."
                if needed
                else "More notes like these would not help: the pipeline is not that good."
            )
        )
    if alone == len(sweep.labels):
        yield f"No one setting keeps all of {listed(sweep.labels)}: ask for less of one of them."
