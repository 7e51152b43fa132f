"""Intervals of few, against scipy's and by simulation."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binomtest

from spacy_btl.evaluation.summary import summarize
from spacy_btl.metrics.bounds import FEW, f_share, gap, mean, share
from spacy_btl.metrics.measures import headline
from tests.evaluation.made_up import predictions_of, random_predictions


def scipys(part: int, whole: int) -> tuple[float, float]:
    interval = binomtest(part, whole).proportion_ci(method="wilson")
    return interval.low, interval.high


@pytest.mark.parametrize(("part", "whole"), [(0, 1), (1, 1), (3, 3), (3, 5), (29, 30), (500, 1000)])
def test_shares_have_wilsons_interval(part, whole):
    interval, n = share(np.array([part, part]), np.array([whole, whole]))
    assert n.tolist() == [whole] * 2
    assert interval.value == pytest.approx([part / whole] * 2)
    assert interval.low == pytest.approx([scipys(part, whole)[0]] * 2)
    assert interval.high == pytest.approx([scipys(part, whole)[1]] * 2)


def test_nothing_is_known_of_nothing():
    assert share(np.array(0.0), np.array(0.0)).interval == (0, 0, 1)


def test_f1_has_the_interval_of_the_overlap():
    interval, _ = f_share(np.array(6), np.array(8), np.array(10))
    assert interval.value == pytest.approx(2 * 6 / 18)
    bounds = [2 * bound / (1 + bound) for bound in scipys(6, 12)]
    assert [interval.low, interval.high] == pytest.approx(bounds)


def test_the_interval_of_a_mean_holds_the_true_mean_as_often_as_it_says():
    rng = np.random.default_rng(0)
    truth, n = np.array([0.9, 0.5, 0.7, 0.2]), np.array([5, 12, 40, 8])
    held = np.array([True, True, True, False])
    drawn = rng.binomial(n, truth, size=(1000, 4))
    hits = 0
    for right in drawn:
        value, low, high = mean(share(right, n), held).interval
        assert low <= value <= high
        assert value == pytest.approx((right / n)[:3].mean())
        hits += low <= truth[:3].mean() <= high
    assert 0.92 < hits / 1000 < 0.99


def test_a_calibration_error_of_few_is_what_their_bins_allow():
    bins = np.zeros((3, 15))
    bins[:, 13] = [2, 1.8, 2]  # two entities, both right, said to be so by 90%
    value, low, high = gap(bins)
    assert value == pytest.approx(0.1)
    assert low == 0  # 0.9 is in Wilson's interval of 2 of 2
    assert high == pytest.approx(0.9 - scipys(2, 2)[0])


def test_one_mention_claims_no_certainty():
    """Everything that is found is right: no figure has an interval of no width for it."""
    one = predictions_of([(["B-Sign", "O", "O"], ["B-Sign", "O", "O"])])
    metrics = summarize(one, seed=0)
    for row in (metrics["types"]["Sign"]["ents_r"], metrics["scores"]["ents_r"]):
        assert (row["value"], row["high"]) == (1, 1)
        assert row["low"] == pytest.approx(scipys(1, 1)[0])
    for name in headline(metrics["scores"]):
        row = metrics["scores"][name]
        assert row["low"] <= row["value"] <= row["high"]
        assert row["high"] - row["low"] > 0.2, name
    assert metrics["cautions"] == [
        "1 document(s) or patient(s): too few to generalize from.",
        "1 annotated mention(s): too few to judge a pipeline by.",
    ]


def test_a_calibration_error_claims_no_certainty_where_all_is_right():
    one = (["B-Sign", "O", "O"], ["B-Sign", "O", "O"])
    sixty = predictions_of([one] * 60)
    metrics = summarize(replace(sixty, confidence=np.full(60, 0.97)), seed=0)
    row = metrics["scores"]["ents_ece"]
    assert row["value"] == pytest.approx(0.03)
    assert row["low"] == 0  # 0.97 is in Wilson's interval of 60 of 60
    assert row["high"] == pytest.approx(0.97 - scipys(60, 60)[0])


def test_no_interval_is_narrower_than_wilsons_and_each_holds_its_value():
    predictions = random_predictions(30)
    metrics = summarize(predictions, seed=0)
    for row in metrics["scores"].values():
        assert row["low"] <= row["value"] <= row["high"]
    assert metrics["cautions"] == []
    gold, predicted = (
        np.bincount(ents["label"], minlength=4)
        for ents in (predictions.gold_ents, predictions.predicted_ents)
    )
    for number, label in enumerate(predictions.classes[1:], start=1):
        rows = metrics["types"][label]
        for name, n in (("ents_r", gold[number]), ("ents_p", predicted[number])):
            row = rows[name]
            low, high = scipys(round(row["value"] * n), n)
            if n < FEW:
                assert (row["low"], row["high"]) == pytest.approx((low, high))
            else:
                assert row["low"] <= low + 1e-9
                assert row["high"] >= high - 1e-9


def test_a_type_that_is_never_reported_has_a_precision_that_nobody_knows():
    notes = [(["B-Sign", "O"], ["O", "O"]), (["B-Test", "O"], ["B-Test", "O"])] * 5
    row = summarize(predictions_of(notes), seed=0)["types"]["Sign"]["ents_p"]
    assert row == {"value": 0, "low": 0, "high": 1}


@pytest.mark.parametrize(
    ("predicted", "caution"),
    [
        (["O", "O", "O"], "No entity is predicted: has the network learned anything?"),
        (["O", "O", "B-Sign"], "None of the 40 predicted entities is correct"),
    ],
)
def test_a_pipeline_that_learned_nothing_is_told(predicted, caution):
    notes = [(["B-Sign", "O", "O"], predicted)] * 40
    predictions = predictions_of(notes)
    predictions = replace(predictions, confidence=np.full(len(predictions.predicted_ents), 0.02))
    metrics = summarize(predictions, seed=0)
    assert metrics["cautions"][0].startswith(caution)
    assert "ents_ece" not in metrics["scores"]
