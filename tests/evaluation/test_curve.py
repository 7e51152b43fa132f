"""The curve over tau against scikit-learn, and against pipelines that decide with that tau."""

from dataclasses import replace

import numpy as np
import pytest
import spacy
from sklearn.metrics import accuracy_score, f1_score, recall_score
from spacy.training import Corpus

from spacy_btl.evaluation.curve import TAUS, tau_curve
from spacy_btl.evaluation.predictions import predict
from spacy_btl.metrics.counts import document_counts, total
from spacy_btl.metrics.scores import scores
from tests.conftest import PAPER, make_examples
from tests.evaluation.made_up import random_predictions

PREDICTIONS = random_predictions(noise=2)


@pytest.mark.parametrize("tau", [-0.5, 0.0, 0.5, 1.5])
def test_token_figures_at_a_tau_are_scikit_learns(tau):
    (row,) = tau_curve(PREDICTIONS, [tau])
    gold = PREDICTIONS.gold
    predicted = (PREDICTIONS.probabilities / PREDICTIONS.prior**tau).argmax(axis=1)
    macro = {"average": "macro", "zero_division": 0}
    assert row == {
        "tau": tau,
        "tag_uar": pytest.approx(recall_score(gold, predicted, **macro)),
        "tag_macro_f": pytest.approx(f1_score(gold, predicted, **macro)),
        "tag_accuracy": pytest.approx(accuracy_score(gold, predicted)),
    }


def test_the_grid():
    curve = tau_curve(PREDICTIONS)
    assert [row["tau"] for row in curve] == list(TAUS)
    assert (TAUS[0], TAUS[5], TAUS[-1]) == (-0.5, 0.0, 1.5)
    assert curve[5]["tag_uar"] == scores(total(document_counts(PREDICTIONS)))["tag_uar"]
    assert len({row["tag_uar"] for row in curve}) > 10


def test_a_class_without_a_prior_is_never_decided_on():
    """It is in the annotation, and the pipeline does not know it."""
    prior, p = PREDICTIONS.prior.copy(), PREDICTIONS.probabilities.copy()
    prior[1] = p[:, 1] = 0
    rows = tau_curve(replace(PREDICTIONS, prior=prior, probabilities=p), [-1, 0, 1])
    for row, tau in zip(rows, [-1, 0, 1], strict=True):
        predicted = (p[:, [0, 2, 3]] / prior[[0, 2, 3]] ** tau).argmax(axis=1)
        predicted = np.array([0, 2, 3])[predicted]
        recall = recall_score(PREDICTIONS.gold, predicted, average="macro")
        assert row["tag_uar"] == pytest.approx(recall)


def test_there_is_none_without_probabilities_or_prior():
    assert tau_curve(replace(PREDICTIONS, probabilities=None)) is None
    assert tau_curve(replace(PREDICTIONS, prior=None)) is None


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
