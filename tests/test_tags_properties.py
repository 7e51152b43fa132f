"""Tags over text with white space of all kinds: what decoding gives, spaCy takes and tags again."""

import numpy as np
import spacy
from hypothesis import given
from hypothesis import strategies as st
from spacy.tokens import Doc
from spacy.training import Example

from spacy_btl.lines import PARAGRAPH, read_lines
from spacy_btl.tags import MISSING, TagScheme
from tests.conftest import decode_tokens

VOCAB = spacy.blank("en").vocab
TYPES = ("Sign", "Test")
TOKENS = st.sampled_from(["fever", "84", ".", " ", "\u2009", "\n", " \r\n", "\u2028", "\f"])
SCHEMES = st.sampled_from(["IO", "BIO"])


@st.composite
def tagged(draw: st.DrawFn) -> tuple[TagScheme, Doc, np.ndarray]:
    scheme = TagScheme(TYPES, draw(SCHEMES))
    tokens = draw(st.lists(st.tuples(TOKENS, st.integers(0, len(scheme) - 1)), max_size=12))
    words = [word for word, _ in tokens]
    tags = np.array([tag for _, tag in tokens], dtype=int)
    return scheme, Doc(VOCAB, words=words, spaces=[False] * len(words)), tags


def as_tuples(spans) -> list[tuple[int, int, str]]:
    return [(span.start, span.end, span.label_) for span in spans]


@given(tagged())
def test_entities_are_whole_words_within_a_paragraph_and_of_the_type_of_their_tags(case):
    scheme, doc, tags = case
    spans = decode_tokens(scheme, doc, tags)
    doc.set_ents(spans)  # spaCy refuses spans that overlap
    assert not any(span[0].is_space or span[-1].is_space for span in spans)
    types = scheme.tag_types
    for token in doc:
        if not token.is_space:
            assert token.ent_type_ == ("", *TYPES)[types[tags[token.i]]]
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
