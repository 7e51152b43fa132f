"""Counts per document: what they count, and that they add up."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spacy_btl.errors import CorpusError
from spacy_btl.metrics.counts import (
    N_BINS,
    document_counts,
    load_counts,
    save_counts,
    total,
    weighted,
    widened,
)
from spacy_btl.metrics.matching import are_among, are_correct, partial_credit
from spacy_btl.metrics.predictions import ENTITY
from tests.evaluation.made_up import CLASSES, one_document, predictions_of, random_predictions


def test_every_count_by_hand():
    predictions = predictions_of(
        [
            (["O"], ["B-Test"]),
            (
                ["B-Sign", "I-Sign", "O", "B-Test", "B-Sign", "O"],
                ["B-Sign", "O", "O", "B-Test", "B-Sign", "I-Sign"],
            ),
        ]
    )
    counts = document_counts(predictions)
    assert predictions.classes == ("O", "Sign", "Test")
    # Rows: correct, gold, predicted.
    tokens = [
        [[0, 0, 0], [1, 0, 0], [0, 0, 1]],
        [[1, 2, 1], [2, 3, 1], [2, 3, 1]],
    ]
    assert counts["tokens"].tolist() == tokens
    assert counts["entities"].tolist() == [[[0, 0], [0, 0], [0, 1]], [[0, 1], [2, 1], [2, 1]]]
    assert counts["overlaps"].tolist() == [[0, 0], [1, 1]]  # two Signs overlap, half each
    expected = {"documents", "tokens", "entities", "overlaps"}
    assert set(counts) == expected  # no probabilities, no confidence
    assert counts["documents"].tolist() == [1, 1]


def test_an_entity_is_matched_to_one_other_at_most():
    wide = (["B-Sign", "O", "B-Sign"], ["B-Sign", "I-Sign", "I-Sign"])
    other_type = (["B-Sign", "O", "O"], ["B-Test", "O", "O"])
    for corpus, overlaps in (([wide], 0.5), ([wide[::-1]], 0.5), ([other_type], 0)):
        assert document_counts(predictions_of(corpus))["overlaps"].sum() == overlaps


def test_a_gold_entity_counts_once_where_two_predicted_ones_fall_on_its_token():
    predictions = predictions_of([(["B-Sign", "O"], ["B-Sign", "O"])])
    doubled = np.repeat(predictions.predicted_ents, 2)
    doubled = replace(predictions, predicted_ents=doubled, confidence=np.array([0.9, 0.9]))
    assert doubled.correct.tolist() == [True, False]
    assert document_counts(doubled)["entities"].tolist() == [[[1], [1], [2]]]
    assert document_counts(doubled)["overlaps"].tolist() == [[1]]


def test_an_entity_of_another_document_is_another_entity():
    predictions = predictions_of([(["B-Sign"], ["O"]), (["O"], ["B-Sign"])])
    assert not predictions.correct.any()
    assert not document_counts(predictions)["overlaps"].any()


def test_calibration_by_hand():
    predictions = predictions_of([(["B-Sign", "O"], ["B-Sign", "B-Sign"]), (["O"], ["O"])])
    p = np.array([[0.3, 0.7], [0.4, 0.6], [1, 0]], dtype="float32")
    counts = document_counts(replace(predictions, probabilities=p, confidence=np.array([0.9, 1])))
    n, confidence, right = np.moveaxis(counts["token_bins"], 1, 0)
    assert n.shape == (2, N_BINS)
    assert n[0].nonzero()[0].tolist() == [9, 10]  # 0.6 and 0.7 of 15 bins
    assert n[1].nonzero()[0].tolist() == [14]  # 1 is in the last
    assert confidence.sum(axis=1) == pytest.approx([1.3, 1])
    assert right.sum(axis=1).tolist() == [1, 1]
    brier = [0.3**2 + 0.3**2 + 0.6**2 + 0.6**2, 0]
    nll = [-np.log(0.7) - np.log(0.4), 0]
    assert counts["token_losses"] == pytest.approx(np.array([brier, nll]).T)
    n, confidence, right = np.moveaxis(counts["entity_bins"], 1, 0)
    assert n[0].nonzero()[0].tolist() == [13, 14]
    assert (confidence[0].sum(), right[0].sum()) == (pytest.approx(1.9), 1)
    brier, nll = counts["entity_losses"][0]
    assert brier == pytest.approx(0.1**2 + 1)
    assert 10 < nll < 20  # certain and wrong: large, not infinite


def test_entities_without_confidence_have_no_part_in_calibration():
    predictions = random_predictions()
    known = ~np.isnan(predictions.confidence)
    assert 0 < known.sum() < len(known)
    counts = document_counts(predictions)
    assert counts["entity_bins"][:, 0].sum() == known.sum()
    none = replace(predictions, confidence=np.full(len(known), np.nan))
    assert "entity_bins" not in document_counts(none)


def test_counts_of_documents_are_those_of_each_alone():
    predictions = random_predictions(6)
    counts = document_counts(predictions)
    for doc in range(6):
        alone = document_counts(one_document(predictions, doc))
        for name, values in alone.items():
            assert counts[name][doc] == pytest.approx(values[0]), name


def test_a_weighted_sum_is_the_count_of_documents_taken_so_often():
    predictions = random_predictions(4)
    weights = [[1, 1, 1, 1], [2, 0, 1, 1], [0, 4, 0, 0]]
    sums = weighted(document_counts(predictions), np.array(weights, dtype=float))
    for row, times in enumerate(weights):
        docs = np.repeat(np.arange(4), times)
        literal = [total(document_counts(one_document(predictions, doc))) for doc in docs]
        assert sums.keys() == literal[0].keys()
        for name in literal[0]:
            values = sum(counts[name] for counts in literal)
            assert sums[name][row] == pytest.approx(values), name


def test_more_classes_widen_the_counts_and_change_none():
    predictions = random_predictions(3)
    wider = ("O", "Aim", *CLASSES[1:], "Zone")
    counts = document_counts(predictions)
    wide = widened(counts, CLASSES, wider)
    columns = [wider.index(label) for label in CLASSES]
    assert wide["tokens"].shape == (3, 3, 6)
    assert (wide["tokens"][..., columns] == counts["tokens"]).all()
    assert wide["tokens"].sum() == counts["tokens"].sum()
    types = np.array(columns[1:]) - 1
    for name in ("entities", "overlaps"):
        assert (wide[name][..., types] == counts[name]).all()
        assert wide[name].sum() == counts[name].sum()


def test_a_pipeline_may_predict_nothing():
    predictions = predictions_of([(["B-Sign", "O"], ["O", "O"])])
    counts = document_counts(predictions)
    assert counts["entities"].tolist() == [[[0], [1], [0]]]
    assert predictions.predicted_ents.dtype == ENTITY


@pytest.mark.parametrize(
    "predictions", [random_predictions(), predictions_of([(["O", "O"], ["O", "O"])])]
)
def test_a_file_keeps_all(predictions, tmp_path):
    counts = document_counts(predictions)
    save_counts(tmp_path / "c.npz", counts, predictions.classes)
    found, classes = load_counts((tmp_path / "c.npz").read_bytes(), "c.npz")
    assert classes == predictions.classes
    assert found.keys() == counts.keys()
    for name, values in counts.items():
        whole = name in ("documents", "tokens", "entities", "overlaps")
        np.testing.assert_allclose(found[name], values, rtol=0, atol=0 if whole else 1 / 2000)
    assert list(tmp_path.iterdir()) == [tmp_path / "c.npz"]


def test_damaged_files_are_a_clear_error(tmp_path):
    predictions = random_predictions()
    save_counts(tmp_path / "c.npz", document_counts(predictions), predictions.classes)
    save_counts(tmp_path / "classes.npz", document_counts(predictions), ["O"])
    whole = (tmp_path / "c.npz").read_bytes()
    np.savez(tmp_path / "other.npz", classes=np.array(["O"]))
    (tmp_path / "cut.npz").write_bytes(whole[:-40])
    (tmp_path / "text.npz").write_text("no archive")
    for name in ("cut", "text", "other", "classes"):
        with pytest.raises(CorpusError, match=f"{name}.npz: not a file of counts"):
            load_counts((tmp_path / f"{name}.npz").read_bytes(), f"{name}.npz")


# Which entities are correct, against sets of tuples, and the partial credit by hand.

ROWS = st.lists(st.tuples(*[st.integers(0, 2)] * 3), max_size=8).map(
    lambda rows: np.array(rows, dtype="int64").reshape(-1, 3)
)


@given(ROWS, ROWS)
def test_each_gold_entity_counts_once(predicted, gold):
    free = set(map(tuple, gold.tolist()))
    expected = []
    for entity in map(tuple, predicted.tolist()):
        expected.append(entity in free)
        free.discard(entity)
    assert are_correct(predicted, gold).tolist() == expected


@given(ROWS, ROWS)
def test_each_mention_counts_if_it_is_predicted(mentions, predicted):
    known = set(map(tuple, predicted.tolist()))
    assert are_among(mentions, predicted).tolist() == [tuple(m) in known for m in mentions.tolist()]


@pytest.mark.parametrize(
    ("gold", "predicted", "credit"),
    [
        ([(0, 2)], [(0, 2)], 1),
        ([(0, 2)], [(1, 4)], 0.5),
        ([(0, 2)], [(2, 4)], 0),
        ([(0, 1), (2, 3)], [(0, 3)], 0.5),  # matched to one at most
        ([(0, 3)], [(0, 1), (2, 3)], 0.5),
        ([(0, 1), (2, 5)], [(0, 1), (3, 5)], 1.5),
    ],
)
def test_partial_credit_by_hand(gold, predicted, credit):
    assert partial_credit(gold, predicted) == credit
