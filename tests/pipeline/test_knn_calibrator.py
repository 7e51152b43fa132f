"""What `knn_calibrator` computes, against scikit-learn and torch on the same logits."""

import numpy as np
import pytest
import spacy
import torch
from sklearn.neighbors import KNeighborsClassifier
from spacy import registry
from spacy.language import Language
from spacy.tokens import Doc, Span
from spacy.training import Example

from spacy_btl.pipeline.knn_calibrator import KnnCalibrator
from tests.conftest import PAPER, SENTENCES, bert_pipeline, make_examples, train

# Unlike the sentences of training, so that neighbours disagree.
NOTES = [
    "the left arm had severe pain and no cough",
    "aspirin 84 mg daily , crp 12 mg / l",
    "mild fever today",
    "patient was given chest pain",
]


@pytest.fixture
def nlp(trained_path) -> Language:
    return spacy.load(trained_path)


def fit(nlp: Language, **settings) -> KnnCalibrator:
    """Add a calibrator with the paper's settings, or others, and fit it to the sentences."""
    pipe = nlp.add_pipe("knn_calibrator", config={**PAPER, **settings})
    pipe.fit(make_examples(nlp))
    return pipe


def before_calibration(nlp: Language, texts: list[str]) -> list[Doc]:
    with nlp.select_pipes(enable=["transformer", "ner"]):
        return list(nlp.pipe(texts))


def gold_types(doc: Doc, entities: list[tuple[int, int, str]]) -> list[str]:
    """The type of each token, straight from the offsets."""
    return [
        next((label for start, end, label in entities if start <= token.idx < end), "O")
        for token in doc
    ]


class Reference:
    """The calibrator once more, from scikit-learn, torch and plain loops."""

    def __init__(self, nlp: Language, k: int = 17):
        docs = before_calibration(nlp, [text for text, _ in SENTENCES])
        logits = np.concatenate([doc._.token_logits for doc in docs])
        gold = [entities for _, entities in SENTENCES]
        types = [c for doc, ents in zip(docs, gold, strict=True) for c in gold_types(doc, ents)]
        self.classes = ["O", *nlp.get_pipe("ner").labels]
        self.k = k
        self.prior = np.array([types.count(c) + 1 for c in self.classes]) / (
            len(types) + len(self.classes)
        )
        self.model = KNeighborsClassifier(k).fit(logits, types)

    def probabilities(self, logits: np.ndarray, knn_weight: float = 1.0) -> np.ndarray:
        shares = np.zeros((len(logits), len(self.classes)))
        columns = [self.classes.index(c) for c in self.model.classes_]
        shares[:, columns] = self.model.predict_proba(logits)
        p_knn = (self.k * shares + self.prior) / (self.k + 1)
        p_softmax = torch.softmax(torch.tensor(logits, dtype=torch.float64), dim=1).numpy()
        return knn_weight * p_knn + (1 - knn_weight) * p_softmax

    def types(self, p: np.ndarray, tau: np.ndarray | float = 0.0) -> list[str]:
        return [self.classes[i] for i in (np.log(p) - tau * np.log(self.prior)).argmax(axis=1)]


def types(doc: Doc) -> list[str]:
    return [token.ent_type_ or "O" for token in doc]


@pytest.mark.parametrize("knn_weight", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("k", [3, 17])
def test_probabilities_and_decisions_are_scikit_learns(nlp, k, knn_weight):
    reference = Reference(nlp, k)
    pipe = fit(nlp, n_neighbors=k, knn_weight=knn_weight)
    np.testing.assert_allclose(pipe.calibrator.datastore.prior, reference.prior, rtol=1e-12)
    docs = before_calibration(nlp, NOTES)
    disagreements = 0
    for doc, p in zip(docs, pipe.predict(docs), strict=True):
        expected = reference.probabilities(doc._.token_logits, knn_weight)
        np.testing.assert_allclose(p, expected, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-12)
        argmax = types(doc)
        assert types(pipe(doc)) == reference.types(expected)
        disagreements += types(doc) != argmax
    if knn_weight == 0:  # the `ner` pipe's own decision
        assert not disagreements
    if (knn_weight, k) == (1.0, 17):  # most of the rows are neighbours: O wins where it should not
        assert disagreements


def test_confidence_is_the_minimum_probability_among_the_tokens(nlp):
    reference = Reference(nlp, 3)
    pipe = fit(nlp, n_neighbors=3)
    entities = 0
    for doc in before_calibration(nlp, [*NOTES, *(text for text, _ in SENTENCES)]):
        p = reference.probabilities(doc._.token_logits)
        for ent in pipe(doc).ents:
            column = reference.classes.index(ent.label_)
            expected = min(p[token.i, column] for token in ent)
            assert ent._.confidence == pytest.approx(expected, rel=1e-5)
            assert 0 <= ent._.confidence <= 1
            entities += 1
    assert entities > 3


def test_knn_weight_zero_needs_no_fitting(nlp):
    pipe = nlp.add_pipe("knn_calibrator", config={**PAPER, "knn_weight": 0.0})
    for doc in before_calibration(nlp, NOTES):
        argmax = types(doc)
        (p,) = pipe.predict([doc])
        expected = torch.softmax(torch.tensor(doc._.token_logits).double(), dim=1).numpy()
        np.testing.assert_allclose(p, expected, atol=1e-9)
        assert types(pipe(doc)) == argmax
        assert all(0 < ent._.confidence <= 1 for ent in doc.ents)


def test_knn_weight_above_zero_is_unfitted_even_after_zero(nlp):
    pipe = nlp.add_pipe("knn_calibrator", config={**PAPER, "knn_weight": 0.0})
    nlp(NOTES[0])
    pipe.calibrator.set_params(knn_weight=1.0)
    with pytest.warns(UserWarning, match="not fitted"):
        nlp(NOTES[0])


def test_without_neighbours_it_has_the_present_tags_and_frequencies(nlp, trained_path):
    pipe = nlp.add_pipe("knn_calibrator", config={**PAPER, "knn_weight": 0.0, "tau": 1.0})
    nlp(NOTES[0])
    datastore = pipe.calibrator.datastore
    list(nlp.pipe(NOTES))
    assert pipe.calibrator.datastore is datastore
    ner = nlp.get_pipe("ner")
    ner.cfg["tag_counts"][0] += 1000  # as after a training on other documents
    nlp(NOTES[0])
    np.testing.assert_array_equal(pipe.calibrator.datastore.prior, ner.prior)

    other = spacy.blank("en")
    other.add_pipe("btl_ner", name="ner")
    example = Example.from_dict(other.make_doc(NOTES[0]), {"entities": [(4, 12, "Place")]})
    other.initialize(lambda: [example])
    other.add_pipe("knn_calibrator", source=nlp)
    assert {ent.label_ for ent in other(NOTES[0]).ents} <= {"Place"}
    assert other.get_pipe("knn_calibrator").calibrator.datastore.labels == ("Place",)


@pytest.mark.parametrize("tau", [1, 2.5, {"Severity": 1.5}, {"Severity": 3, "O": 1.0}])
def test_tau_shifts_decisions_and_not_confidence(nlp, tau):
    reference = Reference(nlp)
    pipe = fit(nlp, tau=tau)
    shifts = tau
    if isinstance(tau, dict):
        shifts = np.array([tau.get(c, 0.0) for c in reference.classes])
    changed = 0
    for doc in before_calibration(nlp, NOTES):
        p = reference.probabilities(doc._.token_logits)
        expected = reference.types(p, shifts)
        assert types(pipe(doc)) == expected
        changed += expected != reference.types(p)
        for ent in doc.ents:
            column = reference.classes.index(ent.label_)
            assert ent._.confidence == pytest.approx(p[ent.start : ent.end, column].min(), rel=1e-5)
    assert changed


def test_works_in_a_bio_pipeline(tiny_bert):
    nlp = train(bert_pipeline(tiny_bert, scheme="BIO"))
    pipe = fit(nlp, n_neighbors=1)
    datastore = pipe.calibrator.datastore
    assert datastore.logits.shape[1] == len(datastore.tag_scheme) == 9
    for text, gold in SENTENCES:
        doc = nlp(text)
        assert [(e.start_char, e.end_char, e.label_) for e in doc.ents] == gold
        (p,) = pipe.predict([doc])
        for ent in doc.ents:
            begin = 1 + 2 * datastore.labels.index(ent.label_)
            expected = p[ent.start : ent.end, begin : begin + 2].sum(axis=1).min()
            assert ent._.confidence == pytest.approx(expected)
            assert ent._.confidence > 0.5


def test_another_search_can_take_over(nlp):
    @registry.misc("tests.BruteSearch")
    def make_search():
        return BruteSearch()

    class BruteSearch:
        def fit(self, rows):
            self.rows = rows

        def query(self, rows, k):
            distances = np.linalg.norm(rows[:, None] - self.rows, axis=2)
            numbers = distances.argsort(axis=1)[:, :k]
            return np.take_along_axis(distances, numbers, axis=1), numbers

    pipe = fit(nlp, search={"@misc": "tests.BruteSearch"}, n_neighbors=3)
    reference = Reference(nlp, 3)
    for doc in before_calibration(nlp, NOTES):
        expected = reference.probabilities(doc._.token_logits)
        np.testing.assert_allclose(pipe.predict([doc])[0], expected, rtol=1e-4, atol=1e-6)


def test_the_datastore_holds_seen_and_annotated_tokens_only(nlp):
    nlp.add_pipe("knn_calibrator", config={"n_neighbors": 2})
    unseen = Doc(nlp.vocab, words=["\u200b", "\n", "fever"])
    partly = Doc(nlp.vocab, words=["severe", "cough", "today"])
    examples = [
        Example.from_dict(unseen, {"entities": ["U-Sign", "O", "U-Sign"]}),
        Example.from_dict(partly, {"entities": ["-", "U-Sign", "O"]}),
    ]
    pipe = nlp.get_pipe("knn_calibrator")
    with pytest.warns(UserWarning, match="no wordpiece"):
        pipe.fit(examples)
    datastore = pipe.calibrator.datastore
    sign = 1 + datastore.labels.index("Sign")
    np.testing.assert_array_equal(datastore.tags, [sign, sign, 0])
    assert datastore.logits.any(axis=1).all()


def test_unseen_tokens_are_certainly_outside(nlp):
    pipe = fit(nlp, n_neighbors=1, tau=50.0)
    with pytest.warns(UserWarning, match="no wordpiece"):
        (doc,) = before_calibration(nlp, ["fever \u200b cough"])
    (p,) = pipe.predict([doc])
    np.testing.assert_array_equal(p[1], [1, 0, 0, 0, 0])
    assert pipe(doc)[1].ent_type_ == ""


def test_fitting_changes_no_example(nlp):
    nlp.add_pipe("knn_calibrator")
    examples = make_examples(nlp)
    before = [
        (eg.predicted.to_bytes(), eg.reference.to_bytes(), len(eg.predicted.user_data))
        for eg in examples
    ]
    nlp.get_pipe("knn_calibrator").fit(examples)
    assert before == [
        (eg.predicted.to_bytes(), eg.reference.to_bytes(), len(eg.predicted.user_data))
        for eg in examples
    ]
    assert nlp.pipe_names == ["transformer", "ner", "knn_calibrator"]  # all enabled again


def test_fitting_again_replaces_the_datastore(nlp):
    pipe = fit(nlp, n_neighbors=3)
    n_rows = len(pipe.calibrator.datastore.tags)
    pipe.fit(make_examples(nlp, repeat=3))
    assert len(pipe.calibrator.datastore.tags) == 3 * n_rows


def test_empty_and_white_space_notes_pass_in_a_batch(nlp):
    fit(nlp, n_neighbors=1)
    texts = ["", "   ", SENTENCES[0][0], "\n\n", ""]
    docs = list(nlp.pipe(texts))
    assert [doc.text for doc in docs] == texts
    assert [len(doc.ents) > 0 for doc in docs] == [False, False, True, False, False]
    assert [doc.ents for doc in nlp.pipe(["", ""])] == [(), ()]
    assert nlp("").ents == ()


def test_confidence_is_none_for_other_spans(nlp):
    fit(nlp, n_neighbors=3)
    doc = nlp(SENTENCES[0][0])
    ent = doc.ents[0]
    assert ent._.confidence is not None
    assert Span(doc, ent.start, ent.end, "Test")._.confidence is None
    assert Span(doc, ent.start - 1, ent.end, ent.label_)._.confidence is None


def test_confidence_is_computed_again_with_the_doc(nlp):
    pipe = fit(nlp, n_neighbors=3)
    doc = nlp(SENTENCES[0][0])
    first = {(e.text, e.label_): e._.confidence for e in doc.ents}
    assert first
    pipe.calibrator.set_params(knn_weight=0.5)
    again = {(e.text, e.label_): e._.confidence for e in nlp(doc).ents}
    fresh = {(e.text, e.label_): e._.confidence for e in nlp(doc.text).ents}
    assert again == fresh
    assert set(first.values()).isdisjoint(again.values())


def test_entities_of_an_entity_ruler_survive(nlp):
    ruler = nlp.add_pipe("entity_ruler", before="ner")
    ruler.add_patterns([{"label": "Day", "pattern": "today"}, {"label": "X", "pattern": "84"}])
    fit(nlp, n_neighbors=1)
    doc = nlp(SENTENCES[1][0])  # crp: Test; 84 mg / l: Value
    found = [(ent.text, ent.label_, ent._.confidence) for ent in doc.ents]
    confidence = found[0][2]
    assert confidence > 0.5
    assert found == [("crp", "Test", confidence), ("84", "X", None), ("today", "Day", None)]
