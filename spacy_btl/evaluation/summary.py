"""The results of an evaluation as one dictionary of plain JSON."""

from collections.abc import Sequence
from typing import Any, SupportsFloat

import numpy as np
from numpy.typing import NDArray

from spacy_btl.calibration.decisions import decide
from spacy_btl.calibration.settings import TAUS
from spacy_btl.metrics.bootstrap import SAMPLES, Interval, bootstrap
from spacy_btl.metrics.bounds import FEW_DOCUMENTS, FEW_MENTIONS, widen, widen_types
from spacy_btl.metrics.counts import (
    Counts,
    class_counts,
    patient_counts,
    token_counts,
    total,
    weighted,
)
from spacy_btl.metrics.predictions import Predictions
from spacy_btl.metrics.scores import (
    is_chance,
    precision_recall_f,
    scores,
    tag_scores,
    type_scores,
)

UNTRAINED = (
    ": has the network learned anything? `spacy train` keeps as model-best the network of step 0 "
    "where no later one is better; train for longer, or look at model-last."
)
CURVES = ("tag_uar", "tag_macro_f", "tag_accuracy")  # over tau


def summarize(predictions: Predictions, *, seed: int) -> dict[str, Any]:
    """Compute all scores with their intervals.

    seed (int): Of the bootstrap.
    RETURNS (Dict[str, Any]): Plain JSON. `documents`; `patients`, None unless some have several
        documents (then the bootstrap samples patients, and a document of an unknown patient counts
        as one); `mentions`; `annotated`, with the mentions that overlap others and so are not in
        `doc.ents`; `overlapping`, whether predicted mentions can overlap; `seed`; `samples`;
        `scores` by the keys of `measures.MEASURES`, each with `value`, `low` and `high` (both None
        if too little was counted); `types`, the rarest first; `curve` over tau; `calibration`, the
        bins of tokens, of entities and of all mentions where some overlap; `confusion` of tokens;
        `cautions`, warnings about the scores. What the pipeline states no probabilities or
        confidence for is absent from `scores`, and None elsewhere; so are the confusions of
        predicted mentions that can overlap.
    """
    counts = patient_counts(predictions)
    n_patients = len(counts["documents"])
    intervals = bootstrap(n_patients, lambda weights: scores(weighted(counts, weights)), seed=seed)
    sums = total(counts)
    intervals = widen(intervals, counts)
    return {
        "documents": predictions.n_docs,
        "patients": n_patients if n_patients < predictions.n_docs else None,
        "mentions": len(predictions.gold_ents),
        "annotated": len(predictions.all_mentions.gold),
        "overlapping": predictions.decisions is not None,
        "seed": seed,
        "samples": SAMPLES,
        "scores": {
            name: _plain(interval)
            for name, interval in intervals.items()
            if not np.isnan(interval.value)
        },
        "types": _types(predictions, counts, seed),
        "curve": tau_curve(predictions),
        "calibration": {
            "tokens": _bins(sums, "token"),
            "entities": _bins(sums, "entity"),
            **({"mentions": _bins(sums, "mention")} if "mentions" in sums else {}),
        },
        "confusion": _confusion(predictions),
        "cautions": _cautions(sums, n_patients),
    }


def _plain(interval: Interval) -> dict[str, float | None]:
    return {name: _number(value) for name, value in interval._asdict().items()}


def _number(value: SupportsFloat) -> float | None:
    return None if np.isnan(float(value)) else float(value)


def _cautions(sums: Counts, n_patients: int) -> list[str]:
    """Warnings about the scores."""
    correct, gold, predicted = sums[_headline(sums)].sum(axis=1)
    cautions = []
    if not predicted:
        cautions.append("No entity is predicted" + UNTRAINED)
    elif not correct:
        cautions.append(f"None of the {predicted:,.0f} predicted entities is correct" + UNTRAINED)
    elif is_chance(*class_counts(sums)[:2]):
        cautions.append("The token classes are predicted no better than by chance" + UNTRAINED)
    if n_patients < FEW_DOCUMENTS:
        cautions.append(f"{n_patients} document(s) or patient(s): too few to generalize from.")
    if gold < FEW_MENTIONS:
        cautions.append(f"{gold:,.0f} annotated mention(s): too few to judge a pipeline by.")
    return cautions


def _headline(sums: Counts) -> str:
    """The counts that say most: those of all mentions where predicted ones can overlap."""
    return "mentions" if "decisions" in sums else "entities"


def _types(predictions: Predictions, counts: Counts, seed: int) -> dict[str, dict[str, Any]]:
    """A row per type that is annotated or predicted, by support and name. The scores of a type
    without support are 0."""
    intervals = bootstrap(
        len(counts["documents"]), lambda weights: type_scores(weighted(counts, weights)), seed=seed
    )
    sums, types = total(counts), predictions.classes[1:]
    intervals = widen_types(intervals, counts)
    _, support, predicted = sums[_headline(sums)]
    annotated = sums["mentions"][1] if "mentions" in sums else support
    present = (i for i in range(len(types)) if annotated[i] or predicted[i])
    return {
        types[i]: {
            "support": int(support[i]),
            "annotated": int(annotated[i]),
            "tag_support": int(class_counts(sums)[1, 1 + i]),
            **_row(intervals, i),
        }
        for i in sorted(present, key=lambda i: (support[i], types[i]))
    }


def _row(intervals: dict[str, Interval], i: int) -> dict[str, Any]:
    """The scores of one type: with intervals for entities, without for tokens."""
    row = {
        name: _plain(Interval(*(np.nan_to_num(bound[i]) for bound in interval)))
        for name, interval in intervals.items()
    }
    return {name: row[name]["value"] if name.startswith("tag_") else row[name] for name in row}


def _bins(sums: Counts, kind: str) -> list[dict[str, Any]] | None:
    if f"{kind}_bins" not in sums:
        return None
    return [
        {"n": int(n), "confidence": confidence / n, "accuracy": correct / n}
        if n
        else {"n": 0, "confidence": None, "accuracy": None}
        for n, confidence, correct in sums[f"{kind}_bins"].T.tolist()
    ]


def _confusion(predictions: Predictions) -> dict[str, Any] | None:
    """The confusion matrix of tokens: the `classes` that have tokens, `O` first, and the `cells`
    that are not 0, each with its gold and its predicted class, by number, and its tokens. None if
    a token can be of several classes, since none is then predicted in place of another."""
    if predictions.decisions is not None:
        return None
    present = np.union1d(predictions.gold, predictions.predicted)
    pairs = np.searchsorted(present, np.stack([predictions.gold, predictions.predicted], axis=1))
    cells, counts = np.unique(pairs, axis=0, return_counts=True)
    return {
        "classes": [predictions.classes[i] for i in present],
        "cells": np.column_stack([cells, counts]).tolist(),
    }


def tau_curve(
    predictions: Predictions, taus: Sequence[float] = TAUS
) -> list[dict[str, float]] | None:
    """Compute token scores where a token's class is argmax(log p - tau * log prior). Where a
    calibrator decides mentions that overlap, the scores of what it finds with each of `TAUS`.

    taus (Sequence[float]): Above 0 favours the rare types, below 0 the common ones.
    RETURNS (Optional[List[Dict[str, float]]]): Per tau: `tau`, `tag_uar`, `tag_macro_f`, and
        `tag_accuracy`, or `spans_btl_f` of mentions. None without probabilities or a prior.
    """
    if predictions.at_taus is not None:
        return [
            {"tau": tau, **_overlapping_point(counts)}
            for tau, counts in zip(TAUS, predictions.at_taus, strict=True)
        ]
    p, prior = predictions.probabilities, predictions.prior
    if p is None or prior is None:
        return None
    rows = []
    for tau in taus:
        predicted = decided(p, prior, tau)
        values = tag_scores(token_counts(predictions.gold, predicted, len(prior)))
        rows.append({"tau": tau, **{name: float(values[name]) for name in CURVES}})
    return rows


def _overlapping_point(counts: Counts) -> dict[str, float]:
    values = tag_scores(counts["decisions"])
    _, _, f = precision_recall_f(counts["mentions"].sum(axis=1, keepdims=True))
    return {name: float(values[name]) for name in CURVES[:2]} | {"spans_btl_f": float(f[0])}


def decided(p: NDArray[np.float32], prior: NDArray[np.float64], tau: float) -> NDArray[np.integer]:
    """The class of each token, int [N], among those that the pipeline knows: the others have no
    prior. p (float32 [N, C]): Probabilities. prior (float64 [C]): Training frequencies."""
    known = np.flatnonzero(prior)
    return known[decide(p[:, known].astype(float), prior[known], np.full(len(known), tau))]
