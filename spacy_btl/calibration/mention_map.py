"""Which candidate mentions are correct: a logistic regression over what describes them.

P candidates, F features (`candidates.FEATURES`). It is the re-ranking of a structured prediction's
best candidates by a discriminative model (Collins and Koo 2005), with probabilities for scores.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spacy_btl.arrays import OPS, Probabilities
from spacy_btl.calibration.candidates import (
    FEATURES,
    Words,
    border_log_odds,
    choose,
    describe,
    find_candidates,
    type_log_odds,
)
from spacy_btl.mentions import OverlappingScheme
from spacy_btl.tags import Runs

Floats = NDArray[np.floating]

MAX_LOG_ODDS = 30.0  # so that a probability stays below 1


def terms(features: Floats) -> Floats:
    """The features, their squares and their products, float64 [P, M]; M = F + F (F + 1) / 2."""
    rows, columns = np.triu_indices(features.shape[1])
    return np.hstack([features, features[:, rows] * features[:, columns]])


N_TERMS = terms(np.zeros((0, len(FEATURES)))).shape[1]


@dataclass(frozen=True)
class MentionMap:
    """From the features of a candidate to the probability that it is a correct mention.

    weights (Tuple[float, ...]): Of the terms, see `terms`.
    bias (float): The log odds of features that are all zero.
    cutoff (float): A candidate is a mention if its log odds and the shift of its type by tau are
        more in sum.
    n_entities (int): How many mentions it was fitted to. The result stays between 1 / (n + 2) and
        1 - 1 / (n + 2), as that of a `ConfidenceMap`.
    """

    weights: tuple[float, ...]
    bias: float
    cutoff: float
    n_entities: int

    def __call__(self, features: Floats) -> Floats:
        """Map features [P, F] to probabilities, float64 [P]."""
        return self.probabilities(self.log_odds(features))

    def log_odds(self, features: Floats) -> Floats:
        """The log odds by which candidates are chosen, float64 [P]."""
        return linear_log_odds(features, np.array(self.weights), self.bias)

    def probabilities(self, log_odds: Floats) -> Floats:
        """Those of log odds, within the bounds of what so few mentions can tell, float64 [P]."""
        margin = 1 / (self.n_entities + 2)
        return np.clip(OPS.sigmoid(log_odds), margin, 1 - margin)


class Found(NamedTuple):
    """What was found in the words of some documents.

    runs (Runs): The M entities, or mentions that may overlap, in their order.
    confidences (float64 [M]): The probability that each is correct.
    first (int64 [P]): The first word of all that was scored to find them.
    p (float64 [P]): The probability that it is correct.
    """

    runs: Runs
    confidences: Floats
    first: NDArray[np.int64]
    p: Floats


def choose_mentions(
    p: Probabilities,
    tags: NDArray[np.integer],
    words: Words,
    scheme: OverlappingScheme,
    mention_map: MentionMap,
    shifts: Floats,
) -> Found:
    """The mentions among the candidates, and the probability of each candidate.

    p (float64 [N, K, S + 2]): Probabilities of tags and borders.
    tags (int [N, K]): Decided tags.
    shifts (float64 [K]): What tau adds to the log odds of each type.
    """
    of_types = type_log_odds(p, scheme)
    candidates = find_candidates(of_types, tags, words, scheme)
    features = describe(candidates, of_types, border_log_odds(p), words)
    log_odds = mention_map.log_odds(features)
    scores = log_odds + shifts[candidates.types] - mention_map.cutoff
    chosen = np.flatnonzero(choose(candidates, scores))
    chosen = chosen[scheme.order(candidates.take(chosen))]
    confidences = mention_map.probabilities(log_odds[chosen])
    return Found(candidates.take(chosen), confidences, candidates.first, OPS.sigmoid(log_odds))


def linear_log_odds(features: Floats, weights: Floats, bias: float) -> Floats:
    """A weighted sum of the terms, within bounds, float64 [P]."""
    return np.clip(terms(features) @ weights + bias, -MAX_LOG_ODDS, MAX_LOG_ODDS)
