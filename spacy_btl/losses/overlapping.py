"""Binary Token Labels of mentions that overlap, in closed form: a decision per token and type.

The copy for type c asks of every token whether it is of type c, whatever else it is. There is a
copy for each type in every batch, and each token is in all of them. docs/method.md has the
formulas.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from thinc.types import Floats2d, Ints2d
from thinc.util import get_array_module

from spacy_btl.errors import PipelineError
from spacy_btl.losses.base import TokenLoss
from spacy_btl.losses.binary_token_labels import BinaryTokenLabels
from spacy_btl.losses.class_weights import ClassWeights, class_weights


def overlapping_loss(loss: TokenLoss, name: str) -> "OverlappingTokenLabels":
    """The form of a loss for mentions that overlap.

    name (str): The pipe's, for an error.
    RAISES: PipelineError, for any but Binary Token Labels with `competition = "pair"`. In all
        others the types compete for a token.
    """
    if isinstance(loss, BinaryTokenLabels) and loss.competition == "pair":
        return OverlappingTokenLabels(loss.weights)
    found = type(loss).__name__
    if isinstance(loss, BinaryTokenLabels):
        found += f' with competition = "{loss.competition}"'
    raise PipelineError(
        f"The pipe '{name}' has a spans_key, for mentions that overlap, and the loss {found}, in "
        "which the types compete for a token. Set its loss to spacy_btl.BinaryTokenLabels.v1 with "
        'competition = "pair", or spans_key to null.'
    )


@dataclass(frozen=True)
class OverlappingTokenLabels:
    """The mean over the types of weighted cross-entropy, each divided by its sum of weights.

    weights (str): Any of `class_weights`, of the two classes of a type: tokens of it, and others.
    """

    weights: ClassWeights

    def __call__(
        self, logits: Floats2d, tags: Ints2d, *, type_counts: NDArray[np.integer], n_tokens: int
    ) -> tuple[float, Floats2d]:
        """Compute loss and gradient in O(N C). No array is larger than the logits.

        logits (float32 [N, C]): Raw logits of the N annotated tokens: those of `O`, and of the W
            tags of each of K types.
        tags (int [N, K]): Their gold tags within each type: 0 outside it, or 1 to W.
        type_counts (int [K]): Tokens of each type in the training corpus.
        n_tokens (int): All annotated tokens of the training corpus.
        RETURNS (Tuple[float, float32 [N, C]]): The loss and its gradient.
        """
        xp = get_array_module(logits)
        n_types = tags.shape[1]
        width = (logits.shape[1] - 1) // n_types
        binary = np.stack([n_tokens - type_counts, type_counts], axis=1)
        w = xp.asarray(class_weights(binary, self.weights))
        shares = xp.where(tags > 0, w[:, 1], w[:, 0])
        shares /= shares.sum(axis=0) * n_types
        margins = logits - logits[:, :1]  # a softmax does not change, and `O` has 0
        columns = [slice(1 + tag, None, width) for tag in range(width)]  # one for each type
        top = xp.zeros_like(shares)
        for column in columns:
            top = xp.maximum(top, margins[:, column])
        log_sums = xp.exp(-top)
        for column in columns:
            log_sums += xp.exp(margins[:, column] - top)
        log_sums = top + xp.log(log_sums)
        loss = float((shares * log_sums).sum())
        gradient = xp.zeros_like(logits)
        for tag, column in enumerate(columns, start=1):
            of_tag = shares * (tags == tag)
            loss -= float((of_tag * margins[:, column]).sum())
            gradient[:, column] = shares * xp.exp(margins[:, column] - log_sums) - of_tag
        gradient[:, 0] = -gradient[:, 1:].sum(axis=1)  # a softmax's gradient sums to 0
        return loss, gradient
