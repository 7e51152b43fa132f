"""`tau`: how far decisions favour rare types."""

import numpy as np
from numpy.typing import NDArray

from spacy_btl.errors import CalibratorError
from spacy_btl.tags import TagScheme

Tau = float | dict[str, float]


def tau_per_tag(tau: Tau, scheme: TagScheme) -> NDArray[np.float64]:
    """The tau of each tag, float64 [C]: 0 for the types that it does not name."""
    if not isinstance(tau, dict):
        return np.full(len(scheme), float(tau))
    classes = ("O", *scheme.types)
    unknown = sorted(set(tau) - set(classes))
    if unknown:
        raise CalibratorError(
            f"tau names the types {unknown}, which the calibrator does not know. "
            f"It knows {list(classes)}."
        )
    return np.array([tau.get(classes[i], 0.0) for i in scheme.tag_types])
