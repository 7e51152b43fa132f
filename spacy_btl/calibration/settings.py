"""The settings of a calibrator, which its probabilities and decisions depend on."""

from dataclasses import dataclass, field
from math import isfinite
from numbers import Integral, Real

from spacy_btl.calibration.decisions import PerType, Tau
from spacy_btl.errors import CalibratorError

# Those to choose from, from those that favour the common types to those that favour the rare ones.
TAUS = tuple(round(-0.5 + 0.1 * i, 1) for i in range(21))


@dataclass(frozen=True)
class Settings:
    """The settings of a calibrator; the defaults measured best.

    n_neighbors (int): The number of neighbours, k.
    knn_weight (float): The probabilities are knn_weight * p_kNN + (1 - knn_weight) * softmax.
    tau (float | Dict[str, float]): A token's tag is argmax(log p - tau * log prior), so a greater
        tau favours rare types. One number, or one per type (0 for a type that is not named).
    transition_weight (float): The weight of tag transitions in the decision for a whole note; at 0
        each token is decided by itself.
    min_confidence (float | Dict[str, float]): Entities, or mentions, of less confidence are
        dropped. One number, or one per type (0 for a type that is not named). It is not compared,
        since calibration maps do not depend on it.
    RAISES: CalibratorError, for a value out of range.

    >>> from spacy_btl import Settings
    >>> Settings(knn_weight=1, tau=0, transition_weight=0)  # the paper's
    Settings(n_neighbors=17, knn_weight=1, tau=0, transition_weight=0, min_confidence=0.0)
    """

    n_neighbors: int = 17
    knn_weight: float = 0.25
    tau: Tau = 0.15
    transition_weight: float = 0.15
    min_confidence: PerType = field(default=0.0, compare=False)

    def __post_init__(self) -> None:
        is_count = isinstance(self.n_neighbors, Integral) and not isinstance(self.n_neighbors, bool)
        in_range = (
            is_count
            and self.n_neighbors >= 1
            and is_number(self.knn_weight)
            and 0 <= self.knn_weight <= 1
            and is_number(self.transition_weight)
            and self.transition_weight >= 0
            and all(is_number(value) and 0 <= value <= 1 for value in _values(self.min_confidence))
        )
        if not in_range:
            raise CalibratorError(
                "A calibrator needs n_neighbors >= 1, knn_weight from 0 to 1, and "
                "transition_weight >= 0, finite, and min_confidence from 0 to 1, one number or "
                "one per type; it got "
                f"{self.n_neighbors!r}, {self.knn_weight!r}, {self.transition_weight!r} and "
                f"{self.min_confidence!r}."
            )
        check_tau(self.tau)
        for name in ("tau", "min_confidence"):
            if isinstance(value := getattr(self, name), dict):
                object.__setattr__(self, name, dict(value))  # the caller may change its own

    @property
    def needs_rows(self) -> bool:
        """Whether labelled rows are read: for neighbours, or for transitions."""
        return self.knn_weight > 0 or self.transition_weight > 0


def check_tau(tau: Tau) -> None:
    """RAISES: CalibratorError, for anything but a finite number, or one per type."""
    if not all(map(is_number, _values(tau))):
        raise CalibratorError("A calibrator needs a tau that is a finite number, or one per type.")


def _values(setting: PerType) -> list[float]:
    return list(setting.values()) if isinstance(setting, dict) else [setting]


def is_number(value: object) -> bool:
    """Whether a setting is a finite number."""
    return isinstance(value, Real) and not isinstance(value, bool) and isfinite(value)
