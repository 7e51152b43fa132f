"""Tags of tokens: from spans, and to spans."""

from itertools import groupby

import numpy as np
import pytest
import spacy
from hypothesis import given, settings
from hypothesis import strategies as st
from seqeval.metrics.sequence_labeling import get_entities
from spacy.tokens import Doc, Span
from spacy.training import Example

from spacy_btl.errors import BtlWarning, PipelineError
from spacy_btl.lines import PARAGRAPH, read_lines
from spacy_btl.pipeline.labels import entity_types
from spacy_btl.tags import MISSING, TagScheme, gold_tags, strip_space, token_types, trim_gold
from tests.conftest import decode_tokens

VOCAB = spacy.blank("en").vocab
TYPES = ("Sign", "Test", "Value")


def doc_of(words, entities=(), missing=()):
    """A doc of words with (start, end, type) entities, everything else being `O` or missing."""
    doc = Doc(VOCAB, words=words)
    doc.set_ents(
        [Span(doc, start, end, label=label) for start, end, label in entities],
        missing=[doc[i : i + 1] for i in missing],
        default="outside",
    )
    return doc


def encode(doc, scheme):
    predicted = Doc(doc.vocab, words=[token.text for token in doc])
    return TagScheme(TYPES, scheme).encode(Example(predicted, doc))


def as_tuples(spans):
    return [(span.start, span.end, span.label_) for span in spans]


@st.composite
def entities(draw):
    """Entities over a doc of T tokens: runs of random lengths, typed or not."""
    runs = draw(st.lists(st.tuples(st.integers(1, 4), st.sampled_from((None, *TYPES))), max_size=8))
    ends = np.cumsum([length for length, _ in runs]).tolist()
    found = [
        (end - length, end, label)
        for end, (length, label) in zip(ends, runs, strict=True)
        if label is not None
    ]
    return (ends[-1] if ends else 0), found


def merge_touching(found):
    merged = []
    for start, end, label in found:
        if merged and merged[-1][1:] == (start, label):
            start = merged.pop()[0]
        merged.append((start, end, label))
    return merged


@given(entities())
def test_bio_gives_every_entity_back(case):
    n_tokens, found = case
    doc = doc_of(["fever"] * n_tokens, found)
    assert as_tuples(decode_tokens(TagScheme(TYPES, "BIO"), doc, encode(doc, "BIO"))) == found


@given(entities())
def test_io_gives_every_entity_back_with_touching_ones_of_a_type_as_one(case):
    n_tokens, found = case
    doc = doc_of(["fever"] * n_tokens, found)
    decoded = decode_tokens(TagScheme(TYPES, "IO"), doc, encode(doc, "IO"))
    assert as_tuples(decoded) == merge_touching(found)


@settings(max_examples=300)
@given(st.lists(st.integers(0, 2 * len(TYPES)), max_size=12))
def test_an_odd_bio_sequence_loses_no_entity(tag_ids):
    """`I-` after `O`, or after another type, begins an entity, as seqeval reads it."""
    scheme = TagScheme(TYPES, "BIO")
    doc = doc_of(["fever"] * len(tag_ids))
    expected = [
        (start, last + 1, label)
        for label, start, last in get_entities([scheme.tags[i] for i in tag_ids])
    ]
    assert as_tuples(decode_tokens(scheme, doc, np.array(tag_ids, dtype=int))) == expected


@given(st.lists(st.integers(0, len(TYPES)), max_size=12))
def test_an_io_entity_is_a_run_of_one_type(tag_ids):
    doc = doc_of(["fever"] * len(tag_ids))
    decoded = decode_tokens(TagScheme(TYPES, "IO"), doc, np.array(tag_ids, dtype=int))
    runs = [(tag, len(list(run))) for tag, run in groupby(tag_ids)]
    assert [(s.label_, len(s)) for s in decoded] == [(TYPES[t - 1], n) for t, n in runs if t]


@pytest.mark.parametrize("scheme", ["IO", "BIO"])
def test_tags_and_their_types(scheme):
    tags = {"IO": ("O", "Sign", "Test"), "BIO": ("O", "B-Sign", "I-Sign", "B-Test", "I-Test")}
    made = TagScheme(TYPES[:2], scheme)
    assert made.tags == tags[scheme]
    assert len(made) == len(tags[scheme])
    assert made.tag_types.tolist() == {"IO": [0, 1, 2], "BIO": [0, 1, 1, 2, 2]}[scheme]
    assert entity_types(made.tags, scheme) == ["Sign", "Test"]


def test_an_unknown_scheme_is_refused():
    with pytest.raises(PipelineError, match="BILUO"):
        TagScheme(TYPES, "BILUO")


@pytest.mark.parametrize("scheme", ["IO", "BIO"])
def test_white_space_belongs_to_no_class(scheme):
    doc = doc_of(["\n", "severe", "  ", "fever", "\n"], [(1, 4, "Sign")])
    assert (encode(doc, scheme) == MISSING).tolist() == [True, False, True, False, True]


@pytest.mark.parametrize(
    ("words", "tags", "found"),
    [
        (["84", "\u2009", "mg"], ["B", "O", "I"], [(0, 3)]),
        (["84", " ", "\t", "mg"], ["B", "O", "O", "I"], [(0, 4)]),
        (["was", "84", "\n", "mg"], ["O", "B", "O", "I"], [(1, 4)]),
        (["was", "84", " ", "\r\n", " ", "mg"], ["O", "B", "O", "O", "B", "I"], [(1, 6)]),
        (["was", "84", "\n\n", "mg"], ["O", "B", "B", "I"], [(1, 2), (3, 4)]),
        (["was", "84", "\n", " ", "\n", "mg"], ["O", "B", "I", "I", "I", "I"], [(1, 2), (5, 6)]),
        (["was", "84", "\f", "mg"], ["O", "B", "I", "I"], [(1, 2), (3, 4)]),
        (["84", " ", "was"], ["B", "I", "O"], [(0, 1)]),
        ([" ", "84", " ", "\n"], ["B", "I", "I", "I"], [(1, 2)]),
        (["was", " ", "\n"], ["O", "B", "I"], []),
    ],
)
@pytest.mark.parametrize("scheme", ["IO", "BIO"])
def test_an_entity_goes_on_over_white_space_within_a_paragraph(scheme, words, tags, found):
    made = TagScheme(TYPES, scheme)
    names = {"IO": {"B": "Sign", "I": "Sign"}, "BIO": {"B": "B-Sign", "I": "I-Sign"}}[scheme]
    doc = doc_of(words)
    ids = np.array([made.tags.index(names.get(tag, tag)) for tag in tags])
    assert as_tuples(decode_tokens(made, doc, ids)) == [
        (start, end, "Sign") for start, end in found
    ]


NLP = spacy.blank("en")
ADMITTED = "The patient was admitted to the ward with severe chest pain and a productive cough"


@pytest.mark.parametrize(
    ("text", "mentions"),
    [
        ("severe chest\r\npain today", ["chest\r\npain"]),
        (f"{ADMITTED} and chest\npain at night, and with fever", ["chest\npain", "fever"]),
        (f"{ADMITTED} due to\nlobar\npneumonia", ["lobar", "pneumonia"]),
        ("Signs:\nfever\ncough\nchest pain\n", ["fever", "cough", "chest pain"]),
        ("Fever\nCough", ["Fever", "Cough"]),
        ("acute fever\n\ncough", ["fever", "cough"]),
        (f"{ADMITTED}\n- chest pain\n- fever", ["chest pain", "fever"]),
    ],
)
@pytest.mark.parametrize("scheme", ["IO", "BIO"])
def test_perfect_tags_give_the_mentions_of_wrapped_notes_and_of_lists(scheme, text, mentions):
    gold = NLP.make_doc(text)
    places = [(text.index(mention), mention) for mention in mentions]
    gold.ents = [gold.char_span(i, i + len(mention), label="Sign") for i, mention in places]
    made = TagScheme(TYPES, scheme)
    decoded = decode_tokens(made, gold, made.encode(Example(NLP.make_doc(text), gold)))
    assert [span.text for span in decoded] == mentions


def test_bio_goes_on_where_its_tags_say_so_and_io_only_behind_a_full_line():
    text = f"{ADMITTED}\nacute chest\npain at night"
    tags = ["O"] * len(NLP.make_doc(ADMITTED)) + ["O", "O", "B", "O", "I", "O", "O"]
    doc = NLP.make_doc(text)
    for scheme, found in (("BIO", ["chest\npain"]), ("IO", ["chest", "pain"])):
        made = TagScheme(TYPES, scheme)
        names = {"IO": {"B": "Sign", "I": "Sign"}, "BIO": {"B": "B-Sign", "I": "I-Sign"}}[scheme]
        ids = np.array([made.tags.index(names.get(tag, tag)) for tag in tags])
        assert [span.text for span in decode_tokens(made, doc, ids)] == found


def test_bio_begins_an_entity_behind_white_space_too():
    scheme = TagScheme(TYPES, "BIO")
    doc = doc_of(["fever", " ", "cough", " ", "rash"])
    tag_ids = np.array([scheme.tags.index(tag) for tag in ("B-Sign", "O", "B-Sign", "O", "I-Test")])
    expected = [(0, 1, "Sign"), (2, 3, "Sign"), (4, 5, "Test")]
    assert as_tuples(decode_tokens(scheme, doc, tag_ids)) == expected


def test_decoding_leaves_the_tags_as_they_are():
    doc, tag_ids = doc_of(["84", " ", "mg"]), np.array([1, 2])
    TagScheme(TYPES).decode(doc, tag_ids, read_lines(doc))
    assert tag_ids.tolist() == [1, 2]


def test_a_span_of_white_space_alone_strips_to_nothing():
    assert len(strip_space(doc_of(["fever", " ", "\n"])[1:3])) == 0


@pytest.mark.parametrize("scheme", ["IO", "BIO"])
def test_gold_that_begins_or_ends_in_white_space_is_trimmed(scheme):
    words = ["\n", "severe", "fever", " ", "was", "\n"]
    doc, clean = (
        doc_of(words, [(start, end, "Sign")], missing=[4]) for start, end in ((0, 4), (1, 3))
    )
    example = Example(Doc(VOCAB, words=words), doc)
    assert as_tuples(trim_gold(example).reference.ents) == [(1, 3, "Sign")]
    assert encode(doc, scheme).tolist() == encode(clean, scheme).tolist()
    assert as_tuples(doc.ents) == [(0, 4, "Sign")]  # the file's own doc is left alone
    assert trim_gold(Example(Doc(VOCAB, words=words), clean)).reference is clean


def test_gold_of_white_space_alone_is_left_out_with_a_warning():
    doc = doc_of(["fever", " ", "\n"], [(1, 3, "Sign")])
    with pytest.warns(BtlWarning, match="entities of white space alone"):
        assert encode(doc, "BIO").tolist() == [0, MISSING, MISSING]


def test_missing_annotation_is_missing():
    bare = Doc(VOCAB, words=["severe", "fever"])
    assert encode(bare, "IO").tolist() == [MISSING, MISSING]
    partly = doc_of(["no", "severe", "fever"], [(2, 3, "Sign")], missing=[1])
    assert encode(partly, "IO").tolist() == [0, MISSING, 1]


def test_a_type_that_the_model_lacks_is_named():
    doc = doc_of(["aspirin", "daily"], [(0, 1, "Drug")])
    with pytest.raises(PipelineError, match="'Drug'") as error:
        encode(doc, "IO")
    assert "aspirin" not in str(error.value)


def test_gold_of_another_tokenization_is_aligned():
    text_words = ["no", "heart-attack", "84", "mg", "today"]
    gold = Doc(VOCAB, words=text_words, spaces=[True, True, False, True, False])
    gold.set_ents([Span(gold, 1, 2, label="Sign"), Span(gold, 2, 3, label="Value")])
    words = ["no", "heart", "-", "attack", "84mg", "today"]
    spaces = [True, False, False, True, True, False]
    predicted = Doc(VOCAB, words=words, spaces=spaces)
    assert predicted.text == gold.text
    # An entity that ends inside a token cannot be a tag of it: nothing is known of that token.
    expected = ["O", "B-Sign", "I-Sign", "I-Sign", None, "O"]
    assert gold_tags(Example(predicted, gold), "BIO") == expected


def test_the_type_of_each_token():
    doc = doc_of(["no", "severe", "fever"], [(1, 3, "Sign")])
    assert token_types(doc) == ["O", "Sign", "Sign"]


# Tags over text with white space of all kinds: what decoding gives, spaCy takes and tags again.

TWO_TYPES = ("Sign", "Test")
TOKENS = st.sampled_from(["fever", "84", ".", " ", "\u2009", "\n", " \r\n", "\u2028", "\f"])
SCHEMES = st.sampled_from(["IO", "BIO"])


@st.composite
def tagged(draw: st.DrawFn) -> tuple[TagScheme, Doc, np.ndarray]:
    scheme = TagScheme(TWO_TYPES, draw(SCHEMES))
    tokens = draw(st.lists(st.tuples(TOKENS, st.integers(0, len(scheme) - 1)), max_size=12))
    words = [word for word, _ in tokens]
    tags = np.array([tag for _, tag in tokens], dtype=int)
    return scheme, Doc(VOCAB, words=words, spaces=[False] * len(words)), tags


@given(tagged())
def test_entities_are_whole_words_within_a_paragraph_and_of_the_type_of_their_tags(case):
    scheme, doc, tags = case
    spans = decode_tokens(scheme, doc, tags)
    doc.set_ents(spans)  # spaCy refuses spans that overlap
    assert not any(span[0].is_space or span[-1].is_space for span in spans)
    types = scheme.tag_types
    for token in doc:
        if not token.is_space:
            assert token.ent_type_ == ("", *TWO_TYPES)[types[tags[token.i]]]
    words, breaks, _ = read_lines(doc)
    begins = set(words[breaks == PARAGRAPH].tolist())
    assert not any(token.i in begins for span in spans for token in span[1:])
    assert as_tuples(spans) == sorted(as_tuples(spans))


@given(tagged())
def test_what_was_decoded_is_encoded_and_decoded_to_the_same(case):
    scheme, doc, tags = case
    spans = decode_tokens(scheme, doc, tags)
    gold = doc.copy()
    gold.set_ents(spans, default="outside")
    again = scheme.encode(Example(doc, gold))
    assert ((again == MISSING) == [token.is_space for token in doc]).all()
    decoded = as_tuples(decode_tokens(scheme, doc, np.where(again == MISSING, 0, again)))
    if scheme.scheme == "BIO":
        assert decoded == as_tuples(spans)
    else:  # what the words' own tags parted can be one entity now
        covered = {i for start, end, _ in decoded for i in range(start, end)}
        assert covered >= {i for start, end, _ in as_tuples(spans) for i in range(start, end)}
        assert len(decoded) <= len(spans)
