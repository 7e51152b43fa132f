"""Self-adjusting dice loss: a soft F1 of every token and tag."""

from spacy import registry
from thinc.types import Floats2d, Ints1d
from thinc.util import get_array_module

from spacy_btl.objectives.loss import TokenLoss
from spacy_btl.objectives.softmax import log_softmax


@registry.losses("spacy_btl.DiceLoss.v1")
def dice_loss(alpha: float = 0.01, smoothing: float = 1.0) -> TokenLoss:
    """1 - (2 s y + smoothing) / (s + y + smoothing), with s = (1 - p)^alpha p, y = 1 for the
    token's tag and 0 for another (Li et al. 2020, arXiv 1911.02855, section 3.3). Summed over the
    tags, and the mean over the tokens.

    alpha (float): How fast s falls as p nears 1. The defaults are the authors' for CoNLL 2003; at 1
        surely wrong costs no more than surely right.
    smoothing (float): Above 0. The smaller, the more the other tags' probabilities weigh.
    """
    return DiceLoss(alpha, smoothing)


class DiceLoss:
    """See `dice_loss`."""

    def __init__(self, alpha: float, smoothing: float):
        self.alpha = alpha
        self.smoothing = smoothing

    def __call__(
        self, logits: Floats2d, tags: Ints1d, *, tag_types: Ints1d, tag_counts: Ints1d
    ) -> tuple[float, Floats2d]:
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
