"""Which windows share a forward pass."""

from collections.abc import Sequence

import numpy as np


def passes_of_like_length(
    lengths: Sequence[int], max_wordpieces: int, pass_cost: float
) -> list[list[int]]:
    """Rows by length, the longest first; in a pass as many as fit, and no much shorter ones. A text
    without a wordpiece, as there is where no special token is added, is in none.

    pass_cost (float): What a pass costs by itself, in wordpieces of padding.
    """
    sizes = np.array(lengths, dtype="int64")
    order = np.argsort(-sizes, kind="stable")
    order = order[sizes[order] > 0]
    passes = []
    while len(order):
        longest = int(sizes[order[0]])
        saved = (longest - sizes[order]) * np.arange(len(order), 0, -1)
        shorter = np.flatnonzero(saved >= pass_cost)
        end = min([max(1, max_wordpieces // longest), *shorter[:1], len(order)])
        passes.append(order[:end].tolist())
        order = order[end:]
    return passes
