"""The entity types of a network, and how frequent their tags are: from labels, or from a corpus."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice

from spacy.training import Example

from spacy_btl.errors import PipelineError
from spacy_btl.tags import SchemeName, TagScheme, gold_tags, has_tokens

# Docs that size the network's layers at `initialize`.
SAMPLE_SIZE = 10


def find_tags(
    get_examples: Callable[[], Iterable[Example]],
    labels: Mapping[str, int] | Sequence[str] | None,
    *,
    known: Sequence[str],
    scheme: SchemeName,
    name: str,
) -> tuple[TagScheme, Counter[str], list[Example]]:
    """Find the tags in labels, or else in one pass over the corpus.

    labels: As for `BtlNer.initialize`.
    known (Sequence[str]): Types that come first.
    name (str): The pipe's, for an error.
    RETURNS (Tuple[TagScheme, Counter[str], List[Example]]): The tags, training tokens per tag, and
        the first examples with any token.
    RAISES: PipelineError, without a type, for one called "O", or labels of the other scheme.
    """
    if isinstance(labels, Mapping):
        if not can_be_of(scheme, labels):
            raise PipelineError(
                f"The labels given to the pipe '{name}' are not those of the tag scheme {scheme}. "
                "Run `python -m spacy init labels` with this config again."
            )
        counts = Counter(labels)
        sample = list(islice(filter(has_tokens, get_examples()), SAMPLE_SIZE))
    else:
        counts, sample = count_tags(get_examples(), scheme, sample_size=SAMPLE_SIZE)
    found = labels if isinstance(labels, Sequence) else entity_types(counts, scheme)
    if "O" in found:
        raise PipelineError(f"'O' cannot be an entity type of the pipe '{name}'.")
    tags = TagScheme(tuple(dict.fromkeys([*known, *found])), scheme)
    if not tags.types:
        raise PipelineError(
            f"The pipe '{name}' found no entity type in the training corpus. Check that its docs "
            "have `doc.ents` (`python -m spacy btl stats CORPUS` shows them)."
        )
    return tags, counts, sample


def count_tags(
    examples: Iterable[Example], scheme: SchemeName, *, sample_size: int
) -> tuple[Counter[str], list[Example]]:
    """Count the gold tags of a corpus in one pass.

    RETURNS (Tuple[Counter[str], List[Example]]): Tokens per tag, and the first examples with any.
    RAISES: PipelineError, for an entity of the type "O", which would pass for none.
    """
    counts: Counter[str] = Counter()
    sample: list[Example] = []
    for example in examples:
        if any(ent.label_ == "O" for ent in example.reference.ents):
            raise PipelineError("The training corpus has entities of a type 'O': rename the type.")
        counts.update(tag for tag in gold_tags(example, scheme) if tag is not None)
        if len(sample) < sample_size and has_tokens(example):
            sample.append(example)
    return counts, sample


def entity_types(tags: Iterable[str], scheme: SchemeName) -> list[str]:
    """The entity types behind tag names, sorted."""
    labels = {tag for tag in tags if tag != "O"}
    return sorted(labels if scheme == "IO" else {tag[2:] for tag in labels})


def can_be_of(scheme: SchemeName, tags: Iterable[str]) -> bool:
    """Whether tag names, of all tags of a network, can be those of a scheme. A type may be called
    "B-cell", so with IO only a pair of "B-" and "I-" tells."""
    names = set(tags) - {"O"}
    if scheme == "BIO":
        return all(tag[:2] in ("B-", "I-") for tag in names)
    return not any(tag[:2] == "B-" and f"I-{tag[2:]}" in names for tag in names)
