"""The neighbours that `explain` names, against scikit-learn on the datastore's logits."""

import pickle
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
import spacy
from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors
from spacy.language import Language
from spacy.tokens import Doc, DocBin, Span
from spacy.training import Example

from spacy_btl.calibration.datastore import Datastore
from spacy_btl.corpora.docbin import read_docs
from spacy_btl.errors import CalibratorError, CorpusError
from spacy_btl.pipeline.explanation import (
    Neighbor,
    TokenExplanation,
    explain_span,
    in_context,
    read_fitted_corpus,
    top_neighbors,
)
from spacy_btl.search.search import sklearn_search
from spacy_btl.training.calibrate import calibrate
from spacy_btl.web.session import opened, read_note
from tests.conftest import PAPER, SENTENCES, make_examples

NOTE = "the left arm had severe pain , aspirin 84 mg daily"
TEXTS = [text for text, _ in SENTENCES]


@pytest.fixture
def nlp(trained_path) -> Language:
    """transformer > ner > knn_calibrator, fitted."""
    nlp = spacy.load(trained_path)
    nlp.add_pipe("knn_calibrator", config={**PAPER, "n_neighbors": 5}).fit(make_examples(nlp))
    return nlp


@pytest.fixture(scope="module")
def packaged(trained_path, corpus_path, tmp_path_factory) -> Path:
    """A calibrated pipeline, whose doc_cleaner drops the logits, fitted to `corpus_path`."""
    output = tmp_path_factory.mktemp("packaged") / "model"
    calibrate(str(trained_path), corpus_path, output, settings={"n_neighbors": 5})
    return output


def gold_type(text: str, entities: list[tuple[int, int, str]], start: int) -> str:
    return next((label for begin, end, label in entities if begin <= start < end), "O")


@pytest.mark.parametrize("k", [1, 5, 17])
def test_neighbours_and_weights_are_scikit_learns(nlp, k):
    pipe = nlp.get_pipe("knn_calibrator")
    pipe.calibrator.set_params(n_neighbors=k)
    doc = nlp(f"{NOTE} {TEXTS[0]}")  # a sentence of the corpus has neighbours at distance 0
    datastore = pipe.calibrator.datastore
    search = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(datastore.logits)
    distances, rows = search.kneighbors(doc._.token_logits)
    model = KNeighborsClassifier(k, algorithm="brute")
    shares = model.fit(datastore.logits, datastore.tags).predict_proba(doc._.token_logits)
    explanations = pipe.explain(doc[:])
    assert [explanation.token for explanation in explanations] == list(range(len(doc)))
    for i, explanation in enumerate(explanations):
        neighbors = explanation.neighbors
        places = [(n.document, n.start, n.end) for n in neighbors]
        assert places == [
            (datastore.documents[r], datastore.starts[r], datastore.ends[r]) for r in rows[i]
        ]
        np.testing.assert_allclose([n.distance for n in neighbors], distances[i], rtol=1e-6)
        per_label = defaultdict(float)
        for n in neighbors:
            per_label[n.label] += n.weight
        assert sum(per_label.values()) == pytest.approx(1)
        for tag, share in zip(model.classes_, shares[i], strict=True):
            label = datastore.tag_scheme.tags[tag]
            assert per_label.get(label, 0) == pytest.approx(share, abs=1e-6)


def test_neighbours_are_the_tokens_of_the_corpus(nlp):
    for explanation in nlp.get_pipe("knn_calibrator").explain(nlp(NOTE)[:]):
        assert len(explanation.neighbors) == 5
        for neighbor in explanation.neighbors:
            text, entities = SENTENCES[neighbor.document]
            assert text[neighbor.start : neighbor.end] in text.split()
            assert neighbor.start == 0 or text[neighbor.start - 1] == " "
            assert neighbor.label == gold_type(text, entities, neighbor.start)


def test_every_row_of_the_datastore_knows_its_token(nlp):
    datastore = nlp.get_pipe("knn_calibrator").calibrator.datastore
    places = zip(datastore.documents, datastore.starts, datastore.ends, strict=True)
    words = [TEXTS[document][start:end] for document, start, end in places]
    assert words == " ".join(TEXTS).split()
    assert [a.dtype for a in (datastore.documents, datastore.starts, datastore.ends)] == [
        "int32"
    ] * 3


def test_a_token_of_the_corpus_is_its_own_nearest_neighbour(nlp):
    pipe = nlp.get_pipe("knn_calibrator")
    for number, text in enumerate(TEXTS):
        doc = nlp(text)
        for token, explanation in zip(doc, pipe.explain(doc[:]), strict=True):
            nearest = explanation.neighbors[0]
            assert (nearest.document, nearest.start) == (number, token.idx)
            assert nearest.distance == pytest.approx(0, abs=1e-2)


@Language.component("tests_fail_on_crp")
def fail_on_crp(doc):
    return 1 / 0 if "crp" in doc.text else doc


def test_a_note_that_fails_while_fitting_leaves_the_numbers_of_the_others(nlp):
    pipe = nlp.get_pipe("knn_calibrator")
    nlp.add_pipe("tests_fail_on_crp", before="ner")
    nlp.set_error_handler(lambda *args: None)
    pipe.fit(make_examples(nlp))
    assert set(pipe.calibrator.datastore.documents) == {0, 2, 3}
    (explanation,) = pipe.explain(nlp(TEXTS[3])[1:2])
    assert explanation.neighbors[0].document == 3


def test_a_packaged_pipeline_explains_what_it_found(packaged, trained_path):
    nlp = spacy.load(packaged)
    pipe = nlp.get_pipe("knn_calibrator")
    doc = nlp(NOTE)
    assert doc._.token_logits is None
    assert doc.ents
    before = doc.to_bytes()
    found = [pipe.explain(ent) for ent in doc.ents]
    assert doc.to_bytes() == before
    assert nlp.pipe_names == ["transformer", "ner", "knn_calibrator", "doc_cleaner"]
    with nlp.select_pipes(disable="doc_cleaner"):
        kept = nlp(NOTE)
    assert kept._.token_logits is not None
    expected = [pipe.explain(ent) for ent in kept.ents]
    assert places(found) == places(expected)
    for ours, theirs in zip(flatten(found), flatten(expected), strict=True):
        assert ours.distance == pytest.approx(theirs.distance, abs=1e-3)


def flatten(explained: list[list[TokenExplanation]]) -> list[Neighbor]:
    return [n for tokens in explained for token in tokens for n in token.neighbors]


def places(explained: list[list[TokenExplanation]]) -> list[tuple]:
    return [(n.document, n.start, n.end, n.label) for n in flatten(explained)]


def test_tokens_of_a_users_own_are_kept_without_logits(packaged):
    nlp = spacy.load(packaged)
    pipe = nlp.get_pipe("knn_calibrator")

    def glued() -> Doc:
        words, spaces = ["severe", "fever", "84", "mg"], [True, False, True, False]
        return Doc(nlp.vocab, words=words, spaces=spaces)

    assert len(nlp.make_doc(glued().text)) != len(glued())
    with nlp.select_pipes(disable="doc_cleaner"):
        expected = pipe.explain(nlp(glued())[1:4])
    assert [explanation.token for explanation in expected] == [1, 2, 3]
    assert places([pipe.explain(nlp(glued())[1:4])]) == places([expected])


def test_another_ner_behind_it_takes_no_logits_from_it(nlp, trained_path, tmp_path):
    """Of the same types: only the network tells."""
    expected = places([nlp.get_pipe("knn_calibrator").explain(nlp(NOTE)[:])])
    other = spacy.load(trained_path)
    other.update(make_examples(other), sgd=other.resume_training())
    other.replace_listeners("transformer", "ner", ["model.tok2vec"])
    nlp.add_pipe("ner", source=other, name="other")
    doc = nlp(NOTE)
    assert places([nlp.get_pipe("knn_calibrator").explain(doc[:])]) == expected
    note = read_note(opened(nlp), NOTE)
    np.testing.assert_allclose(note.probabilities, doc._.token_probabilities, rtol=1e-6)


def nearest_word(explanation: TokenExplanation) -> str:
    nearest = explanation.neighbors[0]
    return (TEXTS * 2)[nearest.document][nearest.start : nearest.end]


def test_a_doc_retokenized_since_is_explained_as_it_is(nlp):
    doc = nlp("crp was 84 mg / l today")
    with doc.retokenize() as retokenizer:
        retokenizer.merge(doc[2:6])
    explanations = nlp.get_pipe("knn_calibrator").explain(doc[:])
    assert [explanation.token for explanation in explanations] == [0, 1, 2, 3]
    assert nearest_word(explanations[3]) == "today"


def test_white_space_is_left_out_and_unseen_tokens_have_no_neighbour(nlp):
    with pytest.warns(UserWarning, match="no wordpiece"):
        doc = nlp("fever \u200b  \n cough")
    assert [token.is_space for token in doc] == [False, False, True, False]
    explanations = nlp.get_pipe("knn_calibrator").explain(doc[:])
    assert [(e.token, len(e.neighbors)) for e in explanations] == [(0, 5), (1, 0), (3, 5)]
    assert nlp.get_pipe("knn_calibrator").explain(doc[1:3]) == [TokenExplanation(1, ())]
    assert top_neighbors([TokenExplanation(1, ())], 5) == []


def test_labels_are_tags_in_a_bio_pipeline():
    logits = np.array([[0, 4, 0], [0, 0, 4], [4, 0, 0]], dtype="float32")
    datastore = Datastore(
        logits=logits,
        tags=np.array([1, 2, 0], dtype="int16"),
        documents=np.zeros(3, dtype="int32"),
        starts=np.array([0, 3, 6], dtype="int32"),
        ends=np.array([2, 5, 8], dtype="int32"),
        prior=np.ones(3) / 3,
        labels=("Value",),
        scheme="BIO",
    )
    search = sklearn_search()
    search.fit(logits)
    doc = spacy.blank("en")("84 mg today")
    explanations = explain_span(doc[:], logits, datastore, search=search, k=1)
    assert [e.neighbors[0].label for e in explanations] == ["B-Value", "I-Value", "O"]


def test_nothing_to_explain_by_is_an_error(nlp, trained_path):
    doc = nlp(NOTE)
    pipe = nlp.get_pipe("knn_calibrator")
    pipe.calibrator.set_params(knn_weight=0.0)
    with pytest.raises(CalibratorError, match="no neighbours: with knn_weight = 0"):
        pipe.explain(doc[:2])
    pipe.calibrator.set_params(knn_weight=0.5, n_neighbors=1000)
    with pytest.raises(CalibratorError, match="n_neighbors = 1000"):
        pipe.explain(doc[:2])
    other = spacy.load(trained_path)
    unfitted = other.add_pipe("knn_calibrator")
    with pytest.raises(CalibratorError, match="is not fitted: call its fit"):
        unfitted.explain(doc[:2])


def test_a_calibrator_from_a_pickle_explains_with_and_without_the_logits(nlp):
    doc = nlp(NOTE)
    expected = nlp.get_pipe("knn_calibrator").explain(doc[:])
    back = pickle.loads(pickle.dumps(nlp.get_pipe("knn_calibrator")))
    whole = pickle.loads(pickle.dumps(nlp)).get_pipe("knn_calibrator")
    assert back.explain(doc[:]) == whole.explain(doc[:]) == expected
    doc._.token_logits = None
    assert back.explain(doc[:]) == whole.explain(doc[:]) == expected


def test_a_calibrator_that_was_removed_needs_the_logits(nlp):
    pipe, doc = nlp.get_pipe("knn_calibrator"), nlp(NOTE)
    doc._.token_logits = None
    nlp.remove_pipe("knn_calibrator")
    with pytest.raises(CalibratorError, match="is not in the pipeline"):
        pipe.explain(doc[:])


def neighbor(document: int, weight: float, distance: float, label: str = "Sign") -> Neighbor:
    return Neighbor(label, distance, weight, document, 0, 5)


def test_the_top_neighbours_have_the_largest_total_weight():
    tokens = [
        TokenExplanation(0, (neighbor(1, 0.6, 1.0), neighbor(2, 0.4, 2.0, "O"))),
        TokenExplanation(1, ()),  # unseen: it has no neighbour
        TokenExplanation(2, (neighbor(3, 0.5, 0.5), neighbor(2, 0.5, 3.0, "O"))),
    ]
    top = top_neighbors(tokens, 5)
    assert [n.document for n in top] == [2, 1, 3]
    assert [n.weight for n in top] == pytest.approx([0.45, 0.3, 0.25])
    assert [n.distance for n in top] == [2.0, 1.0, 0.5]
    assert [n.label for n in top] == ["O", "Sign", "Sign"]
    assert top_neighbors(tokens, 2) == top[:2]


def test_equal_top_neighbours_are_sorted_by_distance():
    tokens = [TokenExplanation(0, tuple(neighbor(i, 0.25, d) for i, d in enumerate([3, 1, 4, 2])))]
    assert [n.distance for n in top_neighbors(tokens, 4)] == [1, 2, 3, 4]


def test_the_weights_of_all_the_neighbours_of_a_span_sum_to_one(nlp):
    span = nlp(NOTE)[:6]
    top = top_neighbors(nlp.get_pipe("knn_calibrator").explain(span), 1000)
    assert sum(n.weight for n in top) == pytest.approx(1)
    assert len({(n.document, n.start) for n in top}) == len(top)


def test_the_saved_datastore_holds_no_word_of_the_corpus(packaged):
    data = (packaged / "knn_calibrator" / "datastore.safetensors").read_bytes().lower()
    words = {word for text in TEXTS for word in text.split() if len(word) > 3}
    assert {"patient", "severe", "aspirin"} <= words
    assert not [word for word in words if word.encode() in data]
    assert not [word for word in words if word.encode("utf-16-le") in data]


def save(path: Path, docs: list[Doc]) -> Path:
    DocBin(docs=docs, store_user_data=True).to_disk(path)
    return path


def test_neighbours_are_looked_up_in_the_corpus(packaged, corpus_path):
    nlp = spacy.load(packaged)
    pipe = nlp.get_pipe("knn_calibrator")
    docs = read_fitted_corpus(corpus_path, nlp.vocab, pipe.calibrator.datastore)
    (explanation,) = pipe.explain(nlp(TEXTS[0])[4:5])  # fever
    first = explanation.neighbors[0]
    assert docs[first.document].text == TEXTS[0]
    assert in_context(docs, first) == ("the patient had severe", "fever", "and cough")


def test_context_is_a_few_words_on_one_line():
    docs = [spacy.blank("en")("a b c d\n\ne f\t84\r\nmg / l and so on")]
    start = docs[0].text.index("84")
    expected = ("c d e f", "84", "mg / l and")
    assert in_context(docs, Neighbor("Value", 0.0, 1.0, 0, start, start + 2)) == expected
    assert in_context(docs, Neighbor("O", 0.0, 1.0, 0, 0, 1)) == ("", "a", "b c d e")


def test_documents_without_tokens_are_not_counted(trained_path, tmp_path):
    blank = spacy.blank("en")
    docs = [example.reference for example in make_examples(blank)]
    path = save(tmp_path / "gaps.spacy", [blank(""), docs[0], blank(""), *docs[1:]])
    nlp = calibrate(str(trained_path), path, tmp_path / "model", settings={"n_neighbors": 1})
    pipe = nlp.get_pipe("knn_calibrator")
    found = read_fitted_corpus(path, nlp.vocab, pipe.calibrator.datastore)
    for text in TEXTS:
        (nearest,) = pipe.explain(nlp(text)[:1])[0].neighbors
        assert found[nearest.document].text == text


def test_another_corpus_is_refused(packaged, corpus_path, tmp_path):
    nlp = spacy.load(packaged)
    datastore = nlp.get_pipe("knn_calibrator").calibrator.datastore
    docs = read_docs(corpus_path, nlp.vocab)
    few = save(tmp_path / "few.spacy", docs[:-1])
    short = save(tmp_path / "short.spacy", [*docs[:5], docs[5][:3].as_doc(), *docs[6:]])
    message = "not the corpus that the calibrator was fitted to"
    with pytest.raises(CorpusError, match=rf"few.spacy: {message}: it has 7 documents"):
        read_fitted_corpus(few, nlp.vocab, datastore)
    with pytest.raises(CorpusError, match=rf"short.spacy: {message}.* end of its document 5\."):
        read_fitted_corpus(short, nlp.vocab, datastore)
    with pytest.raises(CorpusError, match="no such file"):
        read_fitted_corpus(tmp_path / "gone.spacy", nlp.vocab, datastore)


def test_offsets_are_those_of_the_predicted_tokens(nlp):
    """The pipeline's tokens count, and not the annotation's."""
    text = "severe fever , 84 mg"
    predicted = nlp.make_doc(text)
    reference = Doc(nlp.vocab, words=["severe fever", ",", "84 mg"])
    reference.ents = [Span(reference, 0, 1, "Sign")]
    pipe = nlp.get_pipe("knn_calibrator")
    pipe.calibrator.set_params(n_neighbors=1)
    pipe.fit([Example(predicted, reference)])
    datastore = pipe.calibrator.datastore
    found = [text[a:b] for a, b in zip(datastore.starts, datastore.ends, strict=True)]
    assert set(found) <= {token.text for token in predicted}
    assert "," in found
