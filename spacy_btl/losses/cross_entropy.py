"""Standard fine-tuning by cross-entropy (all token labels, ATL): the baseline of the paper."""

from dataclasses import dataclass

from spacy import registry
from thinc.types import Floats2d, Ints1d
from thinc.util import get_array_module

from spacy_btl.losses.base import PerTag, TokenLoss
from spacy_btl.losses.class_weights import ClassWeights, token_weights
from spacy_btl.losses.softmax import log_softmax


@registry.losses("spacy_btl.AllTokenLabels.v1")
def all_token_labels(class_weights: ClassWeights = "none") -> TokenLoss:
    """Weighted cross-entropy over all tokens and tags, divided by the sum of the weights.

    class_weights (str): "none" (standard fine-tuning), or another of `class_weights`.

    >>> from spacy_btl import all_token_labels
    >>> loss = {"@losses": "spacy_btl.AllTokenLabels.v1"}
    >>> nlp.add_pipe("btl_ner", config={"loss": loss}).loss == all_token_labels()
    True
    """
    return AllTokenLabels(class_weights)


@dataclass(frozen=True)
class AllTokenLabels:
    """See `all_token_labels`."""

    weights: ClassWeights

    def __call__(
        self, logits: Floats2d, tags: Ints1d, *, tag_types: PerTag, tag_counts: PerTag
    ) -> tuple[float, Floats2d]:
        """Compute the loss and its gradient, as `TokenLoss` describes."""
        xp = get_array_module(logits)
        w = token_weights(tags, tag_counts, self.weights)
        rows = xp.arange(len(tags))
        log_p = log_softmax(logits)
        gradient = xp.expand_dims(w, 1) * xp.exp(log_p)
        gradient[rows, tags] -= w
        return float(-(w * log_p[rows, tags]).sum()), gradient
