"""The sequential form of Binary Token Labels: a batcher that repeats each batch once per type."""

import random
from collections.abc import Callable, Iterable, Iterator
from typing import Literal

from spacy import registry
from spacy.tokens import Doc
from spacy.training import Example

NonTarget = Literal["outside", "ignore"]
Batcher = Callable[[Iterable[Example]], Iterable[list[Example]]]


@registry.batchers("spacy_btl.BinaryCopies.v1")
def binary_copies(batcher: Batcher, non_target: NonTarget = "outside") -> Batcher:
    """Yield every batch of another batcher once per entity type that is present in it.

    In the copy for a type, the mentions of the other types become `O`, or missing annotation. The
    copies are shuffled by Python's generator, which `training.seed` seeds. Steps and schedules
    count copies. It works with any NER pipe.

    batcher (Callable): Any spaCy batcher.
    non_target (str): "outside" (the paper) or "ignore".

    >>> from spacy_btl import binary_copies
    >>> batcher = binary_copies(lambda stream: [list(stream)])
    >>> len(list(batcher(examples)))  # one for each of four types
    4
    """

    def copy_batches(examples: Iterable[Example]) -> Iterator[list[Example]]:
        for batch in batcher(examples):
            types = sorted({ent.label_ for example in batch for ent in example.reference.ents})
            random.shuffle(types)
            for label in types or [""]:  # a batch without entities is shown once
                yield [keep_one_type(example, label, non_target) for example in batch]

    return copy_batches


def keep_one_type(example: Example, label: str, non_target: NonTarget) -> Example:
    """An example whose reference keeps the entities of one type only."""
    reference: Doc = example.reference.copy()
    own = [ent for ent in reference.ents if ent.label_ == label]
    others = [ent for ent in reference.ents if ent.label_ != label]
    missing = [token for token in reference if not token.ent_iob]
    spans = [reference[token.i : token.i + 1] for token in missing]
    if non_target == "ignore":
        spans += others
    reference.set_ents(own, missing=spans, default="outside")
    return Example(example.predicted, reference)
