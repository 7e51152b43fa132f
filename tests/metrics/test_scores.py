"""The figures against scikit-learn (tokens, calibration), seqeval, nervaluate and spaCy's scorer
(entities)."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

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

from spacy_btl.metrics.counts import document_counts, total, weighted
from spacy_btl.metrics.measures import MEASURES, TYPE_MEASURES, headline
from spacy_btl.metrics.scorer import score_ner
from spacy_btl.metrics.scores import scores, type_scores
from spacy_btl.metrics.significance import COMPARED
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


def scores_of(corpus):
    return scores(total(document_counts(predictions_of(corpus))))


@settings(max_examples=25)
@given(ANNOTATED)
def test_they_are_those_of_spacys_scorer_and_ours(corpus):
    examples = examples_of(corpus, tagger())
    for example in examples:
        example.predicted = tagger()(example.predicted)
    scores = score_ner(examples)
    values = scores_of(corpus)
    for name in ("ents_p", "ents_r", "ents_f", "ents_macro_f", "tag_uar", "tag_macro_f"):
        assert values[name] == pytest.approx(scores[name], abs=1e-12), name


@settings(max_examples=25)
@given(ANNOTATED)
def test_entity_figures_are_seqevals(corpus):
    gold, predicted = [tags for tags, _ in corpus], [tags for _, tags in corpus]
    strict = {"mode": "strict", "scheme": IOB2, "zero_division": 0}
    values = scores_of(corpus)
    assert values["ents_p"] == pytest.approx(seqeval_precision(gold, predicted, **strict))
    assert values["ents_r"] == pytest.approx(seqeval_recall(gold, predicted, **strict))
    assert values["ents_f"] == pytest.approx(seqeval_f1(gold, predicted, **strict))
    report = classification_report(gold, predicted, output_dict=True, **strict)
    types = sorted({label for tags in gold for label in classes(tags)} - {"O"})
    macro = sum(report[label]["f1-score"] for label in types) / len(types)
    assert values["ents_macro_f"] == pytest.approx(macro)
    predictions = predictions_of(corpus)
    per_type = type_scores(total(document_counts(predictions)))
    for i, label in enumerate(predictions.classes[1:]):
        for ours, theirs in (("ents_p", "precision"), ("ents_r", "recall"), ("ents_f", "f1-score")):
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
    values = scores_of(corpus)
    macro = sum(partial[label].f1 for label in gold_types) / len(gold_types)
    assert values["ents_partial_macro_f"] == pytest.approx(macro)
    worth = sum(result.correct + 0.5 * result.partial for result in partial.values())
    n = sum(result.actual + result.possible for result in partial.values())
    assert values["ents_partial_f"] == pytest.approx(2 * worth / n)


def test_token_figures_are_scikit_learns():
    predictions = random_predictions()
    gold, predicted = predictions.gold, predictions.predicted
    values = scores(total(document_counts(predictions)))
    macro = {"average": "macro", "zero_division": 0}
    assert values["tag_uar"] == pytest.approx(recall_score(gold, predicted, **macro))
    assert values["tag_uar_types"] == pytest.approx(
        recall_score(gold, predicted, labels=[1, 2, 3], **macro)
    )
    assert values["tag_macro_f"] == pytest.approx(f1_score(gold, predicted, **macro))
    assert values["tag_accuracy"] == pytest.approx(accuracy_score(gold, predicted))
    per_type = type_scores(total(document_counts(predictions)))
    each = {"labels": [1, 2, 3], "average": None, "zero_division": 0}
    assert per_type["tag_r"] == pytest.approx(recall_score(gold, predicted, **each))
    assert per_type["tag_f"] == pytest.approx(f1_score(gold, predicted, **each))


def test_losses_are_scikit_learns():
    predictions = random_predictions()
    values = scores(total(document_counts(predictions)))
    p, gold = predictions.probabilities, predictions.gold
    over = {"labels": range(len(CLASSES))}
    assert values["tag_nll"] == pytest.approx(log_loss(gold, p, **over), rel=1e-5)
    brier = brier_score_loss(gold, p, scale_by_half=False, **over)
    assert values["tag_brier"] == pytest.approx(brier, rel=1e-5)
    known = ~np.isnan(predictions.confidence)
    right, confidence = predictions.correct[known], predictions.confidence[known]
    assert values["ents_nll"] == pytest.approx(log_loss(right, confidence))
    assert values["ents_brier"] == pytest.approx(brier_score_loss(right, confidence))


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
    values = scores(total(document_counts(predictions)))
    p = predictions.probabilities.astype(float)
    right = p.argmax(axis=1) == predictions.gold
    assert values["tag_ece"] == pytest.approx(ece(p.max(axis=1), right))
    known = ~np.isnan(predictions.confidence)
    right = predictions.correct[known]
    assert values["ents_ece"] == pytest.approx(ece(predictions.confidence[known], right))
    assert values["ents_ece"] > 0.05


def test_calibration_is_of_the_probabilities_and_not_of_the_shifted_decision():
    predictions = random_predictions()
    shifted = replace(predictions, predicted=np.zeros_like(predictions.predicted))
    before, after = (scores(total(document_counts(which))) for which in (predictions, shifted))
    assert after["tag_uar"] < before["tag_uar"]
    assert after["tag_ece"] == before["tag_ece"]


def test_many_sums_at_once_are_each_alone():
    counts = document_counts(random_predictions(5))
    weights = np.random.default_rng(0).multinomial(5, [0.2] * 5, size=6).astype(float)
    for function in (scores, type_scores):
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
    values = scores(weighted(counts, np.array([[1, 1, 1], [1, 0, 1]], dtype=float)))
    assert values["tag_uar"] == pytest.approx([(1 + 0 + 3 / 4) / 3, (1 + 2 / 3) / 2])
    assert values["tag_uar_types"] == pytest.approx([1 / 2, 1])
    assert values["ents_macro_f"] == pytest.approx([1 / 2, 1])
    assert values["ents_partial_macro_f"] == pytest.approx([1 / 2, 1])
    # Value is predicted and never gold: it costs precision, and is in no mean.
    assert values["ents_p"] == pytest.approx([1 / 2, 1 / 2])
    recall = type_scores(weighted(counts, np.array([[1.0, 0, 1]])))["ents_r"]
    assert recall[0] == pytest.approx([1, np.nan, np.nan], nan_ok=True)


def test_there_is_no_calibration_without_probabilities():
    values = scores_of([(["B-Sign"], ["B-Sign"])])
    assert not [name for name in values if name.endswith(("_ece", "_brier", "_nll"))]


def test_each_score_has_a_meaning():
    predictions = random_predictions()
    mentions = replace(predictions, mentions=predictions.entities, lost=predictions.gold_ents[:9])
    counts = total(document_counts(mentions))
    every = scores(counts)
    assert set(every) == set(MEASURES)
    assert set(type_scores(counts)) == set(TYPE_MEASURES)
    shares = {name for name in every if not name.endswith(("_brier", "_nll"))}
    assert set(headline(every)) == shares
    assert set(COMPARED) < shares


def test_the_documentation_has_each_measure():
    page = (Path(__file__).parents[2] / "docs" / "evaluation.md").read_text("utf-8")
    for key, measure in MEASURES.items():
        assert f"| `{key}` | {measure.title} | {measure.meaning} |" in page
