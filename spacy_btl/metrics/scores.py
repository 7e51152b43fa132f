"""All measures, computed from summed counts. Leading axes, such as bootstrap samples, are kept.

scikit-learn scores labels of single tokens, one sample at a time. These functions score thousands
of bootstrap samples of counts at once; the tests compare them with scikit-learn.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from spacy_btl.metrics.counts import OF_TOKENS, Counts, class_counts

Numbers = NDArray[np.number[Any]]
# By the keys of `measures.MEASURES`.
Scores = dict[str, NDArray[np.float64]]

# The counts of calibration by the prefix of their measures.
CALIBRATION = {"tag": "token", "ents": "entity", "spans_btl": "mention"}
# Of mentions that may overlap, whatever the name of their group.
SPANS_KEYS = ("spans_btl_p", "spans_btl_r", "spans_btl_f", "spans_btl_macro_f")


def scores(counts: Counts) -> Scores:
    """The scores over all types.

    counts (Dict[str, float64 [..., ...]]): Sums over documents.
    RETURNS (Dict[str, float64 [...]]): From 0 to 1, but for the Brier score of tokens (to 2) and
        negative log-likelihoods. Macro scores are means over the classes or types in the gold
        annotation; nan if it has none. Scores of missing counts are missing too, such as those of
        calibration without probabilities or confidence. Calibration scores are nan if no token or
        entity has any, and for entities of which none is correct: a pipeline that finds nothing
        states low confidence, which is no merit.
    """
    entities = counts["entities"]
    values = tag_scores(class_counts(counts)) if counts.keys() & OF_TOKENS else {}
    if "decisions" in counts:
        del values["tag_accuracy"]  # of tokens with one class each
    names = ("ents_p", "ents_r", "ents_f", "ents_macro_f")
    values |= zip(names, _micro_and_macro(entities), strict=True)
    if "overlaps" in counts:
        partial = np.concatenate([counts["overlaps"][..., None, :], entities[..., 1:, :]], axis=-2)
        _, _, values["ents_partial_f"], values["ents_partial_macro_f"] = _micro_and_macro(partial)
    if "mentions" in counts:
        values |= zip(SPANS_KEYS, _micro_and_macro(counts["mentions"]), strict=True)
    if "lost" in counts:
        found, gold = np.moveaxis(counts["lost"].sum(-1), -1, 0)
        values["spans_btl_r_lost"] = _ratio(found, gold, empty=np.nan)
    for prefix, kind in CALIBRATION.items():
        if f"{kind}_bins" in counts:
            values |= _calibration_scores(counts, prefix)
    return values


def type_scores(counts: Counts) -> Scores:
    """The scores of each type, float64 [..., K]; nan for a type without gold entities, mentions or
    tokens.

    RETURNS (Dict[str, float64 [..., K]]): By the keys of `measures.TYPE_MEASURES`; those of
        mentions are missing without their counts.
    """
    counted = {"ents": counts["entities"], "tag": class_counts(counts)[..., 1:]}
    if "mentions" in counts:
        counted["spans_btl"] = counts["mentions"]
    values = {
        f"{prefix}_{letter}": np.where(items[..., 1, :] > 0, value, np.nan)
        for prefix, items in counted.items()
        for letter, value in zip("prf", precision_recall_f(items), strict=True)
    }
    del values["tag_p"]
    return values


def tag_scores(tokens: NDArray[np.float64]) -> Scores:
    """The scores of token classes.

    tokens (float64 [..., 3, C]): Correct, gold and predicted tokens of each class, `O` first.
    RETURNS (Dict[str, float64 [...]]): nan without gold tokens.
    """
    correct, gold, _ = np.moveaxis(tokens, -2, 0)
    _, _, f = precision_recall_f(tokens)
    return {
        "tag_uar": unweighted_average_recall(correct, gold),
        "tag_uar_types": unweighted_average_recall(correct[..., 1:], gold[..., 1:]),
        "tag_macro_f": _mean(f, gold > 0),
        "tag_accuracy": _ratio(correct.sum(-1), gold.sum(-1), empty=np.nan),
    }


def unweighted_average_recall(correct: Numbers, gold: Numbers) -> NDArray[np.float64]:
    """The mean recall of the classes that have gold tokens, float64 [...]; nan if none has.

    correct, gold (float64 [..., C]): Tokens of each class.
    """
    return _mean(_ratio(correct, gold), gold > 0)


def precision_recall_f(
    counts: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Precision, recall and F1, float64 [..., K].

    counts (float64 [..., 3, K]): Correct, gold and predicted items.
    """
    correct, gold, predicted = np.moveaxis(counts, -2, 0)
    return (
        _ratio(correct, predicted),
        _ratio(correct, gold),
        _ratio(2 * correct, gold + predicted),
    )


def is_chance(correct: Numbers, gold: Numbers) -> bool:
    """Whether UAR is at most 1% better than that of chance, which is 1 / C for C classes. A network
    that has not learned anything, or predicts one class for all tokens, has that.

    correct, gold (float64 [C]): Tokens of each class.
    """
    n_classes = (gold > 0).sum()
    chance = 1 / max(n_classes, 1)
    limit = chance + 0.01 * (1 - chance)
    return bool(n_classes > 1 and unweighted_average_recall(correct, gold) < limit)


def _micro_and_macro(entities: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
    """Precision, recall and F1 over all types, and the mean F1 of the types; float64 [...]."""
    micro = precision_recall_f(entities.sum(-1)[..., None])
    macro_f = _mean(precision_recall_f(entities)[2], entities[..., 1, :] > 0)
    return *(values[..., 0] for values in micro), macro_f


def _calibration_scores(counts: Counts, prefix: str) -> Scores:
    kind = CALIBRATION[prefix]
    n, confidence, correct = np.moveaxis(counts[f"{kind}_bins"], -2, 0)
    brier, nll = np.moveaxis(counts[f"{kind}_losses"], -1, 0)
    sums = {"ece": np.abs(confidence - correct).sum(-1), "brier": brier, "nll": nll}
    n_all = np.where((kind == "token") | (correct.sum(-1) > 0), n.sum(-1), 0)
    return {f"{prefix}_{name}": _ratio(total, n_all, empty=np.nan) for name, total in sums.items()}


def _ratio(part: Numbers, whole: Numbers, *, empty: float = 0.0) -> NDArray[np.float64]:
    """part / whole; 0 / 0 is `empty`: 0 as in spaCy, seqeval and scikit-learn."""
    return np.divide(part, whole, out=np.full(part.shape, empty), where=whole > 0)


def _mean(values: NDArray[np.float64], present: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The mean of the values that are present; nan if none is."""
    total = np.where(present, values, 0).sum(-1)
    return _ratio(total, present.sum(-1).astype(float), empty=np.nan)
