"""The numbers of documents against loops over words, and the comparison of notes with them."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit, logit
from scipy.stats import mannwhitneyu

from spacy_btl.calibration.calibration_maps import ConfidenceMap, Maps, TokenMap
from spacy_btl.calibration.mention_map import Found
from spacy_btl.calibration.reference import (
    COUNTS,
    DISTANCE,
    FEATURES,
    N_FIXED,
    Reference,
    Tokens,
    describe,
)
from spacy_btl.calibration.settings import Settings
from spacy_btl.calibration.unlike import (
    PERMUTATIONS,
    compare,
    expected_accuracy,
    is_far,
    prior_shift,
    shift_prior,
)
from spacy_btl.errors import CalibratorError
from spacy_btl.mentions import OverlappingScheme
from spacy_btl.tags import Runs, TagScheme

TYPES = ("Sign", "Test")
WHERE = "somewhere/reference.safetensors"


@pytest.mark.parametrize("overlapping", [False, True])
def test_a_row_is_what_a_loop_over_the_words_counts(overlapping):
    rng = np.random.default_rng(0)
    documents = np.array([0] * 5 + [2] * 4)
    scheme = OverlappingScheme(TYPES, "IO") if overlapping else TagScheme(TYPES)
    p = rng.random((9, 2, 4) if overlapping else (9, 3))
    if overlapping:
        p[..., :2] /= p[..., :2].sum(axis=-1, keepdims=True)
    else:
        p /= p.sum(axis=1, keepdims=True)
    nearest = np.array([1.0, np.nan, 3, 4, 5, 6, np.nan, 8, 9])
    seen = np.array([1, 0, 1, 1, 1, 1, 1, 1, 1], dtype=bool)
    runs = Runs(np.array([0, 3, 6]), np.array([1, 3, 7]), np.array([0, 1, 1]))
    first, scores = np.array([0, 1, 3, 6, 7]), np.array([0.9, 0.2, 0.6, 0.8, 0.1])
    found = Found(runs, np.array([0.9, 0.6, 0.8]), first, scores)
    rows = describe(Tokens(documents, p, seen, nearest), found, scheme, 3)
    assert rows.shape == (3, N_FIXED + len(TYPES))
    assert not rows[1].any()
    for number, mentions, scored in ((0, [0, 1], [0, 1, 2]), (2, [2], [3, 4])):
        words = np.flatnonzero(documents == number)
        types = p[words, :, 1] if overlapping else p[words, 1:]
        if overlapping:
            wrong = [1 - min(p[i, k, :2].max() for k in range(2)) for i in words]
        else:
            wrong = [1 - p[i].max() for i in words]
        expected = [
            len(words),
            len(mentions),
            len(scored),
            np.mean(~seen[words]),
            np.nanmean(np.log1p(nearest[words])),
            np.mean(wrong),
            len(mentions) / len(words),
            found.confidences[mentions].mean(),
            scores[scored].mean(),
            *types.mean(axis=0),
        ]
        np.testing.assert_allclose(rows[number], expected)


def made_up_rows(n: int, seed: int, *, distance: float = 0.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    rows = rng.normal(0.5, 0.05, (n, N_FIXED + len(TYPES))).clip(0.01, 0.99)
    rows[:, : len(COUNTS)] = rng.integers(10, 50, (n, len(COUNTS)))
    rows[:, len(COUNTS) + DISTANCE] += distance
    return rows


def made_up_reference(n: int = 15, seed: int = 0) -> Reference:
    rows = made_up_rows(n, seed)
    known = rows[:, 1].astype("int64")
    return Reference(rows, np.stack([known, known // 2], axis=1))


def test_it_is_saved_and_checked():
    reference = made_up_reference()
    back = Reference.from_bytes(reference.to_bytes(), where=WHERE)
    np.testing.assert_array_equal(back.rows, reference.rows)
    np.testing.assert_array_equal(back.judged, reference.judged)
    rows, judged = reference.rows, reference.judged
    for broken in (
        replace(reference, rows=rows[:, :N_FIXED]),
        replace(reference, rows=-rows),
        replace(reference, rows=np.where(rows == rows.max(), np.nan, rows)),
        replace(reference, rows=rows.astype("float32")),
        replace(reference, judged=judged[1:]),
        replace(reference, judged=judged[:, ::-1].copy()),
    ):
        with pytest.raises(CalibratorError, match=r"reference in somewhere/ref.*Fit it again"):
            Reference.from_bytes(broken.to_bytes(), where=WHERE)
    with pytest.raises(CalibratorError, match="damaged"):
        Reference.from_bytes(reference.to_bytes()[:-1], where=WHERE)


def test_notes_of_the_same_source_are_told_apart_as_rarely_as_the_p_value_says():
    p_values = np.array(
        [
            compare(made_up_reference(12, seed), made_up_rows(8, 1000 + seed), TYPES).p_value
            for seed in range(100)
        ]
    )
    assert (p_values < 0.05).mean() <= 0.1  # 5, give or take 2 standard errors
    assert 0.35 < np.median(p_values) < 0.65


def test_notes_that_are_farther_from_labelled_words_are_unlike():
    reference = made_up_reference()
    far = compare(reference, made_up_rows(10, 1, distance=0.3), TYPES)
    assert far.unlike
    assert far.p_value == 1 / (PERMUTATIONS + 1)
    assert far.differences[0].feature == FEATURES[DISTANCE]
    assert far.differences[0].now > far.differences[0].before
    assert not compare(reference, made_up_rows(10, 1), TYPES).unlike


def test_a_difference_is_that_of_mann_and_whitney():
    reference, rows = made_up_reference(), made_up_rows(9, 3)
    column = len(COUNTS) + DISTANCE
    u, _ = mannwhitneyu(rows[:, column], reference.rows[:, column])
    n, m = len(rows), len(reference.rows)
    expected = (u - n * m / 2) / np.sqrt(n * m * (n + m + 1) / 12)
    (found,) = [
        one.z
        for one in compare(reference, rows, TYPES).differences
        if one.feature == FEATURES[DISTANCE]
    ]
    assert found == pytest.approx(expected)


def test_what_is_the_same_everywhere_tells_nothing_and_empty_notes_are_left_out():
    reference = made_up_reference()
    column = len(COUNTS)
    reference.rows[:, column] = 0
    rows = np.concatenate([made_up_rows(6, 1), np.zeros((3, reference.rows.shape[1]))])
    rows[:, column] = 0
    found = compare(reference, rows, TYPES)
    assert found.notes == 6
    assert [one.z for one in found.differences if one.feature == FEATURES[0]] == [0]
    with pytest.raises(CalibratorError, match="no note with words"):
        compare(reference, rows[6:], TYPES)
    with pytest.raises(CalibratorError, match="other entity types"):
        compare(reference, rows, ("Sign",))


def test_so_few_notes_cannot_be_told_apart():
    assert not compare(made_up_reference(15), made_up_rows(1, 0), TYPES).possible
    assert compare(made_up_reference(15), made_up_rows(4, 0), TYPES).possible


def test_a_single_note_is_far_by_the_spread_of_the_held_out_ones():
    reference = made_up_reference(30)
    near = made_up_rows(300, 5)
    assert np.mean([is_far(reference, row) for row in near]) <= 0.03
    assert is_far(reference, made_up_rows(1, 6, distance=0.4)[0])
    assert not is_far(reference, made_up_rows(1, 6, distance=-0.4)[0])  # nearer is not farther
    assert not is_far(made_up_reference(2), made_up_rows(1, 6, distance=0.4)[0])


def test_the_prior_is_the_mean_of_the_probabilities():
    """On the counts that its formula has: half of 100 candidates, then a tenth."""
    column = len(COUNTS) + FEATURES.index("share of candidates that are correct")
    rows = made_up_rows(4, 0)
    rows[:, 2] = 25
    before, now = rows.copy(), rows.copy()
    before[:, column], now[:, column] = 0.5, 0.1
    reference = Reference(before, np.zeros((4, 2), "int64"))
    assert prior_shift(reference, now) == pytest.approx(logit(11 / 102))
    assert prior_shift(reference, before) == pytest.approx(0)
    confidence = len(COUNTS) + FEATURES.index("confidence")
    now[:, confidence] = 0.7
    expected = expit(logit(0.7) + logit(11 / 102))
    assert expected_accuracy(reference, now) == pytest.approx(expected)


def test_another_prior_moves_the_log_odds_of_all():
    maps = Maps(TokenMap(), ConfidenceMap(1.0, 1.0, 0.0, n_entities=10**6), Settings())
    p = np.linspace(0.05, 0.95, 7)
    moved = shift_prior(maps, -0.7).confidence
    np.testing.assert_allclose(logit(moved(p)), logit(maps.confidence(p)) - 0.7)
