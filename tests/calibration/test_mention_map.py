"""Candidates for mentions, against loops over words; their map, against scikit-learn's pipeline."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

from spacy_btl.calibration.calibration_maps import Maps
from spacy_btl.calibration.calibrator import Calibrator
from spacy_btl.calibration.candidates import (
    FEATURES,
    LEVELS,
    Words,
    border_log_odds,
    choose,
    describe,
    find_candidates,
    type_log_odds,
)
from spacy_btl.calibration.datastore import Datastore
from spacy_btl.calibration.fit_mentions import TOLERANCE, fit_mention_map
from spacy_btl.calibration.held_out import HeldOut
from spacy_btl.calibration.mention_map import MentionMap
from spacy_btl.errors import CalibratorError
from spacy_btl.lines import OTHER_LINE, PARAGRAPH, SAME_LINE
from spacy_btl.mentions import OverlappingScheme
from spacy_btl.tags import Runs
from tests.calibration.made_up import made_up_datastore

TYPES = ("Scope", "Sign", "Test")
LENGTHS = [1, 30, 25, 2]


def made_up(name: str = "IO", seed: int = 0, types: tuple[str, ...] = TYPES):
    """A scheme; probabilities of words of several documents and lines; and where they stand."""
    rng = np.random.default_rng(seed)
    scheme = OverlappingScheme(types, name)
    documents = np.repeat(np.arange(len(LENGTHS)), LENGTHS)
    breaks = np.where(rng.random(len(documents)) < 0.1, OTHER_LINE, SAME_LINE).astype("int8")
    breaks[np.diff(documents, prepend=-1) > 0] = PARAGRAPH
    log_odds = np.cumsum(rng.normal(0, 1.5, (len(documents), len(types))), axis=0) * 0.7
    inside = expit(log_odds - log_odds.mean(axis=0) - 0.5)
    share = rng.random(inside.shape)
    own = [inside] if name == "IO" else [inside * share, inside * (1 - share)]
    borders = [inside * rng.random(inside.shape) for _ in range(2)]
    p = np.stack([1 - inside, *own, *borders], axis=-1)
    return scheme, p, Words(documents, breaks, np.zeros(len(documents), bool))


def rows(runs: Runs) -> list[tuple[int, int, int]]:
    return list(zip(*(values.tolist() for values in runs), strict=True))


def runs_above(p: np.ndarray, words: Words, level: float) -> set[tuple[int, int, int]]:
    found = set()
    for kind in range(p.shape[1]):
        above = logit(p[:, kind, 1:-2].sum(axis=1)) > level
        first = None
        for i in range(len(p) + 1):
            goes_on = i < len(p) and above[i] and words.breaks[i] == SAME_LINE
            if first is not None and not goes_on:
                found.add((first, i - 1, kind))
                first = None
            if first is None and i < len(p) and above[i]:
                first = i
    return found


@pytest.mark.parametrize("seed", range(5))
def test_candidates_are_the_runs_above_each_level_and_those_of_the_tags(seed):
    scheme, p, words = made_up(seed=seed)
    tags = np.zeros(p.shape[:2], dtype="int64")
    tags[3:5, 1] = 1
    expected = set().union(*(runs_above(p, words, level) for level in LEVELS))
    assert words.breaks[4] == SAME_LINE or seed
    found = rows(find_candidates(type_log_odds(p, scheme), tags, words, scheme))
    assert len(found) == len(set(found))
    assert set(found) == expected | set(rows(scheme.runs(tags, words.breaks, words.short)))


def test_in_bio_only_tags_part_what_touches():
    scheme, p, words = made_up("BIO")
    one_line = words._replace(breaks=np.where(words.breaks == OTHER_LINE, 0, words.breaks))
    tags = np.zeros(p.shape[:2], dtype="int64")
    tags[10:14, 0] = 1, 2, 1, 2
    found = set(rows(find_candidates(type_log_odds(p, scheme), tags, one_line, scheme)))
    assert found == {(10, 11, 0), (12, 13, 0)}.union(
        *(runs_above(p, one_line, level) for level in LEVELS)
    )


@pytest.mark.parametrize("types", [TYPES, ("Sign",)])
@pytest.mark.parametrize("name", ["IO", "BIO"])
def test_features_are_those_that_a_loop_reads(name, types):
    scheme, p, words = made_up(name, types=types)
    tags = p[..., :-2].argmax(axis=-1)
    candidates = find_candidates(type_log_odds(p, scheme), tags, words, scheme)
    log_odds = np.clip(logit(p[..., 1:-2].sum(axis=-1)), -8, 8)
    starts, ends = (np.clip(logit(p[..., place]), -8, 8) for place in (-2, -1))

    def at(place: int, document: int, kind: int, values: np.ndarray = log_odds) -> float:
        inside = 0 <= place < len(p) and words.documents[place] == document
        return values[place, kind] if inside else -8

    found = describe(candidates, type_log_odds(p, scheme), border_log_odds(p), words)
    assert found.shape == (len(candidates.first), len(FEATURES))
    assert len(found) > 5
    for (first, last, kind), features in zip(rows(candidates), found, strict=True):
        of_words = log_odds[first : last + 1]
        others = np.delete(of_words, kind, axis=1)
        document = words.documents[first]
        ends_line = last + 1 == len(p) or words.breaks[last + 1] > 0
        expected = [
            of_words[:, kind].min(),
            of_words[:, kind].mean(),
            of_words[0, kind],
            of_words[-1, kind],
            *(at(first - step, document, kind) for step in (1, 2)),
            *(at(last + step, document, kind) for step in (1, 2)),
            others.max(axis=1).min() if len(types) > 1 else -8,
            np.log(last - first + 1),
            words.breaks[first] > 0,
            ends_line,
            starts[first, kind],
            at(last + 1, document, kind, starts),
            starts[first + 1 : last + 1, kind].max(initial=-8),
            ends[last, kind],
            at(first - 1, document, kind, ends),
            ends[first:last, kind].max(initial=-8),
        ]
        np.testing.assert_allclose(features, np.array(expected, dtype="float64"), atol=1e-9)


def test_the_best_are_chosen_and_none_overlaps_another_of_its_type():
    candidates = Runs(*np.array([[0, 4, 0], [1, 2, 0], [4, 4, 0], [0, 4, 1], [6, 6, 0]]).T)
    scores = np.array([1.0, 3.0, 2.0, 0.5, -0.1])
    assert choose(candidates, scores).tolist() == [False, True, True, True, False]
    assert not choose(candidates, -np.ones(5)).any()
    assert choose(Runs(*np.zeros((3, 0), "int64")), np.zeros(0)).tolist() == []


def made_up_candidates(n: int = 400, n_documents: int = 12):
    """Candidates that do not overlap, of which some features tell the correct ones."""
    rng = np.random.default_rng(0)
    features = rng.normal(0, 2, (n, len(FEATURES)))
    score = features[:, 0] + features[:, 1] * features[:, 2] / 2 - 1
    correct = rng.random(n) < expit(score)
    places = np.arange(n)
    candidates = Runs(places, places, places % 3)
    return candidates, features, correct, rng.integers(0, n_documents, n)


def reference_model():
    return make_pipeline(
        PolynomialFeatures(2, include_bias=False),
        StandardScaler(),
        LogisticRegression(C=0.1, max_iter=3000, tol=1e-8),
    )


def test_the_map_is_a_logistic_regression_over_products_of_features():
    candidates, features, correct, documents = made_up_candidates()
    fitted = fit_mention_map(candidates, features, correct, documents, 250)
    expected = reference_model().fit(features, correct).predict_proba(features)[:, 1]
    margin = 1 / (fitted.n_entities + 2)
    np.testing.assert_allclose(fitted(features), expected.clip(margin, 1 - margin), atol=2e-4)


def test_the_cutoff_is_the_lowest_of_those_that_cost_little_expected_f1():
    candidates, features, correct, documents = made_up_candidates()
    fitted = fit_mention_map(candidates, features, correct, documents, 250)
    p = np.zeros(400)
    for train, test in GroupKFold(5).split(features, groups=documents):
        model = reference_model().fit(features[train], correct[train])
        p[test] = model.predict_proba(features[test])[:, 1]
    scores = logit(p)
    f1 = [2 * p[scores >= s].sum() / ((scores >= s).sum() + 250) for s in scores]
    lowest = min(
        s for s, value in zip(scores, f1, strict=True) if value >= (1 - TOLERANCE) * max(f1)
    )
    below = max(s for s in scores if s < lowest)
    assert below - 1e-3 < fitted.cutoff < lowest + 1e-3
    assert fitted.n_entities == (scores >= lowest).sum()


@pytest.mark.parametrize("all_are", [True, False])
def test_candidates_of_one_class_give_its_share(all_are):
    candidates, features, correct, documents = made_up_candidates(20)
    correct[:] = all_are
    fitted = fit_mention_map(candidates, features, correct, documents, 10)
    assert fitted.n_entities == 20
    assert fitted(features) == pytest.approx((20 * all_are + 1) / 22)


def test_one_document_is_enough():
    candidates, features, correct, documents = made_up_candidates()
    fitted = fit_mention_map(candidates, features, correct, 0 * documents, 250)
    agreeing = (fitted(features) > 0.5) == correct
    assert agreeing.mean() > 0.8


# In the calibrator


def annotated(scheme: OverlappingScheme, p: np.ndarray, words: Words) -> HeldOut:
    """Held-out words whose gold mentions are the runs above a level of 1, which no decision at 0
    finds."""
    n = len(p)
    numbers = np.arange(n)
    gold = np.array(sorted(runs_above(p, words, 1.0)))
    of_borders = np.hstack([p[..., -2], p[..., -1]])
    logits = np.column_stack([np.zeros(n), logit(p[..., 1]), logit(of_borders)]).astype("float32")
    tags = np.zeros(p.shape[:2], "int8")
    for first, last, kind in gold:
        tags[first : last + 1, kind] = 1
    return HeldOut(
        logits=logits,
        tags=tags,
        documents=words.documents.astype("int32"),
        starts=(2 * numbers).astype("int32"),
        ends=(2 * numbers + 1).astype("int32"),
        breaks=words.breaks,
        short=words.short,
        gold_starts=numbers,
        gold_ends=numbers + 1,
        annotated=np.ones(n, "bool"),
        gold_ents=gold + np.array([0, 1, 1]),
    )


def calibrator_of(scheme: OverlappingScheme, **settings: object) -> Calibrator:
    prior = np.array([[0.9, 0.1], [0.99, 0.01], [0.9, 0.1]])
    arrays = vars(made_up_datastore(scheme, np.zeros(0), prior=prior))
    calibrator = Calibrator(**{"knn_weight": 0, "transition_weight": 0, "tau": 0, **settings})
    calibrator.use(Datastore(**{**arrays, "tags": np.zeros((0, 3), "int8")}))
    return calibrator


@pytest.fixture
def several():
    parts = [made_up(seed=seed) for seed in range(8)]
    p = np.concatenate([part[1] for part in parts])
    documents = [part[2].documents + 10 * i for i, part in enumerate(parts)]
    breaks, short = (np.concatenate([part[2][i] for part in parts]) for i in (1, 2))
    return parts[0][0], p, Words(np.concatenate(documents), breaks, short)


def test_it_finds_mentions_that_no_threshold_finds(several):
    """Gold mentions end where the log odds fall below 1, so the tags' runs are too long."""
    scheme, p, words = several
    held_out = annotated(scheme, p, words)
    gold = {(first, end - 1, kind - 1) for first, end, kind in held_out.gold_ents.tolist()}
    calibrator = calibrator_of(scheme)
    p = calibrator.predict_proba(held_out.logits)
    before = set(rows(calibrator.find_entities(p, words)[0]))
    calibrator.fit_maps(held_out)
    assert isinstance(calibrator.maps.confidence, MentionMap)
    runs, confidences = calibrator.find_entities(calibrator.predict_proba(held_out.logits), words)[
        :2
    ]
    after = set(rows(runs))

    def f1(found: set[tuple[int, int, int]]) -> float:
        return 2 * len(found & gold) / (len(found) + len(gold))

    assert f1(after) > f1(before) + 0.2
    assert rows(runs) == sorted(after)
    correct = [run in gold for run in rows(runs)]
    assert abs(np.mean(correct) - confidences.mean()) < 0.1


def test_tau_of_a_type_moves_its_mentions_alone(several):
    scheme, _, words = several
    held_out = annotated(*several)
    calibrator = calibrator_of(scheme).fit_maps(held_out)
    p = calibrator.predict_proba(held_out.logits)
    found = {
        tau: rows(calibrator.find_entities(p, words, tau={"Sign": tau})[0])
        for tau in (-0.5, 0.0, 0.5)
    }
    number = scheme.types.index("Sign")
    others = [[row for row in found[tau] if row[2] != number] for tau in found]
    assert others[0] == others[1] == others[2] != []
    signs = [{row for row in found[tau] if row[2] == number} for tau in found]
    assert len(signs[0]) < len(signs[1]) < len(signs[2])
    with pytest.raises(CalibratorError, match="tau names the types"):
        calibrator.find_entities(p, words, tau={"Other": 1.0})


def test_the_map_is_saved_with_the_others(several):
    calibrator = calibrator_of(several[0]).fit_maps(annotated(*several))
    maps = calibrator.maps
    assert Maps.from_bytes(maps.to_bytes(), where="here") == maps
    for broken in (
        replace(maps.confidence, n_entities=0),
        replace(maps.confidence, weights=maps.confidence.weights[1:]),
        replace(maps.confidence, bias=float("nan")),
    ):
        with pytest.raises(CalibratorError, match="maps in here"):
            Maps.from_bytes(replace(maps, confidence=broken).to_bytes(), where="here")


def test_how_many_mentions_it_was_fitted_to_bounds_confidence_alone(several):
    """A map of few mentions chooses by its weights, as one of many does."""
    scheme, _, words = several
    calibrator = calibrator_of(scheme).fit_maps(annotated(*several))
    p = calibrator.predict_proba(annotated(*several).logits)
    found, confidences, *_ = calibrator.find_entities(p, words)
    few = replace(calibrator.maps.confidence, n_entities=1)
    calibrator.maps = replace(calibrator.maps, confidence=few)
    again, bounded, *_ = calibrator.find_entities(p, words)
    assert rows(again) == rows(found)
    assert confidences.max() > 0.9
    np.testing.assert_allclose(bounded, confidences.clip(1 / 3, 2 / 3))


def test_without_a_correct_candidate_there_is_nothing_to_fit(several):
    """All candidates would be as likely as each other, and all be mentions."""
    scheme, p, words = several
    held_out = annotated(scheme, p, words)
    none = replace(held_out, tags=np.zeros_like(held_out.tags), gold_ents=held_out.gold_ents[:0])
    with pytest.raises(CalibratorError, match="No candidate is a gold mention"):
        calibrator_of(scheme).fit_maps(none)


def test_without_a_candidate_there_is_nothing_to_fit(several):
    scheme, p, words = several
    held_out = annotated(scheme, p, words)
    none = replace(
        held_out,
        logits=held_out.logits - 50 * (np.arange(10) > 0).astype("float32"),
        tags=np.zeros_like(held_out.tags),
        gold_ents=held_out.gold_ents[:0],
    )
    with pytest.raises(CalibratorError, match="No entity is predicted"):
        calibrator_of(scheme).fit_maps(none)
