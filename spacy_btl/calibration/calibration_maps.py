"""Maps from how sure a calibrator seems to how often it is right, and their fits. Arrays only.

N tokens or entities, C tags. All of them are log-linear models with few parameters, so each fit is
a convex problem with one optimum.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit, logsumexp, softmax

from spacy_btl.calibration.votes import Probabilities

# Bounds on p and on 1 - p, so that their logarithms stay finite.
LEAST_P = np.finfo("float64").tiny
LEAST_REST = 1e-9
# Coefficients that must not fall to 0 (a map would no longer rise), and those that must not go
# below it.
POSITIVE = (1e-3, None)
NOT_NEGATIVE = (0.0, None)

Bounds = tuple[float | None, float | None]
Floats = NDArray[np.floating]


@dataclass(frozen=True)
class TokenMap:
    """Makes each of the two sources of probabilities honest by itself, before they are mixed.

    Neither part changes which tag its source finds most probable. Until fitted it changes nothing.

    temperature (float): The softmax is that of logits / temperature (Guo et al. 2017).
    sharpness (float): a, above 0.
    certainty (float): b, at least 0. A probability p by the neighbours' votes becomes
        p^a / (1 - p)^b, in proportion: the beta calibration of Kull et al. (2017), with one rising
        curve for all tags.
    """

    temperature: float = 1.0
    sharpness: float = 1.0
    certainty: float = 0.0

    def softmax(self, logits: Floats) -> Probabilities:
        """Probabilities by the network, float64 [N, C], from raw logits, float [N, C]."""
        return softmax(logits.astype("float64") / self.temperature, axis=1)

    def votes(self, p: Probabilities) -> Probabilities:
        """Probabilities by the neighbours, float64 [N, C], from what their votes say."""
        if (self.sharpness, self.certainty) == (1.0, 0.0):
            return p
        log_p, log_odds = _curves(p)
        return softmax(self.sharpness * log_p + self.certainty * log_odds, axis=1)


@dataclass(frozen=True)
class ConfidenceMap:
    """From the least token probability of an entity to the probability that the entity is right.

    The curve is sigmoid(sharpness * log p - certainty * log(1 - p) + bias).

    sharpness, certainty (float): At least 0, so that the curve never falls.
    bias (float): Any.
    n_entities (int): How many it was fitted to. The result stays between 1 / (n + 2) and
        1 - 1 / (n + 2), Laplace's estimates after n failures and n successes.
    """

    sharpness: float
    certainty: float
    bias: float
    n_entities: int

    def __call__(self, p: Floats) -> Probabilities:
        """Map probabilities, float [N]; strictly between 0 and 1."""
        log_p, log_odds = _curves(np.asarray(p, dtype="float64"))
        score = self.sharpness * log_p + self.certainty * log_odds + self.bias
        margin = 1 / (self.n_entities + 2)
        return np.clip(expit(score), margin, 1 - margin)


def fit_token_map(
    logits: Floats, p_knn: Probabilities | None, tags: NDArray[np.integer], prior: Probabilities
) -> TokenMap:
    """The token map with which each source gives the tags of unseen tokens most likelihood.

    logits (float [N, C]): Raw logits.
    p_knn (Optional[float64 [N, C]]): What the neighbours' votes say, where they are read.
    tags (int [N]): Gold tags.
    prior (float64 [C]): Training frequencies.
    """
    (inverse,) = _fit_log_linear([logits.astype("float64")], tags, prior, [1.0], [POSITIVE])
    if p_knn is None:
        return TokenMap(1 / inverse)
    bounds = [POSITIVE, NOT_NEGATIVE]
    sharpness, certainty = _fit_log_linear(_curves(p_knn), tags, prior, [1.0, 0.0], bounds)
    return TokenMap(1 / inverse, sharpness, certainty)


def fit_confidence_map(p: Floats, right: NDArray[np.bool_]) -> ConfidenceMap:
    """The confidence map that gives what is right and wrong most likelihood.

    p (float [N]): The least token probability of each entity; N > 0.
    right (bool [N]): Whether the entity is right.
    """
    curves = [
        np.stack([np.zeros(len(p)), curve], axis=1) for curve in (*_curves(p), np.ones(len(p)))
    ]
    share = (right.sum() + 1) / (len(right) + 2)
    bounds = [NOT_NEGATIVE, NOT_NEGATIVE, (None, None)]
    sharpness, certainty, bias = _fit_log_linear(
        curves, right.astype("int64"), np.array([1 - share, share]), [1.0, 0.0, 0.0], bounds
    )
    return ConfidenceMap(sharpness, certainty, bias, n_entities=len(right))


def _curves(p: Floats) -> tuple[Probabilities, Probabilities]:
    """log p and -log(1 - p)."""
    return np.log(np.maximum(p, LEAST_P)), -np.log(np.maximum(1 - p, LEAST_REST))


def _fit_log_linear(
    features: Sequence[Probabilities],
    classes: NDArray[np.integer],
    prior: Probabilities,
    start: Sequence[float],
    bounds: Sequence[Bounds],
) -> list[float]:
    """Coefficients of the features whose weighted sum, through a softmax, is most likely.

    Every target gives 1 / (N + 1) to the prior, one observation's worth in all, which keeps the
    optimum finite where the classes can be told apart without an error.

    features (Sequence[float64 [N, C]]): One array per coefficient.
    classes (int [N]): What was observed.
    """
    rows = np.arange(len(classes))
    share = 1 / (len(classes) + 1)
    expected = np.array(
        [
            (1 - share) * feature[rows, classes].mean() + share * (feature @ prior).mean()
            for feature in features
        ]
    )

    def loss(coefficients: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        score = sum(c * feature for c, feature in zip(coefficients, features, strict=True))
        log_sum = logsumexp(score, axis=1, keepdims=True)
        p: Any = np.exp(score - log_sum)
        found = np.array([(p * feature).sum() for feature in features]) / len(classes)
        return float(log_sum.mean() - coefficients @ expected), found - expected

    options = {"ftol": 1e-13, "gtol": 1e-9, "maxiter": 1000}
    found = minimize(loss, start, jac=True, bounds=bounds, method="L-BFGS-B", options=options)
    return found.x.tolist()
