"""Binary Token Labels (BTL): the paper's objective, in closed form.

A batch is read once per entity type. In the copy for type c a token of type c keeps its tag, an `O`
token stays `O`, and a token of another type becomes `O` ("outside") or leaves the loss ("ignore").
The loss is the mean over the copies of each copy's weighted cross-entropy. All copies share one
set of logits, so the mean and its gradient need no copy to be made: one encoder pass, one optimizer
step, O(N C) work. docs/method.md derives the formulas.
"""

import warnings
from dataclasses import dataclass
from typing import Any, Literal

from spacy import registry
from thinc.types import Floats1d, Floats2d, Ints1d, Ints2d
from thinc.util import get_array_module

from spacy_btl.errors import BtlWarning
from spacy_btl.losses.base import PerTag, TokenLoss
from spacy_btl.losses.class_weights import ClassWeights, class_weights
from spacy_btl.losses.softmax import log_softmax

Competition = Literal["all", "pair"]
NonTarget = Literal["outside", "ignore"]
Bools2d = Any  # thinc has no name for a matrix of booleans


@registry.losses("spacy_btl.BinaryTokenLabels.v1")
def binary_token_labels(
    competition: Competition = "all",
    non_target: NonTarget = "ignore",
    class_weights: ClassWeights = "sqrt_odds",
) -> TokenLoss:
    """The mean loss of the binary copies of a batch (arXiv 2409.03238, section 3).

    There is one copy for each type that is present in the batch. The defaults measured best;
    `configs/paper.cfg` has the paper's.

    competition (str): "all": a copy's softmax runs over all tags (the paper). "pair": over the
        copy's own tags and `O`, so that copies do not contradict each other.
    non_target (str): What a token of another type is in a copy: "ignore" (no loss) or "outside"
        (`O`, the paper). It is not read where mentions may overlap (`spans_key` of `btl_ner`):
        the copy for a type then asks of every token whether it is of that type. Elsewhere "pair"
        needs "outside": a pipe of several types warns of "pair" with "ignore".
    class_weights (str): Any of `class_weights`: "sqrt_odds", or "complement" (1 - N_c / N, the
        paper).

    >>> from spacy_btl import binary_token_labels
    >>> nlp.add_pipe("btl_ner").loss == binary_token_labels()  # the default
    True
    """
    return BinaryTokenLabels(competition, non_target, class_weights)


@dataclass(frozen=True)
class BinaryTokenLabels:
    """See `binary_token_labels`."""

    competition: Competition
    non_target: NonTarget
    weights: ClassWeights

    def __call__(
        self, logits: Floats2d, tags: Ints1d, *, tag_types: PerTag, tag_counts: PerTag
    ) -> tuple[float, Floats2d]:
        """Compute the loss and its gradient, as `TokenLoss` describes."""
        xp = get_array_module(logits)
        w = xp.asarray(class_weights(tag_counts, self.weights))
        types = xp.asarray(tag_types)[tags]
        n_types = int(tag_types[-1])
        copied = xp.unique(types[types > 0])
        if not len(copied):  # no entity in the batch: one copy, all `O`
            shares = xp.full((len(tags), 1), 1 / len(tags), dtype="float32")
            return all_compete(logits, tags, shares, shares < 0)
        own = types[:, None] == copied
        shares = self._shares(w, tags, types, own)
        if self.competition == "all":
            return all_compete(logits, tags, shares, own)
        width = (logits.shape[1] - 1) // n_types
        columns = 1 + (copied[:, None] - 1) * width + xp.arange(width)
        return pairs_compete(logits, tags, shares, own, columns)

    def _shares(self, w: Floats1d, tags: Ints1d, types: Ints1d, own: Bools2d) -> Floats2d:
        """float32 [N, K]: the share of each token in each of the K copies: its class weight there,
        divided by the copy's weight sum and by K."""
        xp = get_array_module(w)
        weights = xp.where(own, xp.expand_dims(w[tags], 1), w[0])
        if self.non_target == "ignore":
            weights = weights * (own | (types == 0)[:, None])
        return weights / (weights.sum(axis=0) * own.shape[1])


def warn_of_types_not_told_apart(loss: TokenLoss, name: str) -> None:
    """Warn of "pair" with "ignore": no copy then has a token of one type and the tag of another.

    name (str): The pipe's.
    """
    if not isinstance(loss, BinaryTokenLabels):
        return
    if (loss.competition, loss.non_target) == ("pair", "ignore"):
        warnings.warn(
            f'The loss of the pipe \'{name}\' has competition = "pair" and non_target = "ignore", '
            "with which nothing tells the types apart: a token is tagged as any of them. Set "
            'non_target to "outside", or competition to "all".',
            BtlWarning,
            stacklevel=3,
        )


def all_compete(
    logits: Floats2d, tags: Ints1d, shares: Floats2d, own: Bools2d
) -> tuple[float, Floats2d]:
    """Softmax over all C tags: a token's copies collapse into one soft target, its tag and `O`."""
    xp = get_array_module(logits)
    as_tag, as_outside = (shares * own).sum(axis=1), (shares * ~own).sum(axis=1)
    rows = xp.arange(len(tags))
    log_p = log_softmax(logits)
    gradient = (as_tag + as_outside)[:, None] * xp.exp(log_p)
    gradient[rows, tags] -= as_tag
    gradient[:, 0] -= as_outside
    return -float((as_tag * log_p[rows, tags] + as_outside * log_p[:, 0]).sum()), gradient


def pairs_compete(
    logits: Floats2d, tags: Ints1d, shares: Floats2d, own: Bools2d, columns: Ints2d
) -> tuple[float, Floats2d]:
    """Softmax over `O` and a copy's own tags, `columns` (int [K, W]), for all K copies at once.

    No array is larger than the logits, and none has an axis of the few tags of a copy, which would
    be slow to sum over.
    """
    xp = get_array_module(logits)
    as_tag = (shares * own).sum(axis=1)
    rows = xp.arange(len(tags))
    margins = logits - logits[:, :1]  # a softmax does not change, and `O` has 0
    top = xp.zeros_like(shares)
    for column in columns.T:
        top = xp.maximum(top, margins[:, column])
    totals = xp.exp(-top) + sum(xp.exp(margins[:, column] - top) for column in columns.T)
    log_sums = top + xp.log(totals)
    loss = float((shares * log_sums).sum() - (as_tag * margins[rows, tags]).sum())
    gradient = xp.zeros_like(logits)
    for column in columns.T:
        gradient[:, column] = shares * xp.exp(margins[:, column] - log_sums)
    gradient[rows, tags] -= as_tag  # 0 for a token of `O`
    gradient[:, 0] = -gradient[:, 1:].sum(axis=1)  # a softmax's gradient sums to 0
    return loss, gradient
