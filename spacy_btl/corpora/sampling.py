"""Rare-type sampling: show the passages that hold rare entity types more often."""

import random
from collections import Counter
from collections.abc import Iterable, Iterator
from math import sqrt
from pathlib import Path

from spacy import registry
from spacy.language import Language
from spacy.tokens import Doc, Span
from spacy.training import Example
from spacy.vocab import Vocab

from spacy_btl.corpora.augmenters import Augmenter
from spacy_btl.corpora.docbin import read_docs


@registry.augmenters("spacy_btl.RareTypeSampling.v1")
def rare_type_sampling(path: Path, threshold: float = 0.3, length: int = 60) -> Augmenter:
    """Yield a doc and, as docs of their own, again its passages that hold rare entity types.

    A passage is seen max(1, max_c sqrt(threshold / f_c)) times in the mean, c running over its
    types and f_c being the share of passages that hold c: the repeat factor of Gupta et al. 2019
    (arXiv 1908.03195, section 4.2), for passages in the place of images.

    path (Path): The `.spacy` file of the training documents, which are counted.
    threshold (float): Types in fewer than this share of the passages are shown more often.
    length (int): Tokens of a passage, more if a mention would be cut.
    """
    factors: dict[str, float] = {}

    def augment(nlp: Language, example: Example) -> Iterator[Example]:
        if not factors:
            docs = read_docs(Path(path), Vocab())
            factors.update(repeat_factors(docs, threshold, length))
        yield example
        for passage in passages(example.reference, length):
            factor = max((factors.get(ent.label_, 1.0) for ent in passage.ents), default=1.0)
            expected = factor - 1
            for _ in range(int(expected) + (random.random() < expected % 1)):
                reference = passage.as_doc()
                yield Example(nlp.make_doc(reference.text), reference)

    return augment


def repeat_factors(docs: Iterable[Doc], threshold: float, length: int) -> dict[str, float]:
    """How often the passages of each entity type are shown, at least 1."""
    held: Counter[str] = Counter()
    n_passages = 0
    for doc in docs:
        for passage in passages(doc, length):
            held.update({ent.label_ for ent in passage.ents})
            n_passages += 1
    return {label: max(1.0, sqrt(threshold * n_passages / n)) for label, n in held.items()}


def passages(doc: Doc, length: int) -> Iterator[Span]:
    """Cut a doc into passages of `length` tokens, more where a mention would be cut."""
    start = 0
    while start < len(doc):
        end = min(start + length, len(doc))
        while end < len(doc) and doc[end].ent_iob_ == "I":
            end += 1
        yield doc[start:end]
        start = end
