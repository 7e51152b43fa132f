"""Swapped mentions keep their type, their place among the other words, and their spacing."""

import random
from collections import Counter

import pytest
import spacy
from hypothesis import given
from hypothesis import strategies as st
from spacy.tokens import Doc, DocBin
from spacy.training import Corpus

from spacy_btl.corpora.replacement import (
    collect_mentions,
    mention_replacement,
    replace_mentions,
)
from spacy_btl.errors import CorpusError

NLP = spacy.blank("en")


def annotated(text: str, *entities: tuple[int, int, str]) -> Doc:
    doc = NLP(text)
    doc.ents = [doc.char_span(*entity) for entity in entities]
    return doc


MENTIONS = {"Sign": [(["shortness", "of", "breath"], [True, True, True])], "Drug": []}


def test_a_swapped_mention_stands_in_the_place_of_the_old_one():
    doc = annotated("No fever, given aspirin.", (3, 8, "Sign"), (16, 23, "Drug"))
    new = replace_mentions(doc, MENTIONS, share=1.0)
    assert new.text == "No shortness of breath, given aspirin."
    assert [(ent.text, ent.label_) for ent in new.ents] == [
        ("shortness of breath", "Sign"),
        ("aspirin", "Drug"),
    ]
    assert doc.text == "No fever, given aspirin."


def test_touching_mentions_stay_two():
    doc = annotated("fever cough", (0, 5, "Sign"), (6, 11, "Sign"))
    new = replace_mentions(doc, MENTIONS, share=1.0)
    assert [ent.text for ent in new.ents] == ["shortness of breath"] * 2


def test_missing_annotation_stays_missing():
    doc = annotated("No fever today", (3, 8, "Sign"))
    doc.set_ents(list(doc.ents), missing=[doc[0:1]], default="outside")
    new = replace_mentions(doc, MENTIONS, share=1.0)
    assert [token.ent_iob_ for token in new] == ["", "B", "I", "I", "O"]


@given(st.integers(0, 2**32), st.floats(0, 1))
def test_words_outside_of_mentions_never_change(seed, share):
    doc = annotated("He had fever and a cough.\nNo pain", (7, 12, "Sign"), (19, 24, "Sign"))
    random.seed(seed)
    new = replace_mentions(doc, MENTIONS, share)
    outside = [token.text for token in new if not token.ent_type_]
    assert outside == [token.text for token in doc if not token.ent_type_]
    assert len(new.ents) == 2


def test_about_a_share_of_the_mentions_is_swapped():
    random.seed(0)
    doc = annotated("fever " * 2000, *((6 * i, 6 * i + 5, "Sign") for i in range(2000)))
    new = replace_mentions(doc, MENTIONS, share=0.3)
    swapped = Counter(ent.text for ent in new.ents)["shortness of breath"]
    assert swapped == pytest.approx(600, abs=80)


def test_mentions_are_collected_as_often_as_they_occur():
    docs = [annotated("fever and fever", (0, 5, "Sign"), (10, 15, "Sign")), annotated("none")]
    assert collect_mentions(docs) == {"Sign": [(["fever"], [True]), (["fever"], [False])]}


def test_a_corpus_is_augmented_anew_in_each_epoch(corpus_path):
    corpus = Corpus(corpus_path, augmenter=mention_replacement(corpus_path, share=0.5))
    random.seed(1)
    epochs = [[example.reference.text for example in corpus(NLP)] for _ in range(4)]
    assert len({tuple(epoch) for epoch in epochs}) > 1
    random.seed(1)
    assert [example.reference.text for example in corpus(NLP)] == epochs[0]
    known = {
        text for docs in collect_mentions(read(corpus_path)).values() for text, _ in map(join, docs)
    }
    for example in corpus(NLP):
        assert {ent.text for ent in example.reference.ents} <= known
        assert "-" not in example.get_aligned_ner()


def read(path):
    return list(DocBin().from_disk(path).get_docs(NLP.vocab))


def join(mention):
    words, spaces = mention
    text = "".join(word + " " * space for word, space in zip(words, spaces, strict=True))
    return text.strip(), spaces


def test_a_missing_file_of_mentions_is_named(tmp_path, corpus_path):
    corpus = Corpus(corpus_path, augmenter=mention_replacement(tmp_path / "none.spacy"))
    with pytest.raises(CorpusError, match=r"none\.spacy"):
        list(corpus(NLP))
