"""Binary Token Labels of mentions that overlap, in closed form: three decisions per token and type.

The copy for type c asks of every token whether it is of type c, whatever else it is. Two more ask
whether a mention of type c begins, and whether one ends with it. There are copies for each type in
every batch, and each token is in all of them. docs/method.md has the formulas.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

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
    """The mean over the decisions of weighted cross-entropy, each divided by its sum of weights.

    weights (str): Any of `class_weights`, of the two classes of a decision: tokens of it, and
        others.
    """

    weights: ClassWeights

    def __call__(
        self,
        logits: Floats2d,
        targets: Ints2d | Floats2d,
        *,
        counts: NDArray[np.integer],
        n_tokens: int,
    ) -> tuple[float, Floats2d]:
        """Compute loss and gradient in O(N C). No array is larger than the logits.

        logits (float32 [N, C]): Raw logits of the N annotated tokens: those of `O`, of the W tags
            of each of K types, and of their 2 K borders.
        targets (int [N, 3 K]): Gold tags within each type, 0 outside it, or 1 to W; and borders, 0
            or 1. Or soft ones, float32 [N, C - 1]: the probability of each tag and border. A token
            then counts as each of them, and as `O`, by its probability.
        counts (int [3 K]): For each decision, the training tokens that it holds for.
        n_tokens (int): All annotated tokens of the training corpus.
        RETURNS (Tuple[float, float32 [N, C]]): The loss and its gradient.
        """
        xp = get_array_module(logits)
        n_types = len(counts) // 3
        n_tags = logits.shape[1] - 2 * n_types
        w = xp.asarray(class_weights(np.stack([n_tokens - counts, counts], axis=1), self.weights))
        loss = 0.0
        gradient = xp.zeros_like(logits)
        is_soft = bool(xp.issubdtype(targets.dtype, xp.floating))
        margins = logits[:, 1:] - logits[:, :1]  # a softmax does not change, and `O` has 0
        for columns, decisions in (
            (slice(n_tags - 1), slice(n_types)),
            (slice(n_tags - 1, None), slice(n_types, None)),
        ):
            own = targets[:, columns if is_soft else decisions]
            width = margins[:, columns].shape[1] // len(w[decisions])
            of_tags: list[Any] = [
                own[:, tag::width] if is_soft else own == tag + 1 for tag in range(width)
            ]
            loss += _cross_entropy(
                margins[:, columns], of_tags, w[decisions], len(w), gradient[:, 1:][:, columns]
            )
        gradient[:, 0] = -gradient[:, 1:].sum(axis=1)  # a softmax's gradient sums to 0
        return loss, gradient


def _cross_entropy(
    margins: Floats2d,
    of_tags: Sequence[Any],
    w: Floats2d,
    n_decisions: int,
    gradient: Floats2d,
) -> float:
    """The sum, over tokens and D decisions, of weighted cross-entropy. The weights of a decision
    sum to 1 / n_decisions.

    margins (float32 [N, D W]): The logits of the W tags of each decision, less that of `O`.
    of_tags (List[float or bool [N, D]]): W of them: the probability of the tag.
    w (float32 [D, 2]): The weights of the tokens that a decision does not hold for, and of others.
    gradient (float32 [N, D W]): Where its gradient is written.
    """
    xp = get_array_module(margins)
    width = len(of_tags)
    held = sum(of_tags[1:], of_tags[0] * xp.float32(1))
    shares = w[:, 1] * held + w[:, 0] * (1 - held)
    total = shares.sum(axis=0) * n_decisions
    shares /= total
    top = xp.zeros_like(shares)
    for tag in range(width):
        top = xp.maximum(top, margins[:, tag::width])
    log_sums = xp.exp(-top)
    for tag in range(width):
        log_sums += xp.exp(margins[:, tag::width] - top)
    log_sums = top + xp.log(log_sums)
    loss = float((shares * log_sums).sum())
    for tag, p in enumerate(of_tags):
        of_tag = w[:, 1] * p / total
        loss -= float((of_tag * margins[:, tag::width]).sum())
        gradient[:, tag::width] = shares * xp.exp(margins[:, tag::width] - log_sums) - of_tag
    return loss
