"""What goes into metrics.json."""

import json
from dataclasses import replace

import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import confusion_matrix, log_loss

from spacy_btl.evaluation.summary import summarize
from spacy_btl.metrics.bootstrap import SAMPLES
from spacy_btl.metrics.counts import document_counts, total
from spacy_btl.metrics.scores import scores, type_scores
from tests.evaluation.made_up import CLASSES, predictions_of, random_predictions

PREDICTIONS = random_predictions()


@pytest.fixture(scope="module")
def metrics():
    return summarize(PREDICTIONS, seed=3)


def test_it_is_plain_json(metrics):
    assert json.loads(json.dumps(metrics, allow_nan=False)) == metrics
    assert summarize(PREDICTIONS, seed=3) == metrics


def test_what_was_measured(metrics):
    assert metrics["documents"] == 20
    assert metrics["mentions"] == len(PREDICTIONS.gold_ents)
    assert (metrics["seed"], metrics["samples"]) == (3, SAMPLES)


def test_figures_have_values_and_bounds(metrics):
    values = scores(total(document_counts(PREDICTIONS)))
    assert metrics["scores"].keys() == values.keys()
    for name, row in metrics["scores"].items():
        assert row["value"] == pytest.approx(values[name])
        assert list(row) == ["value", "low", "high"]
        assert row["low"] < row["high"]


def test_types_have_figures_of_entities_with_bounds_and_of_tokens_without(metrics):
    values = type_scores(total(document_counts(PREDICTIONS)))
    for i, label in enumerate(CLASSES[1:]):
        row = metrics["types"][label]
        assert row["support"] == (PREDICTIONS.gold_ents["label"] == 1 + i).sum()
        assert row["tag_support"] == (PREDICTIONS.gold == 1 + i).sum()
        for name in ("ents_p", "ents_r", "ents_f"):
            assert row[name]["value"] == pytest.approx(values[name][i])
            assert row[name]["low"] <= row[name]["value"] <= row[name]["high"]
        for name in ("tag_r", "tag_f"):
            assert row[name] == pytest.approx(values[name][i])


def test_documents_of_one_patient_are_drawn_together():
    """Every document twice, as two of one patient: no figure moves and no interval narrows."""
    halves = [replace(PREDICTIONS, token_docs=PREDICTIONS.token_docs + n) for n in (0, 20)]
    doubled = {
        name: np.concatenate([getattr(half, name) for half in halves])
        for name in ("token_docs", "gold", "predicted", "probabilities", "confidence")
    }
    for name in ("gold_ents", "predicted_ents"):
        again = getattr(PREDICTIONS, name).copy()
        again["doc"] += 20
        doubled[name] = np.concatenate([getattr(PREDICTIONS, name), again])
    twice = replace(PREDICTIONS, n_docs=40, patients=np.tile(np.arange(20), 2), **doubled)
    alone = summarize(replace(twice, patients=np.arange(40)), seed=3)
    once, together = summarize(PREDICTIONS, seed=3), summarize(twice, seed=3)
    assert (together["documents"], together["patients"]) == (40, 20)
    assert alone["patients"] is once["patients"] is None
    for name, row in together["scores"].items():
        assert row == pytest.approx(once["scores"][name])
        wide, narrow = (f["scores"][name] for f in (together, alone))
        assert narrow["high"] - narrow["low"] < wide["high"] - wide["low"]
    for label, row in together["types"].items():
        assert row["ents_f"] == pytest.approx(once["types"][label]["ents_f"])


def test_types_come_from_the_rarest_to_the_commonest():
    predictions = predictions_of(
        [
            (["B-Sign", "B-Sign", "B-Sign"], ["B-Sign", "B-Sign", "B-Sign"]),
            (["B-Test", "B-Test", "O"], ["B-Test", "O", "B-Drug"]),
            (["B-Finding", "O", "B-Finding"], ["O", "O", "O"]),
        ]
    )
    predictions = replace(predictions, classes=(*predictions.classes, "Unseen"))
    types = summarize(predictions, seed=0)["types"]
    # Drug: predicted, never gold. Equal support: by name. Unseen: neither, so there is no row.
    support = [(label, row["support"]) for label, row in types.items()]
    assert support == [("Drug", 0), ("Finding", 2), ("Test", 2), ("Sign", 3)]
    assert types["Drug"]["ents_r"] == {"value": 0, "low": 0, "high": 0}
    assert types["Test"]["ents_r"]["value"] == 0.5
    assert types["Test"]["ents_p"]["value"] == 1


def test_confusion_is_scikit_learns(metrics):
    assert metrics["confusion"]["classes"] == list(CLASSES)
    matrix = np.zeros((len(CLASSES), len(CLASSES)), dtype=int)
    for gold, predicted, n in metrics["confusion"]["cells"]:
        matrix[gold, predicted] = n
    assert (matrix == confusion_matrix(PREDICTIONS.gold, PREDICTIONS.predicted)).all()


def test_confusion_has_the_classes_that_occur():
    predictions = predictions_of([(["B-Sign", "O"], ["B-Drug", "O"])])
    predictions = replace(predictions, classes=(*predictions.classes, "Unseen"))
    assert summarize(predictions, seed=0)["confusion"] == {
        "classes": ["O", "Drug", "Sign"],
        "cells": [[0, 0, 1], [2, 1, 1]],
    }


def test_reliability_is_scikit_learns(metrics):
    p = PREDICTIONS.probabilities.astype(float)
    right = p.argmax(axis=1) == PREDICTIONS.gold
    shares, confidences = calibration_curve(right, p.max(axis=1), n_bins=15)
    tokens = metrics["calibration"]["tokens"]
    assert len(tokens) == 15
    assert sum(row["n"] for row in tokens) == len(right)
    filled = [row for row in tokens if row["n"]]
    assert [row["accuracy"] for row in filled] == pytest.approx(shares)
    assert [row["confidence"] for row in filled] == pytest.approx(confidences)
    loss = log_loss(PREDICTIONS.gold, PREDICTIONS.probabilities, labels=range(4))
    assert metrics["scores"]["tag_nll"]["value"] == pytest.approx(loss, rel=1e-5)
    n_known = (~np.isnan(PREDICTIONS.confidence)).sum()
    assert sum(row["n"] for row in metrics["calibration"]["entities"]) == n_known


def test_what_a_pipeline_gives_no_numbers_for_is_none():
    metrics = summarize(predictions_of([(["B-Sign", "O"], ["O", "O"])]), seed=0)
    assert metrics["curve"] is None
    assert metrics["calibration"] == {"tokens": None, "entities": None}
    assert not [name for name in metrics["scores"] if "ece" in name]
    assert metrics["scores"]["ents_p"]["value"] == 0
