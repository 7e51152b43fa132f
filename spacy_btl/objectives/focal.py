"""Focal loss: tokens that are already right weigh little."""

from spacy import registry
from thinc.types import Floats2d, Ints1d
from thinc.util import get_array_module

from spacy_btl.objectives.loss import TokenLoss
from spacy_btl.objectives.softmax import log_softmax
from spacy_btl.objectives.weights import ClassWeights, token_weights


@registry.losses("spacy_btl.FocalLoss.v1")
def focal_loss(gamma: float = 2.0, class_weights: ClassWeights = "none") -> TokenLoss:
    """Cross-entropy times (1 - p)^gamma, p the probability of the token's tag (Lin et al. 2017,
    arXiv 1708.02002, section 3.2). The mean over the tokens, weighted by class.

    gamma (float): How fast the weight of a token falls with p; 0 is `spacy_btl.AllTokenLabels.v1`.
    class_weights (str): The paper's alpha: "none", or another of `class_weights`.
    """
    return FocalLoss(gamma, class_weights)


class FocalLoss:
    """See `focal_loss`."""

    def __init__(self, gamma: float, weights: ClassWeights):
        self.gamma = gamma
        self.weights = weights

    def __call__(
        self, logits: Floats2d, tags: Ints1d, *, tag_types: Ints1d, tag_counts: Ints1d
    ) -> tuple[float, Floats2d]:
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
