"""The figures against scikit-learn (tokens, calibration), seqeval, nervaluate and spaCy's scorer
(entities)."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from nervaluate import Evaluator
from seqeval.metrics import classification_report
from seqeval.metrics import f1_score as seqeval_f1
from seqeval.metrics import precision_score as seqeval_precision
from seqeval.metrics import recall_score as seqeval_recall
from seqeval.scheme import IOB2
from sklearn.metrics import accuracy_score, brier_score_loss, f1_score, log_loss, recall_score

from spacy_btl.metrics.counts import document_counts, strictly_right, total, weighted
from spacy_btl.metrics.scorer import score_ner
from spacy_btl.metrics.scores import HEADLINE, figures, type_figures
from tests.evaluation.made_up import (
    CLASSES,
    examples_of,
    predictions_of,
    random_predictions,
    tagger,
)
from tests.metrics.test_scorer import CORPUS, classes


def has_entity(corpus):
    return any(tag != "O" for gold, _ in corpus for tag in gold)


ANNOTATED = CORPUS.filter(has_entity)


def figures_of(corpus):
    return figures(total(document_counts(predictions_of(corpus))))


@settings(max_examples=25)
@given(ANNOTATED)
def test_they_are_those_of_spacys_scorer_and_ours(corpus):
    examples = examples_of(corpus, tagger())
    for example in examples:
        example.predicted = tagger()(example.predicted)
    scores = score_ner(examples)
    values = figures_of(corpus)
    for ours, theirs in (
        ("entity_micro_p", "ents_p"),
        ("entity_micro_r", "ents_r"),
        ("entity_micro_f", "ents_f"),
        ("entity_macro_f", "ents_macro_f"),
        ("uar", "tag_uar"),
        ("token_macro_f", "tag_macro_f"),
    ):
        assert values[ours] == pytest.approx(scores[theirs], abs=1e-12), ours


@settings(max_examples=25)
@given(ANNOTATED)
def test_entity_figures_are_seqevals(corpus):
    gold, predicted = [tags for tags, _ in corpus], [tags for _, tags in corpus]
    strict = {"mode": "strict", "scheme": IOB2, "zero_division": 0}
    values = figures_of(corpus)
    assert values["entity_micro_p"] == pytest.approx(seqeval_precision(gold, predicted, **strict))
    assert values["entity_micro_r"] == pytest.approx(seqeval_recall(gold, predicted, **strict))
    assert values["entity_micro_f"] == pytest.approx(seqeval_f1(gold, predicted, **strict))
    report = classification_report(gold, predicted, output_dict=True, **strict)
    types = sorted({label for tags in gold for label in classes(tags)} - {"O"})
    macro = sum(report[label]["f1-score"] for label in types) / len(types)
    assert values["entity_macro_f"] == pytest.approx(macro)
    predictions = predictions_of(corpus)
    per_type = type_figures(total(document_counts(predictions)))
    for i, label in enumerate(predictions.classes[1:]):
        for ours, theirs in (("precision", "precision"), ("recall", "recall"), ("f", "f1-score")):
            value = per_type[ours][i]
            assert value == pytest.approx(
                report[label][theirs] if label in types else np.nan, nan_ok=True
            )


@settings(max_examples=25)
@given(ANNOTATED)
def test_partial_figures_are_nervaluates(corpus):
    gold, predicted = [tags for tags, _ in corpus], [tags for _, tags in corpus]
    labels = sorted({label for tags in gold + predicted for label in classes(tags)} - {"O"})
    results = Evaluator(gold, predicted, tags=labels, loader="list").evaluate()["entities"]
    partial = {label: results[label]["partial"] for label in labels}
    gold_types = {label for tags in gold for label in classes(tags)} - {"O"}
    values = figures_of(corpus)
    macro = sum(partial[label].f1 for label in gold_types) / len(gold_types)
    assert values["partial_macro_f"] == pytest.approx(macro)
    worth = sum(result.correct + 0.5 * result.partial for result in partial.values())
    n = sum(result.actual + result.possible for result in partial.values())
    assert values["partial_micro_f"] == pytest.approx(2 * worth / n)


def test_token_figures_are_scikit_learns():
    predictions = random_predictions()
    gold, predicted = predictions.gold, predictions.predicted
    values = figures(total(document_counts(predictions)))
    macro = {"average": "macro", "zero_division": 0}
    assert values["uar"] == pytest.approx(recall_score(gold, predicted, **macro))
    assert values["uar_types"] == pytest.approx(
        recall_score(gold, predicted, labels=[1, 2, 3], **macro)
    )
    assert values["token_macro_f"] == pytest.approx(f1_score(gold, predicted, **macro))
    assert values["token_accuracy"] == pytest.approx(accuracy_score(gold, predicted))
    per_type = type_figures(total(document_counts(predictions)))
    each = {"labels": [1, 2, 3], "average": None, "zero_division": 0}
    assert per_type["token_recall"] == pytest.approx(recall_score(gold, predicted, **each))
    assert per_type["token_f"] == pytest.approx(f1_score(gold, predicted, **each))


def test_losses_are_scikit_learns():
    predictions = random_predictions()
    values = figures(total(document_counts(predictions)))
    p, gold = predictions.probabilities, predictions.gold
    over = {"labels": range(len(CLASSES))}
    assert values["token_nll"] == pytest.approx(log_loss(gold, p, **over), rel=1e-5)
    brier = brier_score_loss(gold, p, scale_by_half=False, **over)
    assert values["token_brier"] == pytest.approx(brier, rel=1e-5)
    known = ~np.isnan(predictions.confidence)
    right, confidence = strictly_right(predictions)[known], predictions.confidence[known]
    assert values["entity_nll"] == pytest.approx(log_loss(right, confidence))
    assert values["entity_brier"] == pytest.approx(brier_score_loss(right, confidence))


def ece(confidence, right):
    """The gap between confidence and accuracy, mean over 15 bins weighted by how many they hold."""
    edges = np.linspace(0, 1, 16)
    gaps = 0.0
    for low, high in pairwise(edges):
        inside = (confidence >= low) & (confidence < high)
        if inside.any():
            gaps += inside.mean() * abs(confidence[inside].mean() - right[inside].mean())
    return gaps


def test_calibration_errors_are_those_of_the_definition():
    predictions = random_predictions()
    values = figures(total(document_counts(predictions)))
    p = predictions.probabilities.astype(float)
    right = p.argmax(axis=1) == predictions.gold
    assert values["token_ece"] == pytest.approx(ece(p.max(axis=1), right))
    known = ~np.isnan(predictions.confidence)
    right = strictly_right(predictions)[known]
    assert values["entity_ece"] == pytest.approx(ece(predictions.confidence[known], right))
    assert values["entity_ece"] > 0.05


def test_calibration_is_of_the_probabilities_and_not_of_the_shifted_decision():
    predictions = random_predictions()
    shifted = replace(predictions, predicted=np.zeros_like(predictions.predicted))
    before, after = (figures(total(document_counts(which))) for which in (predictions, shifted))
    assert after["uar"] < before["uar"]
    assert after["token_ece"] == before["token_ece"]


def test_many_sums_at_once_are_each_alone():
    counts = document_counts(random_predictions(5))
    weights = np.random.default_rng(0).multinomial(5, [0.2] * 5, size=6).astype(float)
    for function in (figures, type_figures):
        together = function(weighted(counts, weights))
        for row in range(6):
            alone = function(weighted(counts, weights[row : row + 1]))
            for name, values in alone.items():
                assert together[name][row] == pytest.approx(values[0], nan_ok=True), name


def test_a_type_without_support_leaves_the_mean():
    corpus = [
        (["B-Sign", "O"], ["B-Sign", "O"]),
        (["B-Test", "O"], ["O", "O"]),
        (["O", "O"], ["B-Value", "O"]),
    ]
    counts = document_counts(predictions_of(corpus))
    values = figures(weighted(counts, np.array([[1, 1, 1], [1, 0, 1]], dtype=float)))
    assert values["uar"] == pytest.approx([(1 + 0 + 3 / 4) / 3, (1 + 2 / 3) / 2])
    assert values["uar_types"] == pytest.approx([1 / 2, 1])
    assert values["entity_macro_f"] == pytest.approx([1 / 2, 1])
    assert values["partial_macro_f"] == pytest.approx([1 / 2, 1])
    # Value is predicted and never gold: it costs precision, and is in no mean.
    assert values["entity_micro_p"] == pytest.approx([1 / 2, 1 / 2])
    recall = type_figures(weighted(counts, np.array([[1.0, 0, 1]])))["recall"]
    assert recall[0] == pytest.approx([1, np.nan, np.nan], nan_ok=True)


def test_there_is_no_calibration_without_probabilities():
    values = figures_of([(["B-Sign"], ["B-Sign"])])
    assert not [name for name in values if name.startswith(("token_e", "token_b", "entity_e"))]
    assert set(HEADLINE) - set(values) == {"token_ece", "entity_ece"}
    assert set(HEADLINE) <= set(figures(total(document_counts(random_predictions()))))
