"""Token scores as a function of tau, which trades common types for rare ones."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from spacy_btl.calibration.decisions import decide
from spacy_btl.metrics.counts import token_counts
from spacy_btl.metrics.predictions import Predictions
from spacy_btl.metrics.scores import tag_scores
from spacy_btl.training.tune import TAUS

CURVES = ("tag_uar", "tag_macro_f", "tag_accuracy")


def tau_curve(
    predictions: Predictions, taus: Sequence[float] = TAUS
) -> list[dict[str, float]] | None:
    """Compute token scores where a token's class is argmax(log p - tau * log prior).

    taus (Sequence[float]): Above 0 favours the rare types, below 0 the common ones.
    RETURNS (Optional[List[Dict[str, float]]]): Per tau: `tau`, `tag_uar`, `tag_macro_f`,
        `tag_accuracy`. None without probabilities or a prior.
    """
    p, prior = predictions.probabilities, predictions.prior
    if p is None or prior is None:
        return None
    rows = []
    for tau in taus:
        predicted = decided(p, prior, tau)
        values = tag_scores(token_counts(predictions.gold, predicted, len(prior)))
        rows.append({"tau": tau, **{name: float(values[name]) for name in CURVES}})
    return rows


def decided(p: NDArray[np.float32], prior: NDArray[np.float64], tau: float) -> NDArray[np.integer]:
    """The class of each token, int [N], among those that the pipeline knows: the others have no
    prior. p (float32 [N, C]): Probabilities. prior (float64 [C]): Training frequencies."""
    known = np.flatnonzero(prior)
    return known[decide(p[:, known].astype(float), prior[known], np.full(len(known), tau))]
