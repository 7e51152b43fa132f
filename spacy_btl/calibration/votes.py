"""From neighbours to class probabilities."""

import numpy as np
from numpy.typing import NDArray

Probabilities = NDArray[np.float64]


def neighbor_shares(tags: NDArray[np.integer], n_tags: int) -> Probabilities:
    """The share of each tag among the neighbours of a token.

    tags (int [N, k]): Tags of the neighbours.
    RETURNS (float64 [N, C]): Rows that sum to 1.
    """
    shares = np.zeros((len(tags), n_tags))
    np.add.at(shares, (np.arange(len(tags))[:, None], tags), 1 / tags.shape[1])
    return shares


def smooth(shares: Probabilities, prior: Probabilities, k: int) -> Probabilities:
    """Add one vote to the k of the neighbours, spread like the training frequencies.

    No class then has probability zero, and a class without a neighbour ranks by its frequency.
    """
    return (k * shares + prior) / (k + 1)
