"""Entities read from arrays, against spaCy's spans and spaCy's scorer."""

from dataclasses import fields

import numpy as np
import pytest
import spacy
from spacy.scorer import get_ner_prf
from spacy.tokens import Doc, Span
from spacy.training import Example

from spacy_btl.calibration.held_out import HeldOut, concatenate, part, read_entities
from spacy_btl.errors import CalibratorError, PipelineError
from spacy_btl.pipeline.annotations import LOGITS, install_extensions
from spacy_btl.pipeline.btl_ner import BtlNer
from spacy_btl.pipeline.reading import read_held_out
from spacy_btl.tags import MISSING, O_TAG, TagScheme
from tests.calibration.made_up import minimum_probability
from tests.conftest import decode_tokens, make_examples

TYPES = ["Sign", "Test"]
# White space inside, at the ends and between lines, and a token that the annotation has as two.
WORDS = ["\n", "a", "b", " ", "c", "d", "\u2009", "\n", " ", "e", "fg", "h", "\n", "\n", "i", " "]
WORDS += ["\n", "j", "\n", "k", "lm", "no", "\n", "p", "\n"]
FINER = [*WORDS[:10], "f", "g", *WORDS[11:]]


def make_nlp(scheme: str) -> spacy.Language:
    nlp = spacy.blank("en")
    pipe = nlp.add_pipe("btl_ner", name="ner", config={"scheme": scheme})
    for label in TYPES:
        pipe.add_label(label)
    install_extensions()
    nlp.disable_pipe("ner")  # its logits are made up here
    return nlp


def make_doc(nlp: spacy.Language, words: list[str]) -> Doc:
    return Doc(nlp.vocab, words=words, spaces=[False] * len(words))


def example(
    nlp: spacy.Language, rng: np.random.Generator, n_tags: int, *, partly: bool = True
) -> Example:
    """Random logits on a doc, and random annotation on another tokenization, if partly with a
    part that is missing."""
    doc, reference = make_doc(nlp, WORDS), make_doc(nlp, FINER)
    logits = rng.normal(0, 1, (len(doc), n_tags)).astype("float32")
    logits[rng.random(len(doc)) < 0.1] = 0
    doc._.set(LOGITS, logits)
    tags = rng.choice(3, len(reference), p=[0.5, 0.3, 0.2])
    ents = decode_tokens(TagScheme(TYPES), reference, tags)
    missing = [reference[4:7]] if partly and rng.random() < 0.5 else []
    ents = [ent for ent in ents if not missing or ent.end <= 4 or ent.start >= 7]
    reference.set_ents(ents, missing=missing)
    return Example(doc, reference)


def read(nlp: spacy.Language, examples: list[Example]) -> HeldOut:
    ner = nlp.get_pipe("ner")
    assert isinstance(ner, BtlNer)
    return read_held_out(nlp, examples, ner=ner, reader="a test")


@pytest.mark.parametrize("scheme_name", ["IO", "BIO"])
@pytest.mark.parametrize("seed", range(15))
@pytest.mark.parametrize("partly", [True, False])
def test_entities_are_spacys_and_correct_as_spacys_scorer_has_it(scheme_name, seed, partly):
    rng = np.random.default_rng(seed)
    nlp = make_nlp(scheme_name)
    scheme = TagScheme(TYPES, scheme_name)
    examples = [example(nlp, rng, len(scheme), partly=partly) for _ in range(6)]
    held_out = read(nlp, examples)
    assert partly or held_out.annotated.all()
    p = rng.dirichlet(np.ones(len(scheme)), len(held_out.tags))
    tags = rng.integers(0, len(scheme), len(p))
    found = read_entities(held_out, tags, p, scheme=scheme)

    expected = []
    for number, eg in enumerate(examples):
        doc = eg.predicted
        words = [token.i for token in doc if not token.is_space]
        of_doc = held_out.documents == number
        doc_tags, doc_p = np.zeros(len(doc), dtype=int), np.zeros((len(doc), len(scheme)))
        doc_tags[words], doc_p[words] = tags[of_doc], p[of_doc]
        doc.set_ents(decode_tokens(scheme, doc, doc_tags))
        expected += [(ent.label_, minimum_probability(ent, doc_p, scheme)) for ent in doc.ents]
    scores = get_ner_prf(examples)
    n_gold = sum(len(eg.reference.ents) for eg in examples)
    n_correct = int(found.correct.sum())
    assert len(held_out.gold_ents) == n_gold
    if len(found.correct):
        assert scores["ents_p"] == pytest.approx(n_correct / len(found.correct))
    assert scores["ents_r"] == pytest.approx(n_correct / max(n_gold, 1))
    if not partly:
        labels = [TYPES[i - 1] for i in found.types]
        assert labels == [label for label, _ in expected]
        np.testing.assert_allclose(found.p, [value for _, value in expected])


def test_tokens_are_those_that_are_no_white_space(trained_path):
    nlp = spacy.load(trained_path)
    ner = nlp.get_pipe("ner")
    doc = nlp.make_doc("fever \n \u200b cough")
    eg = Example.from_dict(doc, {"entities": [(0, 5, "Sign")]})
    eg.reference.set_ents(list(eg.reference.ents), missing=[eg.reference[3:]])
    with pytest.warns(UserWarning, match="no wordpiece"):
        held_out = read_held_out(nlp, [eg], ner=ner, reader="a test")
    words = [token for token in doc if not token.is_space]
    assert held_out.starts.tolist() == [token.idx for token in words]
    assert held_out.ends.tolist() == [token.idx + len(token) for token in words]
    assert held_out.tags[0] == 1 + ner.labels.index("Sign")
    assert held_out.tags[-1] == MISSING
    assert held_out.seen.tolist() == [token.text != "\u200b" for token in words]
    assert held_out.rows().tags.tolist() == [held_out.tags[0]]
    assert doc._.get(LOGITS) is None  # it was a copy that was read


def test_parts_are_joined_as_if_read_at_once(trained_path):
    nlp = spacy.load(trained_path)
    ner = nlp.get_pipe("ner")
    examples = make_examples(nlp)
    parts = [read_held_out(nlp, [eg], ner=ner, reader="a test") for eg in examples]
    joined, whole = concatenate(parts), read_held_out(nlp, examples, ner=ner, reader="a test")
    np.testing.assert_allclose(joined.logits, whole.logits, atol=1e-4)
    for name in (
        field.name for field in fields(HeldOut) if field.name not in ("logits", "documents")
    ):
        np.testing.assert_array_equal(getattr(joined, name), getattr(whole, name))


@pytest.mark.parametrize("seed", range(5))
def test_a_part_has_the_entities_of_its_documents(seed):
    """What the parts have together is what the whole has, and each what it has when read alone."""
    nlp = make_nlp("IO")
    rng = np.random.default_rng(seed)
    examples = [example(nlp, rng, 3) for _ in range(5)]
    whole = read(nlp, examples)
    scheme = TagScheme(TYPES)
    p = np.ones((1, 3)) / 3
    tags = rng.choice(3, len(whole.tags))
    for number in range(5):
        chosen = part(whole, np.arange(5) == number)
        alone = read(nlp, examples[number : number + 1])
        assert (chosen.logits == alone.logits).all()
        assert (chosen.tags == alone.tags).all()
        assert len(chosen.gold_ents) == len(alone.gold_ents)
        here = tags[whole.documents == number]
        ours, theirs = (
            read_entities(which, here, p.repeat(len(here), axis=0), scheme=scheme)
            for which in (chosen, alone)
        )
        assert (ours.correct == theirs.correct).all()
    odd = part(whole, np.arange(5) % 2 == 1)
    assert set(odd.documents) == {1, 3}
    assert len(part(whole, np.zeros(5, bool)).gold_ents) == 0


def test_an_entity_of_an_unknown_type_is_there_to_be_missed(trained_path):
    nlp = spacy.load(trained_path)
    eg = Example.from_dict(nlp.make_doc("fever today"), {"entities": [(0, 5, "Person")]})
    held_out = read_held_out(nlp, [eg], ner=nlp.get_pipe("ner"), reader="a test")
    assert held_out.tags.tolist() == [MISSING, O_TAG]
    assert held_out.gold_ents.tolist() == [[0, 1, 0]]


def test_what_cannot_be_read_is_a_clear_error(trained_path):
    nlp = spacy.load(trained_path)
    ner = nlp.get_pipe("ner")
    eg = Example.from_dict(nlp.make_doc("fever"), {"entities": [(0, 5, "Person")]})
    with pytest.raises(PipelineError, match="'Person', which this model does not know"):
        read_held_out(nlp, [eg], ner=ner, reader="a test", strict=True)
    with pytest.raises(CalibratorError, match="reached 'a test' without token logits"):
        read_held_out(nlp, make_examples(nlp), ner=ner, reader="a test", disable=["ner"])


@pytest.mark.parametrize("scheme_name", ["IO", "BIO"])
def test_gold_with_white_space_at_its_ends_is_read_without_it(scheme_name):
    nlp = make_nlp(scheme_name)
    scheme = TagScheme(TYPES, scheme_name)
    doc, reference = (make_doc(nlp, ["no", "\n", "fever", "\n", "today"]) for _ in range(2))
    reference.ents = [Span(reference, 1, 4, label="Sign")]
    doc._.set(LOGITS, np.ones((5, len(scheme)), "float32"))
    held_out = read(nlp, [Example(doc, reference)])
    assert held_out.gold_ents.tolist() == [[2, 3, 1]]
    assert held_out.tags.tolist() == [0, 1, 0]
    found = read_entities(held_out, held_out.tags, np.ones((3, len(scheme))), scheme=scheme)
    assert found.correct.tolist() == [True]
