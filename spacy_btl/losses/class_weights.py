"""Class weights from the tag frequencies of the training corpus."""

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from thinc.types import Floats1d, Ints1d
from thinc.util import get_array_module

from spacy_btl.errors import PipelineError

ClassWeights = Literal[
    "complement", "balanced", "sqrt_odds", "fourth_root_odds", "effective_number", "none"
]

# Beyond some 1 / (1 - BETA) = 1,000 tokens, more of them make a tag hardly lighter; well below, its
# weight falls with their number as in "balanced". A smaller BETA would treat rare types alike too.
BETA = 0.999


def class_weights(tag_counts: NDArray[np.integer], how: ClassWeights) -> NDArray[np.float32]:
    """One weight per tag.

    - complement: w_c = 1 - N_c / N, the paper's (section 3 of arXiv 2409.03238).
    - balanced: w_c = N / (C N_c), scikit-learn's; a tag that never occurs counts as occurring once.
    - sqrt_odds: w_c = sqrt((N - N_c) / N_c) for an entity's tag, 1 for `O`: between the two above.
    - fourth_root_odds: the square root of that, for mentions that overlap (`spans_key`).
    - effective_number: w_c in proportion to (1 - beta) / (1 - beta^N_c), with the mean 1: the
      class-balanced loss of Cui et al. 2019 (arXiv 1901.05555, section 4), beta = 0.999.
    - none: 1.

    tag_counts (int [..., C]): Tokens of each tag in the training corpus; one row, or several.
    RETURNS (float32 [..., C]): The weights, all positive.
    RAISES: PipelineError, for another name.

    >>> from spacy_btl import class_weights
    >>> class_weights(np.array([4, 3, 1]), "complement").tolist()
    [0.5, 0.625, 0.875]
    """
    if how not in get_args(ClassWeights):
        raise PipelineError(f"Unknown class weights {how!r}: use one of {get_args(ClassWeights)}.")
    counts = np.asarray(tag_counts, dtype="float64")
    total = counts.sum(axis=-1, keepdims=True)
    # A corpus in which one tag holds every token says nothing about the others.
    one_tag = counts.max(axis=-1, keepdims=True) == total
    weights = np.where(one_tag, 1.0, _weights(counts, total, how))
    return weights.astype("float32")


def _weights(
    counts: NDArray[np.float64], total: NDArray[np.float64], how: ClassWeights
) -> NDArray[np.float64]:
    if how == "none":
        return np.ones_like(counts)
    if how == "complement":
        return 1 - counts / np.maximum(total, 1)
    counts = np.maximum(counts, 1)
    if how == "balanced":
        return total / (counts.shape[-1] * counts)
    if how == "effective_number":
        weights = 1 / -np.expm1(counts * np.log(BETA))
        return weights / weights.mean(axis=-1, keepdims=True)
    odds = np.maximum(total - counts, 0) / counts
    odds[..., 0] = 1  # `O`
    roots = np.sqrt(odds)
    return roots if how == "sqrt_odds" else np.sqrt(roots)


def token_weights(tags: Ints1d, tag_counts: NDArray[np.integer], how: ClassWeights) -> Floats1d:
    """The weights of N tokens by their tags, float32 [N]; their sum is 1."""
    weights = get_array_module(tags).asarray(class_weights(tag_counts, how))[tags]
    return weights / weights.sum()
