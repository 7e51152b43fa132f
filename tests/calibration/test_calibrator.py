"""The estimator, against scikit-learn, scipy and plain numpy; no Doc and no pipeline."""

from dataclasses import fields, replace
from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax
from sklearn.neighbors import KNeighborsClassifier

from spacy_btl.calibration.calibration_maps import ConfidenceMap, Maps, TokenMap
from spacy_btl.calibration.calibrator import Calibrator
from spacy_btl.calibration.datastore import Datastore
from spacy_btl.calibration.decisions import UNSEEN
from spacy_btl.calibration.held_out import HeldOut
from spacy_btl.calibration.settings import Settings
from spacy_btl.errors import CalibratorError
from spacy_btl.lines import PARAGRAPH
from spacy_btl.search import ivf
from spacy_btl.search.ivf import cluster_search
from spacy_btl.tags import TagScheme
from tests.calibration.made_up import deciding_calibrator, made_up_datastore
from tests.conftest import PAPER

TYPES = ("Sign", "Test", "Value")
SCHEME = TagScheme(TYPES)
N_TAGS = len(SCHEME)
WHERE = "somewhere/file.safetensors"
SOFTMAX_ALONE = {"knn_weight": 0.0, "transition_weight": 0.0}


def make_datastore(n_rows: int = 150) -> Datastore:
    """Random rows, ten of which are there twice; no row has the last tag."""
    rng = np.random.default_rng(3)
    logits = rng.normal(0, 2, (n_rows, N_TAGS)).astype("float32")
    tags = rng.integers(0, N_TAGS - 1, n_rows)
    logits[10:20], tags[10:20] = logits[:10], tags[:10]
    return made_up_datastore(SCHEME, tags, logits=logits, prior=np.array([0.7, 0.2, 0.09, 0.01]))


DATASTORE = make_datastore()
# Some of them are rows themselves, which have neighbours at distance 0.
QUERIES = np.concatenate(
    [DATASTORE.logits[:40], np.random.default_rng(4).normal(0, 2, (40, N_TAGS)).astype("float32")]
)


def fitted(**settings: object) -> Calibrator:
    return Calibrator(**settings).fit(DATASTORE)


def neighbor_shares(logits: np.ndarray, k: int) -> np.ndarray:
    model = KNeighborsClassifier(k, algorithm="kd_tree").fit(DATASTORE.logits, DATASTORE.tags)
    shares = np.zeros((len(logits), N_TAGS))
    shares[:, model.classes_] = model.predict_proba(logits)
    return shares


def make_held_out(seed: int = 0, n_tokens: int = 200) -> HeldOut:
    """Words on one line, whose logits favour their gold tags; one in ten was not seen."""
    rng = np.random.default_rng(seed)
    tags = rng.choice(N_TAGS, n_tokens, p=[0.6, 0.2, 0.1, 0.1])
    logits = rng.normal(0, 2, (n_tokens, N_TAGS))
    logits[np.arange(n_tokens), tags] += 3
    logits[::10] = 0
    numbers = np.arange(n_tokens)
    borders = np.flatnonzero(np.diff(tags, prepend=-1, append=-1))
    ents = [(a, b, tags[a]) for a, b in pairwise(borders) if tags[a]]
    return HeldOut(
        logits=logits.astype("float32"),
        tags=tags.astype("int16"),
        documents=np.zeros(n_tokens, "int32"),
        starts=(2 * numbers).astype("int32"),
        ends=(2 * numbers + 1).astype("int32"),
        breaks=np.where(numbers, 0, PARAGRAPH).astype("int8"),
        short=np.zeros(n_tokens, "bool"),
        gold_starts=numbers,
        gold_ends=numbers + 1,
        annotated=np.ones(n_tokens, "bool"),
        gold_ents=np.array(ents),
    )


@pytest.mark.parametrize("k", [1, 9, 150])
def test_neighbor_probabilities_are_scikit_learns_and_one_more_neighbour(k):
    p = fitted(n_neighbors=k).neighbor_probabilities(QUERIES)
    expected = (k * neighbor_shares(QUERIES, k) + DATASTORE.prior) / (k + 1)
    np.testing.assert_allclose(p, expected, rtol=1e-12)
    np.testing.assert_allclose(p.sum(axis=1), 1)
    assert (p > 0).all()  # of the tag without a row, too


def test_one_neighbour_in_eighteen_is_spread_like_the_prior():
    datastore = made_up_datastore(SCHEME, np.full(17, 2), prior=np.array([0.9, 0.05, 0.03, 0.02]))
    calibrator = Calibrator(n_neighbors=17).fit(datastore)
    p = calibrator.neighbor_probabilities(np.ones((1, N_TAGS), "float32"))
    np.testing.assert_allclose(p, [[0.05, 0.05 / 18, 17.03 / 18, 0.02 / 18]], rtol=1e-12)


def test_a_token_surely_outside_is_not_searched_where_the_search_is_approximate(
    monkeypatch,
):
    logits = QUERIES[:4].copy()
    logits[1:3] = [[9, 0, 0, 0], [0, 9, 0, 0]]
    calibrator = Calibrator(cluster_search(), n_neighbors=3).fit(DATASTORE)
    asked, query = [], calibrator.search.query
    monkeypatch.setattr(
        calibrator.search, "query", lambda rows, k: asked.append(rows) or query(rows, k)
    )
    shares = neighbor_shares(logits, 3)
    expected = (3 * shares + DATASTORE.prior) / 4
    p = calibrator.neighbor_probabilities(logits)
    np.testing.assert_allclose(p, expected, rtol=1e-12)  # so few rows are searched exactly
    np.testing.assert_array_equal(asked.pop(), logits)
    monkeypatch.setattr(ivf, "EXACT_BELOW", 100)
    monkeypatch.setattr(ivf, "REACH", 100)
    p = calibrator.neighbor_probabilities(logits)
    np.testing.assert_array_equal(asked.pop(), logits[[0, 2, 3]])
    expected[1] = (np.array([3, 0, 0, 0]) + DATASTORE.prior) / 4
    np.testing.assert_allclose(p, expected, rtol=1e-12)
    calibrator.predict_proba(logits[1:2])
    assert not asked


@pytest.mark.parametrize("knn_weight", [0.0, 0.25, 1.0])
@pytest.mark.parametrize("k", [3, 17])
def test_probabilities_are_those_of_the_neighbours_and_the_softmax(k, knn_weight):
    calibrator = fitted(n_neighbors=k, knn_weight=knn_weight)
    p = calibrator.predict_proba(QUERIES)
    p_knn = (k * neighbor_shares(QUERIES, k) + DATASTORE.prior) / (k + 1)
    expected = knn_weight * p_knn + (1 - knn_weight) * softmax(QUERIES.astype("float64"), axis=1)
    np.testing.assert_allclose(p, expected, rtol=1e-9)
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-12)


def test_maps_calibrate_each_source_before_they_are_mixed():
    calibrator = fitted(n_neighbors=5, knn_weight=0.3)
    p_knn = calibrator.neighbor_probabilities(QUERIES)
    calibrator.maps = Maps(TokenMap(2.5, 0.5, 0.1), ConfidenceMap(1, 0, -1, 9), Settings())
    curve = p_knn**0.5 / (1 - p_knn) ** 0.1
    curve /= curve.sum(axis=1, keepdims=True)
    expected = 0.3 * curve + 0.7 * softmax(QUERIES.astype("float64") / 2.5, axis=1)
    np.testing.assert_allclose(calibrator.predict_proba(QUERIES), expected, rtol=1e-9)


@pytest.mark.parametrize("settings", [SOFTMAX_ALONE, PAPER, {}], ids=str)
def test_a_token_that_was_not_seen_is_certainly_outside(settings):
    calibrator = fitted(**{**settings, "tau": 20.0})
    logits = QUERIES[:3].copy()
    logits[1] = 0
    p = calibrator.predict_proba(logits)
    assert p[1].tolist() == [1, 0, 0, 0]
    assert calibrator.decide(p)[1] == 0
    nothing = calibrator.predict_proba(np.zeros((2, N_TAGS), "float32"))
    assert nothing.tolist() == [[1, 0, 0, 0]] * 2
    assert calibrator.predict_proba(QUERIES[:0]).shape == (0, N_TAGS)


TAUS = [
    (0.0, [0, 0, 0, 0]),
    (0.7, [0.7, 0.7, 0.7, 0.7]),
    (-1, [-1, -1, -1, -1]),
    ({"Test": 2.0, "O": 0.5}, [0.5, 0, 2, 0]),
]


@pytest.mark.parametrize(("tau", "per_tag"), TAUS, ids=str)
def test_without_transitions_each_token_is_decided_by_itself(tau, per_tag):
    p = np.random.default_rng(0).dirichlet(np.ones(N_TAGS), 300)
    expected = (p / DATASTORE.prior ** np.array(per_tag)).argmax(axis=1)
    own = deciding_calibrator(DATASTORE, tau=tau)
    other = deciding_calibrator(DATASTORE, tau=0.3)
    np.testing.assert_array_equal(own.decide(p), expected)
    np.testing.assert_array_equal(other.decide(p, tau=tau), expected)
    assert other.settings.tau == 0.3
    assert (other.decide(p) != expected).any()


def test_a_tau_of_a_type_is_that_of_its_two_tags_in_bio():
    scheme = TagScheme(("Sign", "Test"), "BIO")
    rng = np.random.default_rng(1)
    prior, p = rng.dirichlet(np.ones(5)), rng.dirichlet(np.ones(5), 100)
    calibrator = deciding_calibrator(made_up_datastore(scheme, prior=prior), tau={"Test": 1.5})
    expected = (p / prior ** np.array([0, 0, 0, 1.5, 1.5])).argmax(axis=1)
    np.testing.assert_array_equal(calibrator.decide(p), expected)


@given(st.integers(0, 10_000), st.lists(st.integers(1, 4), min_size=1, max_size=3))
def test_with_transitions_no_path_through_a_document_is_better(seed, lengths):
    rng = np.random.default_rng(seed)
    rows = rng.integers(0, N_TAGS, 12)
    p = rng.dirichlet(np.ones(N_TAGS), sum(lengths))
    prior, weight, tau = rng.dirichlet(np.ones(N_TAGS)), rng.choice([0.3, 2.0]), 0.4
    datastore = made_up_datastore(SCHEME, rows, prior=prior)
    calibrator = deciding_calibrator(datastore, transition_weight=weight, tau=tau)
    tags = calibrator.decide(p, documents=np.repeat(np.arange(len(lengths)), lengths))

    counts = np.full((N_TAGS, N_TAGS), UNSEEN)
    for pair in pairwise(rows):
        counts[pair] += 1
    matrix = np.log(counts / counts.sum(axis=1, keepdims=True))
    matrix -= np.log(counts.sum(axis=0) / counts.sum())
    scores = np.log(p) - tau * np.log(prior)
    for number, length in enumerate(lengths):
        start = sum(lengths[:number])

        def value(path: tuple[int, ...], start: int = start) -> float:
            of_tags = sum(scores[start + t, tag] for t, tag in enumerate(path))
            return of_tags + weight * sum(matrix[pair] for pair in pairwise(path))

        best = max(value(path) for path in product(range(N_TAGS), repeat=length))
        assert value(tuple(tags[start : start + length])) == pytest.approx(best)


def test_confidence_is_the_minimum_probability_until_maps_are_fitted():
    held_out = make_held_out()
    calibrator = fitted(n_neighbors=5, transition_weight=0)
    p = calibrator.predict_proba(held_out.logits)
    runs, minima = calibrator.find_entities(p, held_out.words)[:2]
    of_types = calibrator.datastore.tag_scheme.type_probabilities(p)
    for first, last, kind, value in zip(*runs, minima, strict=True):
        assert value == of_types[first : last + 1, kind].min()
    calibrator.fit_maps(held_out)
    p = calibrator.predict_proba(held_out.logits)
    runs, values = calibrator.find_entities(p, held_out.words)[:2]
    of_maps = calibrator.maps.confidence(calibrator.datastore.tag_scheme.run_probabilities(runs, p))
    assert values.tolist() == of_maps.tolist()
    assert len(values) > 10


@pytest.mark.parametrize("knn_weight", [0.0, 1.0])
def test_fitted_maps_raise_the_likelihood_of_held_out_tags(knn_weight):
    held_out = make_held_out()
    calibrator = fitted(n_neighbors=5, knn_weight=knn_weight, transition_weight=0)
    rows = np.flatnonzero(held_out.labelled)

    def log_likelihood() -> float:
        p = calibrator.predict_proba(held_out.logits)
        return float(np.log(p[rows, held_out.tags[rows]]).mean())

    before = log_likelihood()
    calibrator.fit_maps(held_out)
    assert log_likelihood() > before
    assert calibrator.maps.settings == calibrator.settings


def test_maps_can_be_fitted_to_probabilities_of_other_neighbours():
    held_out = make_held_out()
    own = fitted(n_neighbors=5).fit_maps(held_out)
    neighbors = own.neighbors(held_out.logits[held_out.seen])
    again = fitted(n_neighbors=5).fit_maps(held_out, neighbors)
    assert again.maps == own.maps
    others = neighbors._replace(p=np.tile(DATASTORE.prior, (held_out.seen.sum(), 1)))
    assert fitted(n_neighbors=5).fit_maps(held_out, others).maps.tokens != own.maps.tokens


def test_fitting_again_forgets_the_maps_and_setting_does_not():
    calibrator = fitted(n_neighbors=5).fit_maps(make_held_out())
    assert calibrator.set_params(n_neighbors=3).maps is not None
    assert calibrator.fit(make_datastore(40)).maps is None
    assert len(calibrator.datastore.tags) == 40


@pytest.mark.parametrize("with_maps", [False, True])
def test_the_bytes_hold_all_that_was_fitted(with_maps):
    calibrator = fitted(n_neighbors=5)
    if with_maps:
        calibrator.fit_maps(make_held_out())
    files = calibrator.to_bytes()
    assert set(files) == {"datastore", "maps", "reference"}
    back = Calibrator(n_neighbors=5).fit(make_datastore(30))
    back.maps = Maps(TokenMap(2), ConfidenceMap(1, 0, 0, 9), Settings())
    for name, data in files.items():
        back.from_bytes(name, data, where=WHERE)
    assert back.maps == calibrator.maps
    assert (back.reference is None) == (not with_maps)
    if with_maps:
        for name in ("rows", "judged"):
            ours, theirs = (getattr(each.reference, name) for each in (back, calibrator))
            np.testing.assert_array_equal(ours, theirs)
    for field in fields(Datastore):
        ours, theirs = (getattr(each.datastore, field.name) for each in (back, calibrator))
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(back.predict_proba(QUERIES), calibrator.predict_proba(QUERIES))
    p = calibrator.predict_proba(QUERIES)
    np.testing.assert_array_equal(back.decide(p), calibrator.decide(p))
    assert back.to_bytes() == files


def test_what_the_search_divided_is_saved_and_not_divided_again(monkeypatch):
    calibrator = Calibrator(cluster_search(), n_neighbors=5).fit(DATASTORE)
    files = calibrator.to_bytes()
    expected = calibrator.neighbor_probabilities(QUERIES)
    monkeypatch.setattr(ivf, "divide", None)
    back = Calibrator(cluster_search(), n_neighbors=5)
    back.from_bytes("datastore", files["datastore"], where="here")
    np.testing.assert_array_equal(back.neighbor_probabilities(QUERIES), expected)
    assert back.to_bytes() == files


def test_an_unfitted_calibrator_comes_back_unfitted():
    for unfitted in (Calibrator(), deciding_calibrator(made_up_datastore(SCHEME))):
        back = fitted(n_neighbors=5).fit_maps(make_held_out())
        for name, data in unfitted.to_bytes().items():
            back.from_bytes(name, data, where=WHERE)
        assert (back.datastore, back.maps) == (None, None)


@pytest.mark.parametrize("name", ["datastore", "maps"])
def test_damaged_bytes_are_an_error_that_says_where(name):
    calibrator = fitted(n_neighbors=5).fit_maps(make_held_out())
    for data in (b"", calibrator.to_bytes()[name][:-1], b"not fitted yet"):
        with pytest.raises(CalibratorError, match=f"{WHERE}.*damaged"):
            calibrator.from_bytes(name, data, where=WHERE)


OUT_OF_RANGE = [
    {"n_neighbors": 0},
    {"knn_weight": -0.1},
    {"knn_weight": 1.5},
    {"knn_weight": float("nan")},
    {"transition_weight": -1.0},
    {"transition_weight": float("nan")},
]
NO_TAU = [float("nan"), float("inf"), None, "0.5", [0.5], {"Sign": "a"}, {"Sign": float("nan")}]
WRONG = [
    *((wrong, "needs n_neighbors >= 1, knn_weight from 0 to 1, and") for wrong in OUT_OF_RANGE),
    *(({"tau": tau}, "needs a tau that is a finite number, or one per type") for tau in NO_TAU),
]


@pytest.mark.parametrize(("wrong", "message"), WRONG, ids=str)
def test_settings_out_of_range_are_refused_at_once(wrong, message):
    with pytest.raises(CalibratorError, match=message):
        Settings(**wrong)
    with pytest.raises(CalibratorError, match=message):
        Calibrator(**wrong)
    calibrator = fitted()
    with pytest.raises(CalibratorError, match=message):
        calibrator.set_params(**wrong)
    assert calibrator.settings == Settings()
    if "tau" in wrong and wrong["tau"] is not None:
        with pytest.raises(CalibratorError, match=message):
            calibrator.decide(calibrator.predict_proba(QUERIES), **wrong)


def test_a_setting_that_there_is_not_is_refused():
    for make in (Calibrator, fitted().set_params):
        with pytest.raises(TypeError, match="votes"):
            make(votes="distance")


def test_settings_are_not_those_of_the_callers_dictionary():
    tau = {"Sign": 1.0}
    calibrator = fitted(tau=tau)
    tau["Sign"] = 2.0
    assert calibrator.settings.tau == {"Sign": 1.0}


def test_a_tau_of_a_type_that_is_not_known_is_refused():
    calibrator = fitted(tau={"Sign": 1.0, "Nothing": 2.0})
    p = calibrator.predict_proba(QUERIES)
    with pytest.raises(CalibratorError, match=r"\['Nothing'\].*It knows \['O', 'Sign', 'Test'"):
        calibrator.decide(p)
    assert len(calibrator.decide(p, tau={"Sign": 1.0})) == len(p)


def test_what_an_unfitted_calibrator_cannot_do_is_a_clear_error():
    calibrator = Calibrator()
    p = np.full((1, N_TAGS), 1 / N_TAGS)
    for call in (
        calibrator.fitted_datastore,
        calibrator.neighbor_rows,
        lambda: calibrator.predict_proba(QUERIES),
        lambda: calibrator.neighbor_probabilities(QUERIES),
        lambda: calibrator.decide(p),
        lambda: calibrator.fit_maps(make_held_out()),
    ):
        with pytest.raises(CalibratorError, match=r"call its fit\(\) first"):
            call()
    calibrator.set_params(knn_weight=0)  # transitions need rows, too
    with pytest.raises(CalibratorError, match="is not fitted"):
        calibrator.decide(p)


def test_rows_without_neighbours_are_enough_for_the_softmax_alone():
    calibrator = deciding_calibrator(made_up_datastore(SCHEME))
    p = calibrator.predict_proba(QUERIES)
    np.testing.assert_array_equal(calibrator.decide(p), QUERIES.argmax(axis=1))
    with pytest.raises(CalibratorError, match="with knn_weight = 0 the softmax decides"):
        calibrator.neighbor_rows()
    for settings in ({"knn_weight": 0.5}, {"transition_weight": 0.5}):
        calibrator.set_params(**{**SOFTMAX_ALONE, **settings})
        with pytest.raises(CalibratorError, match="is not fitted"):
            calibrator.decide(p)


def test_a_corpus_that_cannot_be_fitted_to_is_a_clear_error():
    with pytest.raises(CalibratorError, match="has no entity"):
        Calibrator().fit(replace(DATASTORE, tags=np.zeros(150, "int16")))
    calibrator = Calibrator(n_neighbors=151)
    message = "has 150 annotated tokens to search, fewer than n_neighbors = 151"
    with pytest.raises(CalibratorError, match=message):
        calibrator.fit(DATASTORE)
    assert calibrator.datastore is None
    calibrator.set_params(n_neighbors=150).fit(DATASTORE).set_params(n_neighbors=151)
    for call in (calibrator.predict_proba, calibrator.neighbor_probabilities):
        with pytest.raises(CalibratorError, match=message):
            call(QUERIES)
    with pytest.raises(CalibratorError, match=message):
        calibrator.neighbor_rows()


def test_maps_that_cannot_be_fitted_are_a_clear_error():
    calibrator = fitted(n_neighbors=5, **SOFTMAX_ALONE)
    held_out = make_held_out()
    unlabelled = replace(held_out, tags=np.full(200, -1, "int16"))
    with pytest.raises(CalibratorError, match="no annotated token to fit a map on"):
        calibrator.fit_maps(unlabelled)
    outside = replace(held_out, logits=np.tile(np.float32([9, 0, 0, 0]), (200, 1)))
    with pytest.raises(CalibratorError, match="No entity is predicted in the held-out documents"):
        calibrator.fit_maps(outside)
    assert calibrator.maps is None
