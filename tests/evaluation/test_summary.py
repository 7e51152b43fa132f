"""What goes into metrics.json."""

import json
from dataclasses import replace

import numpy as np
import pytest
import spacy
from sklearn.calibration import calibration_curve
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, log_loss, recall_score
from spacy.training import Corpus

from spacy_btl.calibration.settings import TAUS
from spacy_btl.evaluation.predictions import predict
from spacy_btl.evaluation.summary import summarize, tau_curve
from spacy_btl.metrics.bootstrap import SAMPLES
from spacy_btl.metrics.counts import document_counts, total
from spacy_btl.metrics.scores import scores, type_scores
from tests.conftest import PAPER, make_examples
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


# The curve over tau against scikit-learn, and against pipelines that decide with that tau.

NOISY = random_predictions(noise=2)


@pytest.mark.parametrize("tau", [-0.5, 0.0, 0.5, 1.5])
def test_token_figures_at_a_tau_are_scikit_learns(tau):
    (row,) = tau_curve(NOISY, [tau])
    gold = NOISY.gold
    predicted = (NOISY.probabilities / NOISY.prior**tau).argmax(axis=1)
    macro = {"average": "macro", "zero_division": 0}
    assert row == {
        "tau": tau,
        "tag_uar": pytest.approx(recall_score(gold, predicted, **macro)),
        "tag_macro_f": pytest.approx(f1_score(gold, predicted, **macro)),
        "tag_accuracy": pytest.approx(accuracy_score(gold, predicted)),
    }


def test_the_grid():
    curve = tau_curve(NOISY)
    assert [row["tau"] for row in curve] == list(TAUS)
    assert (TAUS[0], TAUS[5], TAUS[-1]) == (-0.5, 0.0, 1.5)
    assert curve[5]["tag_uar"] == scores(total(document_counts(NOISY)))["tag_uar"]
    assert len({row["tag_uar"] for row in curve}) > 10


def test_a_class_without_a_prior_is_never_decided_on():
    """It is in the annotation, and the pipeline does not know it."""
    prior, p = NOISY.prior.copy(), NOISY.probabilities.copy()
    prior[1] = p[:, 1] = 0
    rows = tau_curve(replace(NOISY, prior=prior, probabilities=p), [-1, 0, 1])
    for row, tau in zip(rows, [-1, 0, 1], strict=True):
        predicted = (p[:, [0, 2, 3]] / prior[[0, 2, 3]] ** tau).argmax(axis=1)
        predicted = np.array([0, 2, 3])[predicted]
        recall = recall_score(NOISY.gold, predicted, average="macro")
        assert row["tag_uar"] == pytest.approx(recall)


def test_there_is_none_without_probabilities_or_prior():
    assert tau_curve(replace(NOISY, probabilities=None)) is None
    assert tau_curve(replace(NOISY, prior=None)) is None


def test_it_says_what_the_pipeline_does_with_that_tau(trained_path, corpus_path):
    nlp = spacy.load(trained_path)
    settings = {**PAPER, "knn_weight": 0.5, "n_neighbors": 5}
    pipe = nlp.add_pipe("knn_calibrator", config=settings)
    pipe.fit(make_examples(nlp))
    examples = list(Corpus(corpus_path)(nlp))
    rows = tau_curve(predict(nlp, examples), [0.0, 1.0, 3.0])
    accuracies = set()
    for row in rows:
        pipe.calibrator.set_params(tau=row["tau"])
        values = scores(total(document_counts(predict(nlp, examples))))
        assert row["tag_uar"] == pytest.approx(values["tag_uar"])
        assert row["tag_accuracy"] == pytest.approx(values["tag_accuracy"])
        accuracies.add(row["tag_accuracy"])
    assert len(accuracies) > 1
