"""Passages with rare types come more often; no doc, mention or annotation is lost for it."""

import random
from collections import Counter
from math import sqrt

import pytest
import spacy
from hypothesis import given
from hypothesis import strategies as st
from spacy.tokens import Doc, DocBin
from spacy.training import Corpus, Example

from spacy_btl.corpora.augmenters import chained_augmenters
from spacy_btl.corpora.replacement import mention_replacement
from spacy_btl.corpora.sampling import passages, rare_type_sampling, repeat_factors
from spacy_btl.errors import CorpusError

NLP = spacy.blank("en")


def doc_of(tags: list[str]) -> Doc:
    return Doc(NLP.vocab, words=[f"w{i}" for i in range(len(tags))], ents=tags)


def passage(*types: str) -> list[str]:
    """Ten tags, each of the types once."""
    return [f"B-{label}" for label in types] + ["O"] * (10 - len(types))


# Of ten passages, Sign is in all and Rare in one.
CORPUS = [doc_of([*passage("Sign", "Rare"), *passage("Sign") * 4]), doc_of(passage("Sign") * 5)]


@pytest.fixture
def path(tmp_path):
    DocBin(docs=CORPUS).to_disk(tmp_path / "train.spacy")
    return tmp_path / "train.spacy"


def test_the_repeat_factor_is_the_root_of_how_far_a_type_falls_short():
    assert repeat_factors(CORPUS, 0.4, 10) == {"Sign": 1, "Rare": pytest.approx(sqrt(0.4 / 0.1))}


def test_the_passage_of_the_rare_type_comes_as_often_as_its_factor(path):
    augment = rare_type_sampling(path, threshold=0.625, length=10)  # a factor of 2.5
    random.seed(0)
    seen = Counter()
    for _ in range(400):
        docs = [example.reference for doc in CORPUS for example in augment(NLP, as_example(doc))]
        assert [len(doc) for doc in docs if len(doc) > 10] == [50, 50]
        seen.update(doc.text for doc in docs if len(doc) == 10)
    ((text, times),) = seen.items()
    assert text.split() == [*(f"w{i}" for i in range(10))]
    assert times / 400 == pytest.approx(1.5, abs=0.1)


def as_example(doc: Doc) -> Example:
    return Example(NLP.make_doc(doc.text), doc)


def test_a_passage_keeps_its_annotation_and_what_is_missing_of_it(path):
    doc = doc_of(passage("Rare"))
    doc.set_ents(list(doc.ents), missing=[doc[4:6]], default="outside")
    _, *again = rare_type_sampling(path, threshold=1, length=10)(NLP, as_example(doc))
    assert len(again) in (2, 3)
    for example in again:
        assert example.get_aligned_ner() == ["U-Rare", "O", "O", "O", None, None, *["O"] * 4]


PIECES = (["O"], ["B-A"], ["B-A", "I-A"], ["B-B", "I-B", "I-B", "I-B"])


@given(st.lists(st.sampled_from(PIECES), max_size=30), st.integers(1, 9))
def test_passages_divide_a_doc_without_cutting_a_mention(pieces, length):
    doc = doc_of([tag for piece in pieces for tag in piece])
    parts = list(passages(doc, length))
    assert [token.i for part in parts for token in part] == list(range(len(doc)))
    assert sum(len(part.ents) for part in parts) == len(doc.ents)
    assert all(len(part) >= length for part in parts[:-1])


def test_a_type_that_the_file_lacks_is_not_repeated(path):
    examples = list(rare_type_sampling(path)(NLP, as_example(doc_of(passage("Unknown")))))
    assert len(examples) == 1


def test_a_missing_file_is_named(tmp_path, path):
    corpus = Corpus(path, augmenter=rare_type_sampling(tmp_path / "none.spacy"))
    with pytest.raises(CorpusError, match=r"none\.spacy"):
        list(corpus(NLP))


def test_a_chain_gives_what_one_augmenter_yields_to_the_next(path):
    sampling = rare_type_sampling(path, threshold=0.4, length=10)  # a factor of 2
    replacement = mention_replacement(path, share=1.0)
    random.seed(0)
    examples = list(chained_augmenters(sampling, replacement)(NLP, as_example(CORPUS[0])))
    assert [len(example.reference) for example in examples] == [50, 10]
    labels = [[ent.label_ for ent in example.reference.ents] for example in examples]
    assert labels == [["Sign", "Rare", *["Sign"] * 4], ["Sign", "Rare"]]
    words = [{ent.text for ent in example.reference.ents} for example in examples]
    assert words[0] != {ent.text for ent in CORPUS[0].ents}
    assert words[1] != {"w0", "w1"}


def test_a_config_names_the_augmenters_of_a_chain(path):
    config = {
        "@augmenters": "spacy_btl.ChainedAugmenters.v1",
        "*": {
            "sampling": {"@augmenters": "spacy_btl.RareTypeSampling.v1", "path": str(path)},
            "replacement": {"@augmenters": "spacy_btl.MentionReplacement.v1", "path": str(path)},
        },
    }
    augment = spacy.registry.resolve({"augmenter": config})["augmenter"]
    assert next(augment(NLP, as_example(CORPUS[0]))).reference.ents
