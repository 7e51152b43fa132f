"""Fits the map of candidate mentions. It needs scikit-learn, which prediction does without."""

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold
from sklearn.preprocessing import StandardScaler

from spacy_btl.calibration.candidates import choose
from spacy_btl.calibration.mention_map import N_TERMS, Floats, MentionMap, linear_log_odds, terms
from spacy_btl.tags import Runs

# scikit-learn's inverse strength of the L2 penalty, for standardized terms.
PENALTY_C = 0.1
MAX_ITERATIONS = 3000
FOLDS = 5  # of documents, to choose the cutoff
TOLERANCE = 0.01  # the share of the best F1 to give up for the recall of less certain mentions


def fit_mention_map(
    candidates: Runs,
    features: Floats,
    correct: NDArray[np.bool_],
    documents: NDArray[np.integer],
    n_gold: int,
) -> MentionMap:
    """Fit the map by penalized maximum likelihood, and choose the cutoff, see `_cutoff`.

    The cutoff is chosen by the probabilities of documents that the weights were not fitted to: the
    documents are parted into five.

    correct (bool [P]): Which candidates are correct; P > 0.
    documents (int [P]): Their documents.
    n_gold (int): The number of gold mentions.
    """
    n_folds = min(FOLDS, len(np.unique(documents)))
    parts = [(slice(None), slice(None))]
    if n_folds > 1:
        parts = list(GroupKFold(n_folds).split(features, groups=documents))
    log_odds = np.zeros(len(correct))
    for others, part in parts:
        log_odds[part] = linear_log_odds(features[part], *_fit(features[others], correct[others]))
    chosen = log_odds[choose(candidates, log_odds - log_odds.min() + 1)]
    cutoff = _cutoff(chosen, n_gold)
    weights, bias = _fit(features, correct)
    return MentionMap(tuple(weights.tolist()), bias, cutoff, int((chosen > cutoff).sum()))


def _fit(features: Floats, correct: NDArray[np.bool_]) -> tuple[Floats, float]:
    """The weights of the terms, and the bias. Those of a constant where all are of one class."""
    if correct.all() or not correct.any():
        return np.zeros(N_TERMS), float(logit((correct.sum() + 1) / (len(correct) + 2)))
    scaler = StandardScaler()
    model = LogisticRegression(C=PENALTY_C, max_iter=MAX_ITERATIONS)
    model.fit(scaler.fit_transform(terms(features)), correct)
    weights = model.coef_[0] / scaler.scale_
    return weights, float(model.intercept_[0] - weights @ scaler.mean_)


def _cutoff(log_odds: Floats, n_gold: int) -> float:
    """The lowest cutoff that gives up no more than the share `TOLERANCE` of the best F1 to be
    expected.

    Expectations are steadier than counts of the few mentions around a cutoff.

    log_odds (float64 [P]): That each is correct, of mentions that do not overlap another of their
        type.
    """
    above = np.sort(log_odds)[::-1]
    below = np.append(above[1:], above[-1] - 1)
    f1 = 2 * np.cumsum(expit(above)) / (np.arange(1, len(above) + 1) + n_gold)
    f1[above == below] = -1  # those that are the same are on one side
    place = np.flatnonzero(f1 >= (1 - TOLERANCE) * f1.max())[-1]
    return float((above[place] + below[place]) / 2)
