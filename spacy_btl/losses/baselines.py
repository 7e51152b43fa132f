"""Losses for imbalanced classes that Binary Token Labels are compared with."""

from dataclasses import dataclass

import numpy as np
from spacy import registry
from thinc.types import Floats2d, Ints1d
from thinc.util import get_array_module

from spacy_btl.losses.base import PerTag, TokenLoss
from spacy_btl.losses.class_weights import ClassWeights, token_weights
from spacy_btl.losses.cross_entropy import all_token_labels
from spacy_btl.losses.softmax import log_softmax


@registry.losses("spacy_btl.FocalLoss.v1")
def focal_loss(gamma: float = 2.0, class_weights: ClassWeights = "none") -> TokenLoss:
    """Cross-entropy times (1 - p)^gamma, p the probability of the token's tag (Lin et al. 2017,
    arXiv 1708.02002, section 3.2). The mean over the tokens, weighted by class.

    gamma (float): How fast the weight of a token falls with p; 0 is `spacy_btl.AllTokenLabels.v1`.
    class_weights (str): The paper's alpha: "none", or another of `class_weights`.

    >>> from spacy_btl import focal_loss
    >>> loss = {"@losses": "spacy_btl.FocalLoss.v1"}
    >>> nlp.add_pipe("btl_ner", config={"loss": loss}).loss == focal_loss()
    True
    """
    return FocalLoss(gamma, class_weights)


@dataclass(frozen=True)
class FocalLoss:
    """See `focal_loss`."""

    gamma: float
    weights: ClassWeights

    def __call__(
        self, logits: Floats2d, tags: Ints1d, *, tag_types: PerTag, tag_counts: PerTag
    ) -> tuple[float, Floats2d]:
        """Compute the loss and its gradient, as `TokenLoss` describes."""
        xp = get_array_module(logits)
        w = token_weights(tags, tag_counts, self.weights)
        rows = xp.arange(len(tags))
        log_p = log_softmax(logits)
        p = xp.exp(log_p)
        log_p_tag, p_tag = log_p[rows, tags], p[rows, tags]
        miss = xp.maximum(-xp.expm1(log_p_tag), xp.finfo(logits.dtype).tiny)  # 1 - p, not 0
        # d loss / d p, times p: the softmax turns it into (its value) x (one-hot - p).
        slope = w * (self.gamma * miss ** (self.gamma - 1) * p_tag * log_p_tag - miss**self.gamma)
        gradient = -slope[:, None] * p
        gradient[rows, tags] += slope
        return -float((w * miss**self.gamma * log_p_tag).sum()), gradient


@registry.losses("spacy_btl.DiceLoss.v1")
def dice_loss(alpha: float = 0.01, smoothing: float = 1.0) -> TokenLoss:
    """1 - (2 s y + smoothing) / (s + y + smoothing), with s = (1 - p)^alpha p, y = 1 for the
    token's tag and 0 for another (Li et al. 2020, arXiv 1911.02855, section 3.3). Summed over the
    tags, and the mean over the tokens.

    alpha (float): How fast s falls as p nears 1. The default is the authors' for CoNLL 2003. At 1,
        a confident wrong tag costs no more than a confident correct one.
    smoothing (float): Above 0. A smaller value gives more weight to the other tags' probabilities.

    >>> from spacy_btl import dice_loss
    >>> loss = {"@losses": "spacy_btl.DiceLoss.v1"}
    >>> nlp.add_pipe("btl_ner", config={"loss": loss}).loss == dice_loss()
    True
    """
    return DiceLoss(alpha, smoothing)


@dataclass(frozen=True)
class DiceLoss:
    """See `dice_loss`."""

    alpha: float
    smoothing: float

    def __call__(
        self, logits: Floats2d, tags: Ints1d, *, tag_types: PerTag, tag_counts: PerTag
    ) -> tuple[float, Floats2d]:
        """Compute the loss and its gradient, as `TokenLoss` describes."""
        xp = get_array_module(logits)
        n_tokens = len(tags)
        rows, top = xp.arange(n_tokens), logits.argmax(axis=1)
        p = xp.exp(log_softmax(logits))
        miss = 1 - p
        p_top, p[rows, top] = p[rows, top], 0
        miss[rows, top] = p.sum(axis=1)  # 1 - p would lose its digits where p is nearly 1
        p[rows, top] = p_top
        miss = xp.maximum(miss, xp.finfo(logits.dtype).tiny)
        s = miss**self.alpha * p
        slope = self.smoothing / (s + self.smoothing) ** 2  # d loss / d s for y = 0
        losses = s / (s + self.smoothing)
        s_tag = s[rows, tags]
        slope[rows, tags] = -(2 + self.smoothing) / (s_tag + 1 + self.smoothing) ** 2
        losses[rows, tags] = (1 - s_tag) / (s_tag + 1 + self.smoothing)
        slope *= miss ** (self.alpha - 1) * (1 - (1 + self.alpha) * p) / n_tokens  # d loss / d p
        gradient = p * (slope - (p * slope).sum(axis=1, keepdims=True))
        # At the likeliest tag that is a difference of large numbers; the gradient's sum is 0.
        gradient[rows, top] = 0
        gradient[rows, top] = -gradient.sum(axis=1)
        return float(losses.sum()) / n_tokens, gradient


@registry.losses("spacy_btl.LogitAdjustedLoss.v1")
def logit_adjusted_loss(tau: float = 1.0) -> TokenLoss:
    """Cross-entropy of logits + tau * log(training frequency) (Menon et al. 2021, arXiv
    2007.07314). The logits of the network then carry no prior for frequent tags.

    tau (float): The strength of the adjustment: 1 corresponds to equally frequent tags, 0 to none.

    >>> from spacy_btl import logit_adjusted_loss
    >>> loss = {"@losses": "spacy_btl.LogitAdjustedLoss.v1"}
    >>> nlp.add_pipe("btl_ner", config={"loss": loss}).loss == logit_adjusted_loss()
    True
    """
    return LogitAdjustedLoss(tau)


@dataclass(frozen=True)
class LogitAdjustedLoss:
    """See `logit_adjusted_loss`."""

    tau: float

    def __call__(
        self, logits: Floats2d, tags: Ints1d, *, tag_types: PerTag, tag_counts: PerTag
    ) -> tuple[float, Floats2d]:
        """Compute the loss and its gradient, as `TokenLoss` describes."""
        xp = get_array_module(logits)
        counts = np.asarray(tag_counts) + 1.0  # a tag without tokens still has a frequency
        shift = self.tau * np.log(counts / counts.sum())
        adjusted = logits + xp.asarray(shift, dtype=logits.dtype)
        return all_token_labels()(adjusted, tags, tag_types=tag_types, tag_counts=tag_counts)
