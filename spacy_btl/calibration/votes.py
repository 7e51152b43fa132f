"""From neighbours to class probabilities."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

Votes = Literal["uniform", "distance"]
Probabilities = NDArray[np.float64]


def vote_weights(distances: NDArray[np.floating], votes: Votes) -> NDArray[np.float64]:
    """The share of each neighbour in the vote.

    distances (float [N, k]): Distances to the neighbours.
    votes (str): "uniform", or "distance": weighted by inverse distance, where neighbours at
        distance 0 share all the votes among them (as in scikit-learn's KNeighborsClassifier).
    RETURNS (float64 [N, k]): Rows that sum to 1.
    """
    distances = distances.astype("float64")  # the inverse of a tiny float32 is infinite
    weights = np.ones(distances.shape)
    if votes == "distance":
        exact = distances == 0
        with np.errstate(divide="ignore"):
            weights = np.where(exact.any(axis=1, keepdims=True), exact, 1 / distances)
    return weights / weights.sum(axis=1, keepdims=True)


def vote_shares(
    distances: NDArray[np.floating], tags: NDArray[np.integer], n_tags: int, votes: Votes
) -> Probabilities:
    """The share of each tag among the votes of the neighbours, weighted by `vote_weights`.

    distances (float [N, k]): Distances to the neighbours.
    tags (int [N, k]): Tags of the neighbours.
    RETURNS (float64 [N, C]): Rows that sum to 1.
    """
    shares = np.zeros((len(tags), n_tags))
    np.add.at(shares, (np.arange(len(tags))[:, None], tags), vote_weights(distances, votes))
    return shares


def smooth(shares: Probabilities, prior: Probabilities, k: int) -> Probabilities:
    """Add one vote to the k of the neighbours, spread like the training frequencies.

    No class then has probability zero, and a class without a neighbour ranks by its frequency.
    """
    return (k * shares + prior) / (k + 1)
