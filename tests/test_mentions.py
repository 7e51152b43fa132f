"""Mentions that overlap: reading, encoding and decoding, against plain sets of places."""

import numpy as np
import pytest
import spacy
from hypothesis import given
from hypothesis import strategies as st
from spacy.tokens import Doc, Span
from spacy.training import Example

from spacy_btl.errors import PipelineError
from spacy_btl.lines import read_lines
from spacy_btl.mentions import (
    OverlappingScheme,
    annotated_tokens,
    encode_mentions,
    lacks_group,
    merged_mentions,
    read_mentions,
)
from spacy_btl.tags import MISSING, TagScheme

VOCAB = spacy.blank("en").vocab
TYPES = ("Drug", "Sign")
KEY = "mentions"


def make_doc(words, mentions, *, ents=(), missing=()):
    doc = Doc(VOCAB, words=words)
    doc.spans[KEY] = [
        Span(doc, *place[:2], label=place[2], span_id=place[3] if len(place) > 3 else "")
        for place in mentions
    ]
    doc.set_ents(
        [Span(doc, *ent[:2], label=ent[2]) for ent in ents],
        missing=[doc[i : i + 1] for i in missing],
        default="outside",
    )
    return doc


def encode(doc, scheme="IO", types=TYPES):
    return encode_mentions(Example(doc.copy(), doc), TagScheme(types, scheme), KEY)


WORDS = ["no", "severe", "fever", "or", "cough"]


def test_a_token_has_a_tag_of_each_of_its_types():
    doc = make_doc(WORDS, [(1, 3, "Sign"), (2, 5, "Drug")])
    assert encode(doc).tags.tolist() == [[0, 0], [0, 1], [1, 1], [1, 0], [1, 0]]
    assert encode(doc, "BIO").tags.tolist() == [[0, 0], [0, 1], [1, 2], [2, 0], [2, 0]]


def test_each_mention_has_its_borders_also_where_tags_make_one_of_two():
    """The starts of `Drug` and `Sign`, then their ends."""
    doc = make_doc(WORDS, [(1, 3, "Sign"), (2, 5, "Sign"), (2, 3, "Drug")])
    assert encode(doc).borders.tolist() == [
        [0, 0, 0, 0],
        [0, 1, 0, 0],
        [1, 1, 1, 1],
        [0, 0, 0, 0],
        [0, 0, 0, 1],
    ]


def test_touching_mentions_stay_apart_in_bio_and_overlapping_ones_of_a_type_become_one():
    touching = make_doc(WORDS, [(1, 3, "Sign"), (3, 5, "Sign")])
    assert encode(touching, "BIO").tags[:, 1].tolist() == [0, 1, 2, 1, 2]
    nested = make_doc(WORDS, [(2, 3, "Sign"), (1, 4, "Sign")])
    assert encode(nested, "BIO").tags[:, 1].tolist() == [0, 1, 2, 2, 0]
    crossing = make_doc(WORDS, [(1, 3, "Sign"), (2, 5, "Sign")])
    assert encode(crossing, "BIO").tags[:, 1].tolist() == [0, 1, 2, 2, 2]


def test_fragments_with_one_id_are_their_enclosing_span():
    fragments = [(1, 2, "Sign", "T1"), (4, 5, "Sign", "T1"), (2, 3, "Drug", "T2")]
    doc = make_doc(WORDS, fragments)
    assert read_mentions(doc, KEY) == [(1, 5, "Sign"), (2, 3, "Drug")]
    assert encode(doc).tags.tolist() == [[0, 0], [0, 1], [1, 1], [0, 1], [0, 1]]


def test_white_space_is_trimmed_and_of_no_type():
    doc = make_doc(["no", "\n", "fever", " ", "\n"], [(1, 4, "Sign"), (4, 5, "Drug")])
    assert read_mentions(doc, KEY) == [(2, 3, "Sign")]
    assert encode(doc).tags[:, 1].tolist() == [0, MISSING, 1, MISSING, MISSING]


def test_missing_annotation_is_missing_for_all_types_unless_a_mention_is_there():
    doc = make_doc(WORDS, [(1, 3, "Sign"), (2, 4, "Drug")], ents=[(1, 3, "Sign")], missing=[3, 4])
    tags = encode(doc).tags
    assert tags[3].tolist() == [1, 0]  # left out of the entities, and yet known
    assert tags[4].tolist() == [MISSING, MISSING]
    assert annotated_tokens(doc, KEY).tolist() == [True] * 4 + [False]


def test_spans_without_any_entity_annotation_annotate_the_doc():
    doc = Doc(VOCAB, words=WORDS)
    assert encode(doc).tags.tolist() == [[MISSING] * 2] * 5
    doc.spans[KEY] = [Span(doc, 1, 3, label="Sign")]
    assert encode(doc).tags[:, 1].tolist() == [0, 1, 1, 0, 0]


@pytest.mark.parametrize("group", [None, []])
def test_entities_are_read_where_a_doc_has_no_mentions(group):
    doc = make_doc(WORDS, [], ents=[(1, 3, "Sign")])
    if group is None:
        del doc.spans[KEY]
    assert lacks_group(doc, KEY)
    assert read_mentions(doc, KEY) == [(1, 3, "Sign")]
    assert not lacks_group(make_doc(WORDS, []), KEY)


def example_of(words, spaces, reference):
    return Example(Doc(VOCAB, words=words, spaces=spaces), reference)


def test_another_tokenization_is_aligned_and_what_does_not_align_is_counted_and_missing():
    reference = make_doc(
        ["heart-attack", "today", "fe", "ver"], [(0, 1, "Sign"), (0, 2, "Drug"), (2, 3, "Sign")]
    )
    words = ["heart", "-", "attack", "today", "fe ver"]
    example = example_of(words, [False, False, True, True, True], reference)
    tags, borders, known, unaligned = encode_mentions(example, TagScheme(TYPES, "BIO"), KEY)
    assert known.tolist() == (tags != -1).all(axis=1).tolist()
    assert tags.tolist() == [[1, 1], [2, 2], [2, 2], [2, 0], [MISSING, MISSING]]
    assert borders[:, :2].tolist() == [[1, 1], [0, 0], [0, 0], [0, 0], [MISSING, MISSING]]
    assert borders[:, 2:].tolist() == [[0, 0], [0, 0], [0, 1], [1, 0], [MISSING, MISSING]]
    assert unaligned == 1


@pytest.mark.parametrize("label", ["O", ""])
def test_a_type_that_is_none_is_refused_without_quoting_the_text(label):
    with pytest.raises(PipelineError, match=r"doc\.spans\['mentions'\]") as caught:
        encode(make_doc(WORDS, [(1, 3, label)]))
    assert "fever" not in str(caught.value)


def test_an_unknown_type_is_refused():
    with pytest.raises(PipelineError, match="'Test', which this model does not know"):
        encode(make_doc(WORDS, [(1, 3, "Test")]))


places = st.lists(
    st.tuples(st.integers(0, 9), st.integers(1, 4), st.sampled_from(TYPES)), max_size=12
)


@given(places, st.sampled_from(["IO", "BIO"]))
def test_what_is_encoded_comes_back_but_for_what_is_merged(found, scheme):
    mentions = [(start, start + length, label) for start, length, label in found]
    doc = make_doc(["w"] * 14, mentions)
    spans = OverlappingScheme(TYPES, scheme).decode(doc, encode(doc, scheme).tags, read_lines(doc))
    decoded = [(span.start, span.end, span.label_) for span in spans]
    assert decoded == sorted(decoded)
    covered = {(i, label) for start, end, label in decoded for i in range(start, end)}
    assert covered == {(i, label) for start, end, label in mentions for i in range(start, end)}

    def overlaps(one, other):
        return one[2] == other[2] and one[0] < other[1] and other[0] < one[1]

    def chain(one):
        """The mentions of a type that one is joined with, directly or by others."""
        joined, before = {one}, set()
        while joined != before:
            before = joined
            joined = joined | {m for m in mentions if any(overlaps(m, j) for j in joined)}
        return joined

    def is_told(one):
        joined = chain(one)
        return one[:2] == (min(m[0] for m in joined), max(m[1] for m in joined))

    told = {one for one in mentions if is_told(one)}
    merged = merged_mentions(mentions)
    assert len(set(merged)) == len(merged) == len(mentions) - len(told)
    assert {one for i, one in enumerate(mentions) if i not in merged} == told
    if scheme == "BIO":
        assert told == set(decoded) & set(mentions)


def test_ten_thousand_spans_are_encoded():
    doc = Doc(VOCAB, words=["w"] * 20_000)
    doc.spans[KEY] = [Span(doc, i, i + 2, label=TYPES[i % 2]) for i in range(10_000)]
    doc.set_ents([], default="outside")
    tags = encode(doc).tags
    assert tags.sum() == 20_000
    assert np.unique(tags).tolist() == [0, 1]
