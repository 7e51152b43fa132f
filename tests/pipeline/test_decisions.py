"""Decisions of a calibrator: tau for some notes only and by spaCy's commands, and transitions."""

import pickle
import warnings

import numpy as np
import pytest
import spacy
import srsly
from spacy.cli._util import app
from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Corpus
from typer.testing import CliRunner

from spacy_btl.calibration.decisions import Transitions, count_pairs
from spacy_btl.errors import CalibratorError
from tests.conftest import PAPER, SENTENCES, make_examples

NOTES = [text for text, _ in SENTENCES]
TAUS = [0.0, 0.5, 3.0, {"Sign": 4.0, "Severity": 1.0}]


def make(trained_path, **settings) -> Language:
    nlp = spacy.load(trained_path)
    settings = {**PAPER, "n_neighbors": 5, "knn_weight": 0.5, **settings}
    pipe = nlp.add_pipe("knn_calibrator", config=settings)
    pipe.fit(make_examples(nlp))
    return nlp


@pytest.fixture
def nlp(trained_path) -> Language:
    return make(trained_path)


def entities(docs) -> list[list[tuple[str, str, float]]]:
    return [[(ent.text, ent.label_, ent._.confidence) for ent in doc.ents] for doc in docs]


def given(tau) -> dict:
    return {"knn_calibrator": {"tau": tau}}


@pytest.mark.parametrize("tau", TAUS, ids=str)
def test_a_tau_per_call_is_that_of_a_pipe_that_has_it(nlp, trained_path, tau):
    own = make(trained_path, tau=tau)
    expected = entities(own.pipe(NOTES))
    before = entities(nlp.pipe(NOTES))
    assert entities(nlp.pipe(NOTES, component_cfg=given(tau))) == expected
    singly = [nlp(note, component_cfg=given(tau)) for note in NOTES]
    assert entities(singly) == entities([own(note) for note in NOTES])
    workers = pickle.loads(pickle.dumps(nlp)).pipe(NOTES, component_cfg=given(tau))
    assert entities(workers) == expected
    assert entities(nlp.pipe(NOTES)) == before
    assert nlp.get_pipe("knn_calibrator").calibrator.settings.tau == 0


def test_the_taus_of_this_test_decide_differently(nlp):
    decided = [entities(nlp.pipe(NOTES, component_cfg=given(tau))) for tau in TAUS]
    assert len({str(found) for found in decided}) > 1


def test_a_tau_per_call_replaces_the_pipes_own(trained_path):
    nlp = make(trained_path, tau={"Sign": 9.0})
    plain = entities(make(trained_path).pipe(NOTES))
    assert entities(nlp.pipe(NOTES)) != plain
    assert entities(nlp.pipe(NOTES, component_cfg=given(0))) == plain


@pytest.mark.parametrize("tau", ["0.5", float("nan"), {"Sign": None}, {"NoType": 1.0}], ids=str)
def test_a_tau_that_is_none_is_a_clear_error(nlp, tau):
    with pytest.raises(CalibratorError, match="tau"):
        nlp(NOTES[0], component_cfg=given(tau))
    with pytest.raises(CalibratorError, match="tau"):
        list(nlp.pipe(NOTES, component_cfg=given(tau)))


def test_maps_that_were_fitted_for_another_tau_are_warned_of(nlp):
    nlp.get_pipe("knn_calibrator").fit_maps(make_examples(nlp))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        nlp(NOTES[0], component_cfg=given(0.0))
    with pytest.warns(UserWarning, match="other settings than those that its maps"):
        nlp(NOTES[0], component_cfg=given(0.5))


def test_an_unfitted_calibrator_takes_a_tau_too(trained_path):
    nlp = spacy.load(trained_path)
    expected = entities(nlp.pipe(NOTES))
    nlp.add_pipe("knn_calibrator")
    with pytest.warns(UserWarning, match="not fitted"):
        assert entities(nlp.pipe(NOTES, component_cfg=given(0.5))) == expected


def run(*words: object) -> str:
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.parametrize(("key", "tau"), [("tau", 0.0), ("tau.Sign", {"Sign": 0.0})])
def test_spacy_finds_the_best_tau(trained_path, corpus_path, tmp_path, key, tau):
    make(trained_path, tau=tau).to_disk(tmp_path)
    words = ("find-threshold", tmp_path, corpus_path, "knn_calibrator", key, "ents_f")
    table = run(*words, "--n_trials", 3)
    found = [line.split() for line in table.splitlines() if line.startswith(("0", "1"))]
    assert [float(threshold) for threshold, _ in found] == [0.0, 0.5, 1.0]
    for threshold, score in found:
        value = {"Sign": float(threshold)} if "." in key else float(threshold)
        nlp = make(trained_path, tau=value)
        examples = Corpus(corpus_path)(nlp)
        assert float(score) == pytest.approx(nlp.evaluate(examples)["ents_f"], abs=5e-4)


def test_spacy_evaluates_the_deciding_pipe_under_its_own_name(trained_path, corpus_path, tmp_path):
    nlp = make(trained_path, tau={"O": 5.0})
    nlp.to_disk(tmp_path / "model")
    file = tmp_path / "metrics.json"
    run("evaluate", tmp_path / "model", corpus_path, "--per-component", "--output", file)
    scores = srsly.read_json(file)
    expected = nlp.evaluate(Corpus(corpus_path)(nlp))
    uncalibrated = spacy.load(trained_path)
    plain = uncalibrated.evaluate(Corpus(corpus_path)(uncalibrated))
    assert expected["ents_f"] != plain["ents_f"]
    for name in ("ents_f", "ents_p", "ents_r", "ents_macro_f", "tag_uar", "tag_macro_f"):
        assert scores["knn_calibrator"][name] == pytest.approx(expected[name])
    assert scores["knn_calibrator"]["ents_per_type"] == expected["ents_per_type"]


def test_a_calibrator_without_a_scorer_scores_nothing(trained_path):
    nlp = make(trained_path, scorer=None)
    assert nlp.get_pipe("knn_calibrator").score(make_examples(nlp)) == {}


# `transition_weight` of the calibrator: the decision for a whole note, through the pipe.

TEXTS = [
    "the left arm had severe pain and no cough",
    "aspirin 84  mg daily , crp 12 mg / l",
    "mild fever today",
    "",
]


@pytest.mark.parametrize(("knn_weight", "weight"), [(0.0, 6.0), (1.0, 1.5)])
def test_tags_are_the_best_path_over_the_words(trained_path, knn_weight, weight):
    nlp = make(trained_path, knn_weight=knn_weight, transition_weight=weight, tau=0.5)
    datastore = nlp.get_pipe("knn_calibrator").calibrator.datastore
    pairs = count_pairs(datastore.tags, datastore.documents)
    transitions = Transitions.from_pairs(pairs, len(datastore.prior))
    changed = 0
    for doc in nlp.pipe(TEXTS):
        words = [token.i for token in doc if not token.is_space]
        p = doc._.token_probabilities[words].astype(float)
        with np.errstate(divide="ignore"):
            scores = np.log(p) - 0.5 * np.log(datastore.prior)
        path = transitions.best_paths(scores, weight)
        types = [doc[i].ent_type_ or "O" for i in words]
        assert types == [datastore.tag_scheme.tags[tag] for tag in path]
        changed += (path != scores.argmax(axis=1)).sum()
    assert changed


def test_with_transitions_notes_do_not_depend_on_their_batch(trained_path):
    nlp = make(trained_path, transition_weight=1.0)

    def types(docs):
        return [[(ent.text, ent.label_) for ent in doc.ents] for doc in docs]

    assert types(nlp.pipe(TEXTS)) == types(nlp(text) for text in TEXTS)


def test_transitions_are_saved_with_the_pipeline(trained_path, tmp_path):
    nlp = make(trained_path, transition_weight=1.5)
    nlp.to_disk(tmp_path)
    again = spacy.load(tmp_path)
    assert again.get_pipe("knn_calibrator").calibrator.settings.transition_weight == 1.5
    for text in TEXTS:
        assert again(text).to_json()["ents"] == nlp(text).to_json()["ents"]


def test_transitions_need_a_fitted_pipe_even_for_the_softmax(trained_path):
    nlp = spacy.load(trained_path)
    before: Doc = nlp(TEXTS[0])
    nlp.add_pipe("knn_calibrator", config={"knn_weight": 0.0, "transition_weight": 1.0})
    with pytest.warns(UserWarning, match="not fitted"):
        doc = nlp(TEXTS[0])
    assert [(ent.text, ent.label_) for ent in doc.ents] == [
        (ent.text, ent.label_) for ent in before.ents
    ]
