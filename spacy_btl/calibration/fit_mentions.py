"""Fits the map of candidate mentions. It needs scikit-learn, which prediction does without."""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit, logit
from sklearn.model_selection import GroupKFold

from spacy_btl.calibration.candidates import choose
from spacy_btl.calibration.mention_map import N_TERMS, Floats, MentionMap, linear_log_odds, terms
from spacy_btl.tags import Runs

# The strength of the L2 penalty, for the weights of standardized terms: half the square of each, or
# of its distance from an earlier map, costs as much as so many units of log likelihood.
PENALTY = 10.0
MAX_ITERATIONS = 3000
FOLDS = 5  # of documents, to choose the cutoff
TOLERANCE = 0.01  # the share of the best F1 to give up for the recall of less certain mentions


def fit_mention_map(
    candidates: Runs,
    features: Floats,
    correct: NDArray[np.bool_],
    documents: NDArray[np.integer],
    n_gold: int,
    near: MentionMap | None = None,
) -> MentionMap:
    """Fit the map by penalized maximum likelihood, and choose the cutoff, see `_cutoff`.

    The cutoff is chosen by the probabilities of documents that the weights were not fitted to: the
    documents are parted into five.

    correct (bool [P]): Which candidates are correct; P > 0.
    documents (int [P]): Their documents.
    n_gold (int): The number of gold mentions.
    near (Optional[MentionMap]): The map that few documents change little: the penalty is on the
        distance from its weights and bias, a Gaussian prior around them.
    """
    n_folds = min(FOLDS, len(np.unique(documents)))
    parts = [(slice(None), slice(None))]
    if n_folds > 1:
        parts = list(GroupKFold(n_folds).split(features, groups=documents))
    log_odds = np.zeros(len(correct))
    for others, part in parts:
        log_odds[part] = linear_log_odds(
            features[part], *_fit(features[others], correct[others], near)
        )
    chosen = log_odds[choose(candidates, log_odds - log_odds.min() + 1)]
    cutoff = _cutoff(chosen, n_gold)
    weights, bias = _fit(features, correct, near)
    return MentionMap(tuple(weights.tolist()), bias, cutoff, int((chosen > cutoff).sum()))


def _fit(
    features: Floats, correct: NDArray[np.bool_], near: MentionMap | None
) -> tuple[Floats, float]:
    """The weights of the terms, and the bias. Those of a constant where all are of one class and no
    earlier map is given."""
    if near is None and (correct.all() or not correct.any()):
        return np.zeros(N_TERMS), float(logit((correct.sum() + 1) / (len(correct) + 2)))
    values = terms(features)
    mean, scale = values.mean(axis=0), values.std(axis=0)
    scale[scale == 0] = 1
    values = (values - mean) / scale
    start, penalty = np.zeros(N_TERMS + 1), np.append(np.full(N_TERMS, PENALTY), 0.0)
    if near is not None:
        weights = np.array(near.weights)
        start = np.append(weights * scale, near.bias + weights @ mean)
        penalty[-1] = PENALTY

    def loss(coefficients: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        log_odds = values @ coefficients[:-1] + coefficients[-1]
        wrong, away = expit(log_odds) - correct, penalty * (coefficients - start)
        log_likelihood = correct @ log_odds - np.logaddexp(0, log_odds).sum()
        gradient = np.append(values.T @ wrong, wrong.sum()) + away
        total = away @ (coefficients - start) / 2 - log_likelihood
        return float(total / len(correct)), gradient / len(correct)

    options = {"maxiter": MAX_ITERATIONS, "gtol": 1e-6, "ftol": 1e-12}
    fitted = minimize(loss, start, jac=True, method="L-BFGS-B", options=options).x
    weights = fitted[:-1] / scale
    return weights, float(fitted[-1] - weights @ mean)


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
