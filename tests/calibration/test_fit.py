"""The maps of a calibrator: fitted, applied, saved, and when they no longer hold."""

import pickle
import warnings
from pathlib import Path

import numpy as np
import pytest
import spacy
from safetensors.numpy import load_file, save
from scipy.special import softmax
from sklearn.metrics import log_loss
from spacy.language import Language
from spacy.training import Example

from spacy_btl.arrays import load_arrays, save_arrays
from spacy_btl.calibration.calibration_maps import ConfidenceMap, Maps, TokenMap
from spacy_btl.calibration.settings import Settings
from spacy_btl.errors import CalibratorError, PipelineError
from spacy_btl.pipeline.knn_calibrator import KnnCalibrator
from spacy_btl.training.tune import tune_calibrator
from tests.calibration.made_up import minimum_probability
from tests.conftest import PAPER, SENTENCES, make_examples

# Notes that the network did not see, with entities that it finds in part.
HELD_OUT = [
    (
        "the left arm had severe pain and no cough",
        [(4, 12, "Sign"), (17, 23, "Severity"), (24, 28, "Sign")],
    ),
    ("aspirin 84 mg daily , crp 12 mg / l", [(22, 25, "Test"), (26, 35, "Value")]),
    ("mild fever today", [(0, 4, "Severity"), (5, 10, "Sign")]),
    ("patient was given chest pain , crp 8", [(18, 28, "Sign"), (31, 34, "Test")]),
]
SETTINGS = {"n_neighbors": 5, "knn_weight": 0.5, "tau": 0.25, "transition_weight": 0.0}
MAPS = Path("knn_calibrator", "maps.safetensors")


def held_out(nlp: Language) -> list[Example]:
    return [
        Example.from_dict(nlp.make_doc(text), {"entities": entities}) for text, entities in HELD_OUT
    ]


def get_pipe(nlp: Language) -> KnnCalibrator:
    pipe = nlp.get_pipe("knn_calibrator")
    assert isinstance(pipe, KnnCalibrator)
    return pipe


def maps_of(nlp: Language) -> Maps | None:
    return get_pipe(nlp).calibrator.maps


def make(trained_path: Path, *, fit_maps: bool, **settings) -> Language:
    nlp = spacy.load(trained_path)
    nlp.add_pipe("knn_calibrator", config={**SETTINGS, **settings})
    get_pipe(nlp).fit(make_examples(nlp))
    if fit_maps:
        get_pipe(nlp).fit_maps(held_out(nlp))
    return nlp


@pytest.fixture(scope="module")
def mapped(trained_path) -> Language:
    """Shared: do not change it."""
    return make(trained_path, fit_maps=True)


@pytest.fixture(scope="module")
def unmapped(trained_path) -> Language:
    """The same without maps. Shared: do not change it."""
    return make(trained_path, fit_maps=False)


TEXTS = [text for text, _ in HELD_OUT] + [SENTENCES[0][0], "no \u2009 fever", ""]


def output(nlp: Language) -> list[tuple[np.ndarray, list[tuple[str, str, float]]]]:
    return [
        (doc._.token_probabilities, [(e.text, e.label_, e._.confidence) for e in doc.ents])
        for doc in nlp.pipe(TEXTS)
    ]


def assert_same(one: Language, other: Language) -> None:
    for (p, ents), (other_p, other_ents) in zip(output(one), output(other), strict=True):
        np.testing.assert_array_equal(p, other_p)
        assert ents == other_ents


def test_each_source_is_mapped_and_then_they_are_mixed(mapped, unmapped):
    maps = maps_of(mapped)
    assert maps.tokens != TokenMap()
    curve = maps.tokens
    neighbors = make_only_neighbors(unmapped)
    for text in TEXTS[:-1]:
        doc = mapped(text)
        seen = doc._.token_logits.any(axis=1)
        p_softmax = softmax(doc._.token_logits[seen] / curve.temperature, axis=1)
        p_knn = neighbors(text)[seen]
        p_knn = p_knn**curve.sharpness / (1 - p_knn) ** curve.certainty
        p_knn /= p_knn.sum(axis=1, keepdims=True)
        expected = 0.5 * p_knn + 0.5 * p_softmax
        np.testing.assert_allclose(doc._.token_probabilities[seen], expected, rtol=1e-4, atol=1e-6)
        assert (doc._.token_probabilities[~seen] == np.eye(p_knn.shape[1])[0]).all()


def make_only_neighbors(nlp: Language):
    """What the votes alone say, by a calibrator without maps."""

    def probabilities(text: str) -> np.ndarray:
        with nlp.select_pipes(disable=["knn_calibrator"]):
            doc = nlp(text)
        seen = doc._.token_logits.any(axis=1)
        p = np.full(doc._.token_logits.shape, np.nan)
        p[seen] = get_pipe(nlp).calibrator.neighbor_probabilities(doc._.token_logits[seen])
        return p

    return probabilities


def test_decisions_and_confidence_use_the_mapped_probabilities(mapped):
    pipe = get_pipe(mapped)
    datastore = pipe.calibrator.datastore
    prior, scheme = datastore.prior, datastore.tag_scheme
    confidences = []
    for doc in mapped.pipe(TEXTS):
        p = doc._.token_probabilities.astype("float64")
        with np.errstate(divide="ignore"):
            tags = (np.log(p) - 0.25 * np.log(prior)).argmax(axis=1)
        words = [token.i for token in doc if not token.is_space]
        assert [doc[i].ent_type_ or "O" for i in words] == [scheme.tags[tags[i]] for i in words]
        for ent in doc.ents:
            minimum = minimum_probability(ent, p, scheme)
            expected = pipe.calibrator.maps.confidence(np.array([minimum]))[0]
            assert ent._.confidence == pytest.approx(expected, rel=1e-4)
            confidences.append(ent._.confidence)
    assert len(confidences) > 5
    assert all(0 < value < 1 for value in confidences)


def test_the_maps_make_unseen_tokens_more_likely(trained_path, unmapped, mapped):
    """On what they were fitted to, at least; and each of the two sources by itself."""
    scheme = get_pipe(mapped).calibrator.datastore.tag_scheme
    for knn_weight in (0.0, 0.5, 1.0):
        losses = []
        for fit_maps in (False, True):
            nlp = make(trained_path, fit_maps=fit_maps, knn_weight=knn_weight)
            rows, tags = [], []
            for example in held_out(nlp):
                doc = nlp(example.predicted.copy())
                rows.append(doc._.token_probabilities)
                tags.append(scheme.encode(Example(doc, example.reference)))
            p = np.concatenate(rows).astype("float64")
            p /= p.sum(axis=1, keepdims=True)
            losses.append(log_loss(np.concatenate(tags), p, labels=np.arange(p.shape[1])))
        assert losses[1] < losses[0]


@pytest.mark.parametrize("knn_weight", [0.0, 1.0])
def test_maps_change_no_decision_of_one_source_alone(trained_path, knn_weight):
    entities = []
    for fit_maps in (False, True):
        nlp = make(trained_path, fit_maps=fit_maps, knn_weight=knn_weight, tau=0.0)
        docs = nlp.pipe(TEXTS)
        entities.append([[(e.start, e.end, e.label_) for e in doc.ents] for doc in docs])
    assert entities[0] == entities[1]
    assert any(entities[0])


def test_maps_come_back_from_disk_bytes_and_pickle(mapped, trained_path, tmp_path):
    mapped.to_disk(tmp_path)
    assert_same(mapped, spacy.load(tmp_path))
    other = make(trained_path, fit_maps=False)
    other.from_bytes(mapped.to_bytes())
    assert_same(mapped, other)
    back = pickle.loads(pickle.dumps(get_pipe(mapped)))
    assert back.calibrator.maps == maps_of(mapped)


def test_saving_over_maps_without_maps_leaves_none(mapped, unmapped, tmp_path):
    mapped.to_disk(tmp_path)
    unmapped.to_disk(tmp_path)
    assert maps_of(spacy.load(tmp_path)) is None


def test_the_file_holds_plain_numbers(mapped, tmp_path):
    mapped.to_disk(tmp_path)
    arrays = load_file(tmp_path / MAPS)
    assert {name: (array.dtype, array.shape) for name, array in arrays.items()} == {
        "tokens": (np.float64, (3,)),
        "confidence": (np.float64, (4,)),
    }


def damaged(content: dict | None = None, **arrays: np.ndarray) -> bytes:
    whole = Maps(TokenMap(2, 0.5, 0.1), ConfidenceMap(1, 0, -1, 9), Settings(**SETTINGS))
    kept, said = load_arrays(whole.to_bytes())
    return save_arrays({**kept, **arrays}, {**said, **(content or {})})


DAMAGES = {
    "empty": b"",
    "cut": damaged()[:-1],
    "a pickle": pickle.dumps([1.0]),
    "text": b"not fitted yet",
    "of an older version": save({"tokens": np.ones(3)}, metadata={"format": "spacy_btl.maps"}),
    "a number missing": damaged(tokens=np.ones(2)),
    "a narrow array": damaged(tokens=np.ones(3, "float32")),
    "a temperature of 0": damaged(tokens=np.array([0, 1, 0.0])),
    "a temperature of nearly 0": damaged(tokens=np.array([1e-300, 1, 0.0])),
    "a sharpness out of range": damaged(tokens=np.array([1, 1e308, 0.0])),
    "a NaN": damaged(tokens=np.array([1, 1, np.nan])),
    "a negative certainty": damaged(tokens=np.array([1, 1, -1.0])),
    "a falling curve": damaged(confidence=np.array([-1, 0, 0, 9.0])),
    "an infinite bias": damaged(confidence=np.array([1, 0, np.inf, 9.0])),
    "no entity": damaged(confidence=np.array([1, 0, 0, 0.0])),
    "another format": damaged({"format": "spacy_btl.neighbors"}),
    "another version": damaged({"version": "1"}),
    "settings that are none": damaged({"settings": 3}),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_maps_are_an_error_that_names_the_file(mapped, tmp_path, damage):
    mapped.to_disk(tmp_path)
    (tmp_path / MAPS).write_bytes(DAMAGES[damage])
    with pytest.raises(CalibratorError, match="damaged, or of another version") as caught:
        spacy.load(tmp_path)
    assert str(tmp_path / MAPS) in str(caught.value)


def test_what_is_whole_loads():
    assert Maps.from_bytes(damaged(), where="here").settings == Settings(**SETTINGS)


def test_a_missing_file_is_an_error_that_names_it(mapped, tmp_path):
    mapped.to_disk(tmp_path)
    (tmp_path / MAPS).unlink()
    with pytest.raises(CalibratorError, match=r"maps\.safetensors is missing"):
        spacy.load(tmp_path)


def test_fitting_the_datastore_again_drops_the_maps(trained_path):
    nlp = make(trained_path, fit_maps=True)
    get_pipe(nlp).fit(make_examples(nlp))
    assert maps_of(nlp) is None


@pytest.mark.parametrize(
    ("setting", "value"), [("tau", 0.5), ("knn_weight", 0.75), ("n_neighbors", 3)]
)
def test_maps_for_other_settings_are_warned_of_once(mapped, tmp_path, setting, value):
    mapped.to_disk(tmp_path)
    nlp = spacy.load(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        nlp(TEXTS[0])
    get_pipe(nlp).calibrator.set_params(**{setting: value})
    with pytest.warns(UserWarning, match="other settings than those that its maps"):
        nlp(TEXTS[0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        nlp(TEXTS[0])


def test_what_cannot_be_fitted_is_a_clear_error(trained_path):
    nlp = spacy.load(trained_path)
    pipe = nlp.add_pipe("knn_calibrator", config=SETTINGS)
    with pytest.raises(CalibratorError, match="is not fitted: call its fit"):
        pipe.fit_maps(held_out(nlp))
    pipe.fit(make_examples(nlp))
    plain = Example.from_dict(nlp.make_doc("given aspirin daily"), {"entities": []})
    with pytest.raises(CalibratorError, match="No entity is predicted in the held-out documents"):
        pipe.fit_maps([plain])
    bare = nlp.make_doc("severe fever")
    with pytest.raises(CalibratorError, match="no annotated token to fit a map on"):
        pipe.fit_maps([Example(bare, bare.copy())])
    assert pipe.calibrator.maps is None


def test_without_neighbours_the_softmax_alone_is_mapped(trained_path):
    nlp = spacy.load(trained_path)
    pipe = nlp.add_pipe("knn_calibrator", config={**PAPER, "knn_weight": 0.0})
    pipe.fit_maps(held_out(nlp))
    tokens = pipe.calibrator.maps.tokens
    assert (tokens.sharpness, tokens.certainty) == (1, 0)
    doc = nlp(TEXTS[0])
    expected = softmax(doc._.token_logits / tokens.temperature, axis=1)
    np.testing.assert_allclose(doc._.token_probabilities, expected, atol=1e-6)


def test_a_type_that_the_network_does_not_know_is_missed_and_counted(trained_path):
    nlp = make(trained_path, fit_maps=False)
    text, entities = HELD_OUT[2]
    known = Example.from_dict(nlp.make_doc(text), {"entities": entities})
    other = Example.from_dict(nlp.make_doc(text), {"entities": [*entities, (11, 16, "Time")]})
    with pytest.warns(UserWarning, match="does not know: 1, which count as missed"):
        get_pipe(nlp).fit_maps([other, *held_out(nlp)])
    maps = maps_of(nlp)
    get_pipe(nlp).fit_maps([known, *held_out(nlp)])
    assert maps.tokens != maps_of(nlp).tokens  # its token is left out
    with pytest.warns(UserWarning, match="does not know"):
        tuned = tune_calibrator(get_pipe(nlp), [other, *held_out(nlp)])
    assert 0 < tuned.plain.ents_f < 1
    with pytest.raises(PipelineError, match="'Time', which this model does not know"):
        get_pipe(nlp).fit([other])


@pytest.mark.parametrize("in_place", [False, True])
def test_a_tau_of_a_type_that_changed_is_warned_of(trained_path, in_place):
    nlp = make(trained_path, fit_maps=True, tau={"Sign": 0.1})
    estimator = get_pipe(nlp).calibrator
    if in_place:
        estimator.settings.tau["Sign"] = 2.0
    else:
        estimator.set_params(tau={"Sign": 2.0})
    with pytest.warns(UserWarning, match="other settings than those that its maps"):
        nlp(TEXTS[0])
