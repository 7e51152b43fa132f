"""`transition_weight` of the calibrator: the decision for a whole note, through the pipe."""

import numpy as np
import pytest
import spacy
from spacy.tokens import Doc

from spacy_btl.calibration.decisions import Transitions, best_paths, count_pairs
from tests.conftest import PAPER, make_examples

TEXTS = [
    "the left arm had severe pain and no cough",
    "aspirin 84  mg daily , crp 12 mg / l",
    "mild fever today",
    "",
]


@pytest.fixture
def nlp(trained_path):
    return spacy.load(trained_path)


def add_calibrator(nlp, **settings):
    settings = {**PAPER, "n_neighbors": 5, **settings}
    pipe = nlp.add_pipe("knn_calibrator", config=settings)
    pipe.fit(make_examples(nlp))
    return pipe


@pytest.mark.parametrize(("knn_weight", "weight"), [(0.0, 6.0), (1.0, 1.5)])
def test_tags_are_the_best_path_over_the_words(nlp, knn_weight, weight):
    pipe = add_calibrator(nlp, knn_weight=knn_weight, transition_weight=weight, tau=0.5)
    datastore = pipe.calibrator.datastore
    pairs = count_pairs(datastore.tags, datastore.documents)
    transitions = Transitions.from_pairs(pairs, len(datastore.prior))
    changed = 0
    for doc in nlp.pipe(TEXTS):
        words = [token.i for token in doc if not token.is_space]
        p = doc._.token_probabilities[words].astype(float)
        with np.errstate(divide="ignore"):
            scores = np.log(p) - 0.5 * np.log(datastore.prior)
        path = best_paths(scores, transitions, weight)
        types = [doc[i].ent_type_ or "O" for i in words]
        assert types == [datastore.tag_scheme.tags[tag] for tag in path]
        changed += (path != scores.argmax(axis=1)).sum()
    assert changed


def test_notes_do_not_depend_on_their_batch(nlp):
    add_calibrator(nlp, transition_weight=1.0)

    def entities(docs):
        return [[(ent.text, ent.label_) for ent in doc.ents] for doc in docs]

    assert entities(nlp.pipe(TEXTS)) == entities(nlp(text) for text in TEXTS)


def test_they_are_saved_with_the_pipeline(nlp, tmp_path):
    add_calibrator(nlp, transition_weight=1.5)
    nlp.to_disk(tmp_path)
    again = spacy.load(tmp_path)
    assert again.get_pipe("knn_calibrator").calibrator.settings.transition_weight == 1.5
    for text in TEXTS:
        assert again(text).to_json()["ents"] == nlp(text).to_json()["ents"]


def test_they_need_a_fitted_pipe_even_for_the_softmax(nlp):
    before: Doc = nlp(TEXTS[0])
    nlp.add_pipe("knn_calibrator", config={"knn_weight": 0.0, "transition_weight": 1.0})
    with pytest.warns(UserWarning, match="not fitted"):
        doc = nlp(TEXTS[0])
    assert [(ent.text, ent.label_) for ent in doc.ents] == [
        (ent.text, ent.label_) for ent in before.ents
    ]
