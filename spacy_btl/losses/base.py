"""The signature that every token loss shares."""

from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from thinc.types import Floats2d, Ints1d

# One number per tag. The logits and tags of tokens are arrays of the device, these of numpy.
PerTag = NDArray[np.integer]


@runtime_checkable
class TokenLoss(Protocol):
    """A loss over the tokens of one `nlp.update` call, with its gradient at the logits.

    >>> from spacy_btl import TokenLoss, focal_loss
    >>> isinstance(focal_loss(), TokenLoss)
    True
    """

    def __call__(
        self, logits: Floats2d, tags: Ints1d, *, tag_types: PerTag, tag_counts: PerTag
    ) -> tuple[float, Floats2d]:
        """Compute loss and gradient.

        logits (float32 [N, C]): Raw logits of the N annotated tokens.
        tags (int [N]): Their gold tags; 0 is `O`.
        tag_types (int [C]): The entity type of each tag, counted from 1; 0 for `O`.
        tag_counts (int [C]): Tokens of each tag in the training corpus.
        RETURNS (Tuple[float, float32 [N, C]]): The loss and its gradient.
        """
        ...
