"""Entities on a doc, and the confidence of each."""

import json
import pickle
from itertools import combinations, pairwise

import pytest
import spacy
from hypothesis import given
from hypothesis import strategies as st
from spacy.tokens import Doc, DocBin, Span
from spacy.tokens.underscore import Underscore

from spacy_btl.errors import BtlWarning
from spacy_btl.notes.entities import entities_of
from spacy_btl.pipeline.annotations import best_subset, install_extensions, set_entities

VOCAB = spacy.blank("en").vocab
LABELS = ["Sign", "Test"]
WORDS = ["no", "fever", ",", "severe", "cough", ".", "crp", "was", "84", "today"]


@pytest.fixture
def doc() -> Doc:
    """fever: Sign 0.9; severe cough: Sign 0.8; crp: Test, without a value."""
    install_extensions()
    doc = Doc(VOCAB, words=WORDS)
    spans = [Span(doc, 1, 2, "Sign"), Span(doc, 3, 5, "Sign"), Span(doc, 6, 7, "Test")]
    set_entities(doc, spans, [0.9, 0.8, None], labels=LABELS)
    return doc


def confidences(doc: Doc) -> list[tuple[str, str, float | None]]:
    return [(ent.text, ent.label_, ent._.confidence) for ent in doc.ents]


EXPECTED = [("fever", "Sign", 0.9), ("severe cough", "Sign", 0.8), ("crp", "Test", None)]


def test_entities_carry_their_confidence(doc):
    assert confidences(doc) == EXPECTED


def test_a_span_that_nothing_computed_has_none(doc):
    assert Span(doc, 1, 2, "Test")._.confidence is None  # relabelled
    assert Span(doc, 1, 2)._.confidence is None
    assert Span(doc, 0, 2, "Sign")._.confidence is None  # other offsets
    assert Span(doc, 1, 3, "Sign")._.confidence is None
    assert Span(doc, 4, 5, "Sign")._.confidence is None
    assert doc[1:2]._.confidence is None
    assert Span(Doc(VOCAB, words=WORDS), 1, 2, "Sign")._.confidence is None  # another doc


def test_new_entities_replace_ours_and_their_confidence(doc):
    set_entities(doc, [Span(doc, 3, 5, "Sign")], [0.5], labels=LABELS)
    assert confidences(doc) == [("severe cough", "Sign", 0.5)]
    assert Span(doc, 1, 2, "Sign")._.confidence is None
    set_entities(doc, [], labels=LABELS)
    assert confidences(doc) == []
    assert doc.has_annotation("ENT_IOB")
    assert not any("confidence" in str(key) for key in doc.user_data)


def test_entities_of_other_pipes_stay_and_win(doc):
    other = Span(doc, 4, 6, "Other", kb_id="Q1", span_id="x")
    doc.set_ents([doc.ents[0], other])  # in place of "severe cough" and "crp"
    set_entities(doc, [Span(doc, 1, 2, "Sign"), Span(doc, 3, 5, "Sign")], [0.7, 0.6], labels=LABELS)
    assert confidences(doc) == [("fever", "Sign", 0.7), ("cough .", "Other", None)]
    assert (doc.ents[1].kb_id_, doc.ents[1].id_) == ("Q1", "x")
    assert Span(doc, 3, 5, "Sign")._.confidence is None


def through_bytes(doc: Doc) -> Doc:
    return Doc(VOCAB).from_bytes(doc.to_bytes())


def through_doc_bin(doc: Doc) -> Doc:
    data = DocBin(docs=[doc], store_user_data=True).to_bytes()
    (back,) = DocBin().from_bytes(data).get_docs(VOCAB)
    return back


def through_pickle(doc: Doc) -> Doc:
    return pickle.loads(pickle.dumps(doc))


@pytest.mark.parametrize("way", [through_bytes, through_doc_bin, through_pickle, Doc.copy])
def test_confidence_travels_with_the_doc(doc, way):
    back = way(doc)
    assert confidences(back) == EXPECTED
    set_entities(back, [], labels=LABELS)
    assert back.ents == ()  # they are still known as ours


def test_confidence_moves_with_the_offsets(doc):
    part = doc[2:].as_doc(copy_user_data=True)
    assert confidences(part) == EXPECTED[1:]
    assert Span(part, 1, 2, "Sign")._.confidence is None  # where "fever" was
    assert confidences(Doc.from_docs([doc, doc])) == EXPECTED * 2


def test_a_confidence_of_another_package_is_told_and_not_written(doc, monkeypatch):
    install_extensions()
    monkeypatch.setitem(Underscore.span_extensions, "confidence", (None, None, None, None))
    with pytest.warns(BtlWarning, match="another package's"):
        install_extensions()
    assert [entity.confidence for entity in entities_of(1, doc.ents)] == [0.9, 0.8, None]


def test_confidence_outlives_merged_tokens(doc):
    with doc.retokenize() as retokenizer:
        for ent in doc.ents:
            retokenizer.merge(ent)
    assert confidences(doc) == EXPECTED


def test_foreign_user_data_is_left_alone(doc):
    foreign = {"note_id": "7", ("._.", "seen", None, None): True, (): 1, 5: 2, (1, 2, 3, 4): 3}
    doc.user_data.update(foreign)
    set_entities(doc, [], labels=LABELS)
    assert doc.user_data == foreign


def test_entities_of_another_ner_of_ours_stay(doc):
    set_entities(
        doc, [Span(doc, 8, 9, "Value"), Span(doc, 4, 5, "Value")], [0.6, 0.5], labels=["Value"]
    )
    assert confidences(doc) == [*EXPECTED, ("84", "Value", 0.6)]
    set_entities(doc, [], labels=["Value"])
    assert confidences(doc) == EXPECTED


def test_confidence_is_in_the_json_of_a_doc_and_comes_back(doc):
    places = [(3, 8), (11, 23), (26, 29)]
    assert [(ent.start_char, ent.end_char) for ent in doc.ents] == places
    data = json.loads(json.dumps(doc.to_json(underscore=["confidence"])))
    assert data["_"]["confidence"] == [0.9, 0.8, None]
    assert data["underscore_span"]["confidence"] == [
        {"start": start, "end": end, "value": value}
        for (start, end), value in zip(places, [0.9, 0.8, None], strict=True)
    ]
    back = Doc(VOCAB).from_json(data)
    assert confidences(back) == EXPECTED
    assert back.to_json(underscore=["confidence"]) == data


def test_the_json_of_a_doc_holds_its_present_entities_alone(doc):
    set_entities(doc, [Span(doc, 3, 5, "Test")], [0.5], labels=LABELS)
    data = doc.to_json(underscore=["confidence"])
    assert data["underscore_span"]["confidence"] == [{"start": 11, "end": 23, "value": 0.5}]
    set_entities(doc, [], labels=LABELS)
    assert doc.to_json(underscore=["confidence"])["_"] == {"confidence": []}
    assert doc[3:5]._.confidence is None


def test_the_json_of_a_doc_without_ours_can_be_asked_for_confidence():
    install_extensions()
    assert Doc(VOCAB, words=WORDS).to_json(underscore=["confidence"])["_"] == {"confidence": []}


def test_the_confidence_of_a_pipeline_is_in_the_json_of_its_docs(calibrated_path):
    nlp = spacy.load(calibrated_path)
    for text in ("the patient had severe fever and cough", "given aspirin daily", ""):
        doc = nlp(text)
        data = json.loads(json.dumps(doc.to_json(underscore=["confidence"])))
        assert data["_"]["confidence"] == [ent._.confidence for ent in doc.ents]
        assert len(data["ents"] if text else []) == len(doc.ents)


# The best spans that do not overlap, against trying all subsets

intervals = st.lists(
    st.tuples(st.integers(0, 9), st.integers(1, 5), st.integers(1, 8)).map(
        lambda drawn: (drawn[0], drawn[0] + drawn[1], drawn[2] / 8)
    ),
    max_size=9,
)


def apart(chosen):
    ordered = sorted(chosen)
    return all(one[1] <= other[0] for one, other in pairwise(ordered))


@given(intervals)
def test_no_subset_has_a_greater_sum(drawn):
    spans, weights = [one[:2] for one in drawn], [one[2] for one in drawn]
    chosen = best_subset(spans, weights)
    assert apart([spans[i] for i in chosen])
    assert [spans[i] for i in chosen] == sorted(spans[i] for i in chosen)
    subsets = (
        subset
        for size in range(len(spans) + 1)
        for subset in combinations(range(len(spans)), size)
        if apart([spans[i] for i in subset])
    )
    best = max(sum(weights[i] for i in subset) for subset in subsets)
    assert sum(weights[i] for i in chosen) == best  # eighths are exact


def test_it_is_not_greedy():
    assert best_subset([(0, 2), (1, 4), (3, 5)], [0.6, 0.9, 0.6]) == [0, 2]


def test_ties_fall_to_the_longer_interval_and_then_to_the_first():
    assert best_subset([(1, 3), (0, 3)], [0.5, 0.5]) == [1]
    assert best_subset([(0, 3), (0, 3)], [0.5, 0.5]) == [0]
    assert best_subset([(0, 2), (1, 3)], [0.5, 0.5]) == [0]  # the one that ends first
    assert best_subset([], []) == []
