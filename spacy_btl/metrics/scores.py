"""From summed counts to figures. Leading axes (bootstrap samples, for one) are kept."""

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from spacy_btl.metrics.counts import Counts

Figures = dict[str, NDArray[np.float64]]

# The figures that are shown first, all of them shares of 1, and what they say.
HEADLINE = {
    "entity_micro_p": "entity precision",
    "entity_micro_r": "entity recall",
    "entity_micro_f": "entity F1, all mentions (micro)",
    "entity_macro_f": "entity F1, mean of the types (macro)",
    "partial_micro_f": "entity F1, overlaps worth half (micro)",
    "partial_macro_f": "entity F1, overlaps worth half (macro)",
    "uar": "token recall, mean of the classes (UAR)",
    "uar_types": "token recall, mean of the types",
    "token_macro_f": "token F1, mean of the classes",
    "token_accuracy": "token accuracy",
    "token_ece": "calibration error of tokens (ECE)",
    "entity_ece": "calibration error of entities (ECE)",
}
# Where mentions overlap others, and so are no entities.
ALL_MENTIONS = "entity_micro_r_all"


def headline(measured: Collection[str]) -> dict[str, str]:
    """The figures that are shown first, of those that were measured, and what they say."""
    titles = list(HEADLINE.items())
    place = list(HEADLINE).index("entity_micro_r") + 1
    titles.insert(place, (ALL_MENTIONS, "entity recall, overlapping mentions too"))
    return {name: title for name, title in titles if name in measured}


def figures(counts: Counts) -> Figures:
    """The figures over all types.

    counts (Dict[str, float64 [..., ...]]): Sums over documents.
    RETURNS (Dict[str, float64 [...]]): From 0 to 1, but for Brier scores of tokens (to 2) and
        negative log-likelihoods. Macro figures are means over the classes or types that the gold
        annotation holds; nan where it holds none. No calibration without probabilities or
        confidence, and nan where nothing has any, or no entity is right: the confidence of a
        pipeline that finds nothing is low, and that is no merit.
    """
    values = token_figures(counts["tokens"]) | _entity_figures(counts)
    if "mentions" in counts:
        found, annotated = np.moveaxis(counts["mentions"].sum(-1), -1, 0)
        values[ALL_MENTIONS] = _ratio(found, annotated)
    for kind in ("token", "entity"):
        if f"{kind}_bins" in counts:
            values |= _calibration_figures(counts, kind)
    return values


def token_figures(tokens: NDArray[np.float64]) -> Figures:
    """The figures of tokens. tokens (float64 [..., 3, C]): Right, gold and predicted ones.

    RETURNS (Dict[str, float64 [...]]): Recall and F1, means over the classes in the gold
        annotation, and accuracy.
    """
    right, gold, predicted = np.moveaxis(tokens, -2, 0)
    recall, f = _ratio(right, gold), _ratio(2 * right, gold + predicted)
    return {
        "uar": _mean(recall, gold > 0),
        "uar_types": _mean(recall[..., 1:], gold[..., 1:] > 0),
        "token_macro_f": _mean(f, gold > 0),
        "token_accuracy": _ratio(right.sum(-1), gold.sum(-1), empty=np.nan),
    }


def _entity_figures(counts: Counts) -> Figures:
    right, gold, predicted = np.moveaxis(counts["entities"], -2, 0)
    overlaps = counts["overlaps"]
    n_right, n_gold, n_predicted, n_overlaps = (
        values.sum(-1) for values in (right, gold, predicted, overlaps)
    )
    return {
        "entity_micro_p": _ratio(n_right, n_predicted),
        "entity_micro_r": _ratio(n_right, n_gold),
        "entity_micro_f": _ratio(2 * n_right, n_gold + n_predicted),
        "entity_macro_f": _mean(_ratio(2 * right, gold + predicted), gold > 0),
        "partial_micro_f": _ratio(2 * n_overlaps, n_gold + n_predicted),
        "partial_macro_f": _mean(_ratio(2 * overlaps, gold + predicted), gold > 0),
    }


def _calibration_figures(counts: Counts, kind: str) -> Figures:
    n, confidence, right = np.moveaxis(counts[f"{kind}_bins"], -2, 0)
    brier, nll = np.moveaxis(counts[f"{kind}_losses"], -1, 0)
    sums = {"ece": np.abs(confidence - right).sum(-1), "brier": brier, "nll": nll}
    n_all = np.where((kind == "token") | (right.sum(-1) > 0), n.sum(-1), 0)
    return {f"{kind}_{name}": _ratio(sum_, n_all, empty=np.nan) for name, sum_ in sums.items()}


def type_figures(counts: Counts) -> Figures:
    """The figures of each type, float64 [..., K]; nan for a type that is not in the gold
    annotation."""
    right, gold, predicted = np.moveaxis(counts["entities"], -2, 0)
    token_right, token_gold, token_predicted = np.moveaxis(counts["tokens"][..., 1:], -2, 0)
    values = {
        "precision": _ratio(right, predicted),
        "recall": _ratio(right, gold),
        "f": _ratio(2 * right, gold + predicted),
        "token_recall": _ratio(token_right, token_gold),
        "token_f": _ratio(2 * token_right, token_gold + token_predicted),
    }
    return {name: np.where(gold > 0, value, np.nan) for name, value in values.items()}


def _ratio(
    part: NDArray[np.float64], whole: NDArray[np.floating], *, empty: float = 0.0
) -> NDArray[np.float64]:
    """part / whole; 0 / 0 is `empty`: 0 as spaCy, seqeval and scikit-learn have it."""
    return np.divide(part, whole, out=np.full(part.shape, empty), where=whole > 0)


def _mean(values: NDArray[np.float64], held: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The mean of the values that are held; nan where none is."""
    return _ratio(np.where(held, values, 0).sum(-1), held.sum(-1).astype(float), empty=np.nan)
