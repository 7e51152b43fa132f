"""The cross-validated gain, against pipelines that are tuned on one part and score the other."""

import numpy as np
import pytest
import spacy
from spacy.training import Example

from spacy_btl.metrics.scorer import score_ner
from spacy_btl.training import tune as module
from spacy_btl.training.judge import Scores
from spacy_btl.training.tune import tune_calibrator
from spacy_btl.training.validation import FOLDS, Gain, Validation, _folds
from tests.calibration.test_fit import HELD_OUT
from tests.conftest import make_examples

FIGURES = {"tag_uar": "tag_uar", "tag_macro_f": "tag_macro_f", "ents_f": "ents_f"}
SETTINGS = {"n_neighbors": 5, "knn_weight": 0.5, "tau": 0.3, "transition_weight": 0.2}
NOTES = [*HELD_OUT, *HELD_OUT[:2]]


@pytest.fixture(autouse=True)
def small_grid(monkeypatch):
    monkeypatch.setattr(module, "KNN_WEIGHTS", (0.0, 0.5))
    monkeypatch.setattr(module, "TRANSITION_WEIGHTS", (0.0, 0.5))
    monkeypatch.setattr(module, "TAUS", (0.0, 1.0))


def load(path) -> spacy.Language:
    nlp = spacy.load(path)
    nlp.add_pipe("knn_calibrator", config=SETTINGS).fit(make_examples(nlp))
    return nlp


def examples(nlp: spacy.Language, inside: np.ndarray) -> list[Example]:
    return [
        Example.from_dict(nlp.make_doc(text), {"entities": entities})
        for (text, entities), here in zip(NOTES, inside, strict=True)
        if here
    ]


def read(nlp: spacy.Language, inside: np.ndarray) -> list[Example]:
    found = examples(nlp, inside)
    for example in found:
        example.predicted = nlp(example.text)
    return found


def test_it_is_what_pipelines_show_that_were_tuned_on_the_other_documents(trained_path):
    patients = np.array([0, 1, 2, 3, 4, 4])
    nlp = load(trained_path)
    every = np.ones(len(NOTES), bool)
    pipe = nlp.get_pipe("knn_calibrator")
    tuned = tune_calibrator(pipe, examples(nlp, every), patients=patients)
    before, after = [], []
    for inside in _folds(patients):
        plain, other = load(trained_path), load(trained_path)
        plain.get_pipe("knn_calibrator").fit_maps(examples(plain, ~inside))
        tune_calibrator(other.get_pipe("knn_calibrator"), examples(other, ~inside))
        before += read(plain, inside)
        after += read(other, inside)
    old, new = score_ner(before), score_ner(after)
    assert tuned.validation.documents == 5
    for name, theirs in FIGURES.items():
        gain = tuned.validation.gains[name]
        assert gain.before == pytest.approx(old[theirs])
        assert gain.after == pytest.approx(new[theirs])
        assert gain.low <= gain.after - gain.before <= gain.high
    assert tune_calibrator(pipe, examples(nlp, every)).validation is None


@pytest.mark.parametrize("n", [2, 5, 12])
def test_folds_hold_each_patient_once(n):
    patients = np.repeat(np.arange(n), 2)
    folds = list(_folds(patients))
    assert len(folds) == min(n, FOLDS)
    assert (np.sum(folds, axis=0) == 1).all()
    assert all((fold[::2] == fold[1::2]).all() and fold.any() for fold in folds)


def test_a_gain_is_clear_where_chance_does_not_explain_it_and_nothing_else_is_lost():
    same = Gain(0.5, 0.5, -0.01, 0.01)
    for tag_uar, f, clear in (
        (Gain(0.5, 0.6, 0.05, 0.15), same, True),
        (Gain(0.5, 0.6, -0.05, 0.25), same, False),
        (Gain(0.5, 0.6, 0.05, 0.15), Gain(0.5, 0.4, -0.15, -0.05), False),
    ):
        gains = dict(zip(Scores._fields, (tag_uar, same, f), strict=True))
        assert Validation(200, gains).is_clear == clear


def test_one_patient_tells_nothing_about_others(trained_path):
    nlp = load(trained_path)
    found = examples(nlp, np.ones(len(NOTES), bool))
    pipe = nlp.get_pipe("knn_calibrator")
    assert tune_calibrator(pipe, found, patients=np.zeros(6, int)).validation is None
