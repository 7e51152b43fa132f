"""Several augmenters, one after the other."""

from collections.abc import Callable, Iterable, Iterator

from spacy import registry
from spacy.language import Language
from spacy.training import Example

Augmenter = Callable[[Language, Example], Iterator[Example]]


@registry.augmenters("spacy_btl.ChainedAugmenters.v1")
def chained_augmenters(*augmenters: Augmenter) -> Augmenter:
    """Give every example of an augmenter to the next one.

    augmenters (Callable[[Language, Example], Iterator[Example]]): Any of spaCy's or ours, named
        under `[corpora.train.augmenter.*]`.
    """

    def augment(nlp: Language, example: Example) -> Iterator[Example]:
        examples: Iterable[Example] = [example]
        for augmenter in augmenters:
            examples = _augmented(augmenter, nlp, examples)
        yield from examples

    return augment


def _augmented(
    augmenter: Augmenter, nlp: Language, examples: Iterable[Example]
) -> Iterator[Example]:
    for example in examples:
        yield from augmenter(nlp, example)
