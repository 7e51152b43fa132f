"""The least confidence of entities, as a command is told: for all types, and for single ones."""

from collections.abc import Sequence
from typing import NamedTuple

from spacy.language import Language

from spacy_btl.calibration.settings import is_number
from spacy_btl.errors import CalibratorError, listed
from spacy_btl.pipeline.knn_calibrator import find_calibrator


class Thresholds(NamedTuple):
    """The least confidence that an entity, or a mention, needs.

    by_type (Tuple[Tuple[str, float], ...]): Of single types.
    others (float): Of all others.
    """

    by_type: tuple[tuple[str, float], ...] = ()
    others: float = 0.0


def read_thresholds(given: Sequence[str]) -> Thresholds | None:
    """Read "0.5", for all types, and "Type=0.6". None if nothing is given.

    RAISES: CalibratorError, for anything else, and for what is there twice.
    """
    if not given:
        return None
    found: dict[str, float] = {}
    for one in given:
        label, _, number = one.rpartition("=")
        try:
            value = float(number)
        except ValueError:
            value = float("nan")
        if not (is_number(value) and 0 <= value <= 1):
            raise CalibratorError(
                f"{one!r} is no confidence: give 0.5 for all types, or Type=0.6 for one."
            )
        if label in found:
            raise CalibratorError(f"The confidence of {label or 'all types'} is there twice.")
        found[label] = value
    others = found.pop("", 0.0)
    return Thresholds(tuple(found.items()), others)


def set_thresholds(nlp: Language, thresholds: Thresholds) -> None:
    """Let the calibrator of a loaded pipeline drop entities of less confidence, whatever its config
    says.

    RAISES: CalibratorError, without a calibrator, or for a type that it does not know.
    """
    pipe = find_calibrator(nlp)
    if pipe is None:
        raise CalibratorError(
            "A least confidence needs a fitted knn_calibrator, which computes confidence: add one "
            "with `python -m spacy btl calibrate` first."
        )
    types = pipe.calibrator.fitted_datastore().tag_scheme.types
    if unknown := sorted(dict(thresholds.by_type).keys() - set(types)):
        raise CalibratorError(
            f"The pipeline has no type {listed(unknown)}. It has {listed(types, 100)}."
        )
    limits = dict.fromkeys(types, thresholds.others) | dict(thresholds.by_type)
    pipe.calibrator.set_params(min_confidence=limits)
