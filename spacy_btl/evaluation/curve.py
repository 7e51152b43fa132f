"""What favouring the rare types costs and brings: token figures over tau."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from spacy_btl.evaluation.counts import token_counts
from spacy_btl.evaluation.figures import token_figures
from spacy_btl.evaluation.predictions import Predictions
from spacy_btl.neighbors.decision import decide
from spacy_btl.pipeline.tune import TAUS

CURVES = ("uar", "token_macro_f", "token_accuracy")


def tau_curve(
    parts: Sequence[Predictions], taus: Sequence[float] = TAUS
) -> list[dict[str, float]] | None:
    """Token figures where a token's class is argmax(log p - tau * log prior).

    parts (Sequence[Predictions]): Of one pipeline, or of the folds of an experiment, each with a
        prior of its own; their tokens are pooled.
    taus (Sequence[float]): Above 0 favours the rare types, below 0 the common ones.
    RETURNS (Optional[List[Dict[str, float]]]): Per tau: `tau`, `uar`, `token_macro_f`,
        `token_accuracy`. None without the probabilities and the prior of every part.
    """
    soft = [
        (part, part.probabilities, part.prior)
        for part in parts
        if part.probabilities is not None and part.prior is not None
    ]
    if len(soft) < len(parts):
        return None
    classes = ("O", *sorted(set().union(*(part.classes for part in parts)) - {"O"}))
    rows = []
    for tau in taus:
        tokens = np.zeros((3, len(classes)))
        for part, p, prior in soft:
            ids = np.array([classes.index(label) for label in part.classes])
            predicted = ids[decided(p, prior, tau)]
            tokens += token_counts(ids[part.gold], predicted, len(classes))
        values = token_figures(tokens)
        rows.append({"tau": tau, **{name: float(values[name]) for name in CURVES}})
    return rows


def decided(p: NDArray[np.float32], prior: NDArray[np.float64], tau: float) -> NDArray[np.integer]:
    """The class of each token, int [N], among those that the pipeline knows: the others have no
    prior. p (float32 [N, C]): Probabilities. prior (float64 [C]): Training frequencies."""
    known = np.flatnonzero(prior)
    return known[decide(p[:, known].astype(float), prior[known], np.full(len(known), tau))]
