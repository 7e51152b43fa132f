"""Log-softmax over the last axis of a numpy or cupy array."""

from thinc.types import Floats2d
from thinc.util import get_array_module


def log_softmax(logits: Floats2d) -> Floats2d:
    """Log-probabilities of logits [N, C], float [N, C]."""
    xp = get_array_module(logits)
    shifted = logits - xp.max(logits, axis=-1, keepdims=True)
    return shifted - xp.log(xp.exp(shifted).sum(axis=-1, keepdims=True))
