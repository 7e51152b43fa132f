"""Logit-adjusted loss: cross-entropy that lays the frequencies of the tags aside."""

import numpy as np
from spacy import registry
from thinc.types import Floats2d, Ints1d
from thinc.util import get_array_module

from spacy_btl.objectives.all_tokens import all_token_labels
from spacy_btl.objectives.loss import TokenLoss


@registry.losses("spacy_btl.LogitAdjustedLoss.v1")
def logit_adjusted_loss(tau: float = 1.0) -> TokenLoss:
    """Cross-entropy of logits + tau * log(training frequency) (Menon et al. 2021, arXiv
    2007.07314). What the network itself emits then favours no tag for being frequent.

    tau (float): How far: 1 as if all tags were equally frequent, 0 not at all.
    """
    return LogitAdjustedLoss(tau)


class LogitAdjustedLoss:
    """See `logit_adjusted_loss`."""

    def __init__(self, tau: float):
        self.tau = tau
        self.cross_entropy = all_token_labels()

    def __call__(
        self, logits: Floats2d, tags: Ints1d, *, tag_types: Ints1d, tag_counts: Ints1d
    ) -> tuple[float, Floats2d]:
        xp = get_array_module(logits)
        counts = np.asarray(tag_counts) + 1.0  # a tag without tokens still has a frequency
        shift = self.tau * np.log(counts / counts.sum())
        adjusted = logits + xp.asarray(shift, dtype=logits.dtype)
        return self.cross_entropy(adjusted, tags, tag_types=tag_types, tag_counts=tag_counts)
