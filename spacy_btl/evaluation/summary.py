"""All that is measured, as one dictionary for a JSON file."""

from typing import Any, SupportsFloat

import numpy as np

from spacy_btl.evaluation.curve import tau_curve
from spacy_btl.metrics.bootstrap import SAMPLES, Interval, bootstrap
from spacy_btl.metrics.bounds import FEW_DOCUMENTS, FEW_MENTIONS, of_figures, of_types
from spacy_btl.metrics.counts import Counts, patient_counts, total, weighted
from spacy_btl.metrics.predictions import Predictions
from spacy_btl.metrics.scorer import is_chance
from spacy_btl.metrics.scores import figures, type_figures

UNTRAINED = (
    ": has the network learned anything? `spacy train` keeps as model-best the network of step 0 "
    "where no later one is better; train for longer, or look at model-last."
)


def summarize(predictions: Predictions, *, seed: int) -> dict[str, Any]:
    """Figures with their intervals.

    seed (int): Of the bootstrap.
    RETURNS (Dict[str, Any]): Plain JSON. `documents`, `patients` (None unless some have several
        documents: then the bootstrap draws patients, and a document of nobody known as one),
        `mentions`, `annotated` (with the mentions that overlap others, and so are no entities),
        `seed`, `samples`; `figures`, each with `value`, `low` and `high` (both None where too
        little was counted to tell); `types`, the rarest first; `curve` over tau; `calibration` of
        tokens and of entities; `confusion` of tokens; `cautions`, what to know before a figure is
        believed. What the pipeline gives no numbers for is absent from `figures`, and None
        elsewhere.
    """
    counts = patient_counts(predictions)
    n_patients = len(counts["tokens"])
    intervals = bootstrap(n_patients, lambda weights: figures(weighted(counts, weights)), seed=seed)
    sums = total(counts)
    intervals = of_figures(intervals, counts)
    return {
        "documents": predictions.n_docs,
        "patients": n_patients if n_patients < predictions.n_docs else None,
        "mentions": len(predictions.gold_ents),
        "annotated": len(predictions.annotated),
        "seed": seed,
        "samples": SAMPLES,
        "figures": {
            name: _plain(interval)
            for name, interval in intervals.items()
            if not np.isnan(interval.value)
        },
        "types": _types(predictions, counts, seed),
        "curve": tau_curve(predictions),
        "calibration": {
            "tokens": _calibration(sums, "token"),
            "entities": _calibration(sums, "entity"),
        },
        "confusion": _confusion(predictions),
        "cautions": _cautions(sums, n_patients),
    }


def _plain(interval: Interval) -> dict[str, float | None]:
    return {name: _number(value) for name, value in interval._asdict().items()}


def _number(value: SupportsFloat) -> float | None:
    return None if np.isnan(float(value)) else float(value)


def _cautions(sums: Counts, n_patients: int) -> list[str]:
    """What to know before a figure is believed."""
    right, gold, found = sums["entities"].sum(axis=1)
    cautions = []
    if not found:
        cautions.append("No entity is found" + UNTRAINED)
    elif not right:
        cautions.append(f"None of the {found:,.0f} entities that are found is right" + UNTRAINED)
    elif is_chance(*sums["tokens"][:2]):
        cautions.append("The token classes are found no better than by chance" + UNTRAINED)
    if n_patients < FEW_DOCUMENTS:
        cautions.append(f"{n_patients} document(s) or patient(s): too few to tell of others.")
    if gold < FEW_MENTIONS:
        cautions.append(f"{gold:,.0f} annotated mention(s): too few to judge a pipeline by.")
    return cautions


def _types(predictions: Predictions, counts: Counts, seed: int) -> dict[str, dict[str, Any]]:
    """A row per type that is annotated or predicted, by support and name. The figures of a type
    without support are 0."""
    intervals = bootstrap(
        len(counts["tokens"]), lambda weights: type_figures(weighted(counts, weights)), seed=seed
    )
    sums, types = total(counts), predictions.classes[1:]
    intervals = of_types(intervals, counts)
    _, support, predicted = sums["entities"]
    annotated = sums["mentions"][1] if "mentions" in sums else support
    held = (i for i in range(len(types)) if annotated[i] or predicted[i])
    return {
        types[i]: {
            "support": int(support[i]),
            "annotated": int(annotated[i]),
            "token_support": int(sums["tokens"][1, 1 + i]),
            **_row(intervals, i),
        }
        for i in sorted(held, key=lambda i: (support[i], types[i]))
    }


def _row(intervals: dict[str, Interval], i: int) -> dict[str, Any]:
    """The figures of one type: with intervals for entities, without for tokens."""
    row = {
        name: _plain(Interval(*(np.nan_to_num(bound[i]) for bound in interval)))
        for name, interval in intervals.items()
    }
    return {name: row[name]["value"] if "token" in name else row[name] for name in row}


def _calibration(sums: Counts, kind: str) -> dict[str, Any] | None:
    if f"{kind}_bins" not in sums:
        return None
    n, confidence, right = sums[f"{kind}_bins"]
    bins = [
        {"n": int(n_bin), "confidence": c / n_bin, "accuracy": r / n_bin}
        if n_bin
        else {"n": 0, "confidence": None, "accuracy": None}
        for n_bin, c, r in zip(n.tolist(), confidence.tolist(), right.tolist(), strict=True)
    ]
    values = figures(sums)
    return {
        "bins": bins,
        **{key: _number(values[f"{kind}_{key}"]) for key in ("ece", "brier", "nll")},
    }


def _confusion(predictions: Predictions) -> dict[str, Any]:
    """The `classes` that have tokens, `O` first, and the `cells` of the table that are not 0: gold
    class and predicted class, as numbers of these, and how many tokens."""
    pairs = np.stack([predictions.gold, predictions.predicted], axis=1)
    found, tokens = np.unique(pairs, axis=0, return_counts=True)
    present, numbers = np.unique(found, return_inverse=True)
    return {
        "classes": [predictions.classes[i] for i in present],
        "cells": np.column_stack([numbers.reshape(-1, 2), tokens]).tolist(),
    }
