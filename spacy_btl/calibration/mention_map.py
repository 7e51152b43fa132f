"""Which candidate mentions are correct: a logistic regression over what describes them.

P candidates, F features (`candidates.FEATURES`). It is the re-ranking of a structured prediction's
best candidates by a discriminative model (Collins and Koo 2005), with probabilities for scores.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold
from sklearn.preprocessing import StandardScaler

from spacy_btl.calibration.candidates import FEATURES, choose
from spacy_btl.tags import Runs

Floats = NDArray[np.floating]

# scikit-learn's inverse strength of the L2 penalty, for standardized terms.
PENALTY_C = 0.1
MAX_ITERATIONS = 3000
MAX_LOG_ODDS = 30.0  # so that a probability stays below 1
FOLDS = 5  # of documents, to choose the cutoff
TOLERANCE = 0.02  # the share of the best F1 to give up for the recall of less certain mentions


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
        return _log_odds(features, np.array(self.weights), self.bias)

    def probabilities(self, log_odds: Floats) -> Floats:
        """Those of log odds, within the bounds of what so few mentions can tell, float64 [P]."""
        margin = 1 / (self.n_entities + 2)
        return np.clip(expit(log_odds), margin, 1 - margin)


def fit_mention_map(
    candidates: Runs,
    features: Floats,
    correct: NDArray[np.bool_],
    documents: NDArray[np.integer],
    shifts: Floats,
    n_gold: int,
) -> MentionMap:
    """Fit the map by penalized maximum likelihood, and choose the cutoff, see `_cutoff`.

    The cutoff is chosen by the probabilities of documents that the weights were not fitted to: the
    documents are parted into five.

    correct (bool [P]): Which candidates are correct; P > 0.
    documents (int [P]): Their documents.
    shifts (float64 [P]): What tau adds to their log odds.
    n_gold (int): The number of gold mentions.
    """
    n_folds = min(FOLDS, len(np.unique(documents)))
    parts = [(slice(None), slice(None))]
    if n_folds > 1:
        parts = list(GroupKFold(n_folds).split(features, groups=documents))
    log_odds = np.zeros(len(correct))
    for others, part in parts:
        log_odds[part] = _log_odds(features[part], *_fit(features[others], correct[others]))
    scores = log_odds + shifts
    chosen = choose(candidates, scores - scores.min() + 1)
    cutoff = _cutoff(scores[chosen], expit(log_odds[chosen]), n_gold)
    n_entities = int((scores[chosen] > cutoff).sum())
    weights, bias = _fit(features, correct)
    return MentionMap(tuple(weights.tolist()), bias, cutoff, n_entities)


def _log_odds(features: Floats, weights: Floats, bias: float) -> Floats:
    return np.clip(terms(features) @ weights + bias, -MAX_LOG_ODDS, MAX_LOG_ODDS)


def _fit(features: Floats, correct: NDArray[np.bool_]) -> tuple[Floats, float]:
    """The weights of the terms, and the bias. Those of a constant where all are of one class."""
    if correct.all() or not correct.any():
        return np.zeros(N_TERMS), float(logit((correct.sum() + 1) / (len(correct) + 2)))
    scaler = StandardScaler()
    model = LogisticRegression(C=PENALTY_C, max_iter=MAX_ITERATIONS)
    model.fit(scaler.fit_transform(terms(features)), correct)
    weights = model.coef_[0] / scaler.scale_
    return weights, float(model.intercept_[0] - weights @ scaler.mean_)


def _cutoff(scores: Floats, p: Floats, n_gold: int) -> float:
    """The lowest cutoff that gives up no more than the share `TOLERANCE` of the best F1 to be
    expected.

    Expectations are steadier than counts of the few mentions around a cutoff.

    scores (float64 [P]): Of mentions that do not overlap another of their type.
    p (float64 [P]): The probability that each is correct.
    """
    order = np.argsort(-scores, kind="stable")
    above = scores[order]
    below = np.append(above[1:], above[-1] - 1)
    f1 = 2 * np.cumsum(p[order]) / (np.arange(1, len(order) + 1) + n_gold)
    f1[above == below] = -1  # scores that are the same are on one side
    place = np.flatnonzero(f1 >= (1 - TOLERANCE) * f1.max())[-1]
    return float((above[place] + below[place]) / 2)
