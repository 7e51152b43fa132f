"""The entity types of a network, and how frequent their tags are: from labels, or from a corpus."""

import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
from spacy.training import Example

from spacy_btl.errors import BtlWarning, PipelineError, counted
from spacy_btl.mentions import OverlappingScheme, encode_mentions, lacks_group, mention_types
from spacy_btl.tags import OUTSIDE, SchemeName, gold_tags, has_tokens

# Docs that size the network's layers at `initialize`.
SAMPLE_SIZE = 10


class TagCounts(NamedTuple):
    """Training tokens per tag.

    tokens (int): All annotated tokens. Where mentions overlap, a token can have several tags.
    starts, ends (Counter[str]): Where mentions overlap, the tokens that a mention of each type
        begins with, and those that one ends with.
    sample (List[Example]): The first examples with any token.
    """

    tags: Counter[str]
    tokens: int
    sample: list[Example]
    starts: Counter[str]
    ends: Counter[str]


def find_tags(
    get_examples: Callable[[], Iterable[Example]],
    labels: Mapping[str, Any] | Sequence[str] | None,
    *,
    known: Sequence[str],
    scheme: SchemeName,
    name: str,
    mentions_key: str | None = None,
) -> tuple[tuple[str, ...], TagCounts]:
    """Find the types and the frequencies of their tags in labels, or else in one pass over the
    corpus.

    labels: As for `BtlNer.initialize`.
    known (Sequence[str]): Types that come first.
    name (str): The pipe's, for an error.
    mentions_key (Optional[str]): The group of the mentions, if they may overlap.
    RAISES: PipelineError, without a type, for one called "O", or labels of the other scheme, or
        counted in the other mode.
    """
    if isinstance(labels, Mapping):
        counts = _from_labels(labels, scheme, name, overlapping=mentions_key is not None)
        sample = list(islice(filter(has_tokens, get_examples()), SAMPLE_SIZE))
        counts = counts._replace(sample=sample)
    elif mentions_key is not None:
        counts = count_mentions(get_examples(), scheme, mentions_key, sample_size=SAMPLE_SIZE)
    else:
        counts = count_tags(get_examples(), scheme, sample_size=SAMPLE_SIZE)
    found = labels if isinstance(labels, Sequence) else entity_types(counts.tags, scheme)
    if OUTSIDE in found:
        raise PipelineError(f"'O' cannot be an entity type of the pipe '{name}'.")
    types = tuple(dict.fromkeys([*known, *found]))
    if not types:
        where = "`doc.ents`"
        if mentions_key is not None:
            where = f"`doc.spans[{mentions_key!r}]`, or `doc.ents`"
        raise PipelineError(
            f"The pipe '{name}' found no entity type in the training corpus. Check that its docs "
            f"have {where} (`python -m spacy btl stats CORPUS` shows them)."
        )
    return types, counts


def label_data(cfg: Mapping[str, Any], tags: Sequence[str]) -> dict[str, Any]:
    """What `spacy init labels` saves of a pipe's settings: training tokens per tag, and where
    mentions overlap the fields of `TagCounts`; nothing before they are counted."""
    of_tags = dict(zip(tags, cfg["tag_counts"], strict=False))
    if "n_tokens" not in cfg:
        return of_tags
    starts, ends = (
        dict(zip(cfg["labels"], half.tolist(), strict=True))
        for half in np.split(np.array(cfg["border_counts"]), 2)
    )
    return {"tokens": cfg["n_tokens"], "tags": of_tags, "starts": starts, "ends": ends}


def _from_labels(
    labels: Mapping[str, Any], scheme: SchemeName, name: str, *, overlapping: bool
) -> TagCounts:
    is_nested = "tokens" in labels and all(
        isinstance(labels.get(name), Mapping) for name in ("tags", "starts", "ends")
    )
    tags = labels["tags"] if is_nested else labels
    if is_nested != overlapping or not can_be_of(scheme, tags):
        mode = "with" if overlapping else "without"
        raise PipelineError(
            f"The labels given to the pipe '{name}' are not those of the tag scheme {scheme} "
            f"{mode} spans_key. Run `python -m spacy init labels` with this config again."
        )
    if not is_nested:
        return TagCounts(Counter(tags), sum(tags.values()), [], Counter(), Counter())
    starts, ends = (Counter(labels[name]) for name in ("starts", "ends"))
    return TagCounts(Counter(tags), labels["tokens"], [], starts, ends)


def count_tags(examples: Iterable[Example], scheme: SchemeName, *, sample_size: int) -> TagCounts:
    """Count the gold tags of a corpus in one pass.

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
    return TagCounts(counts, counts.total(), sample, Counter(), Counter())


def count_mentions(
    examples: Iterable[Example], scheme: SchemeName, key: str, *, sample_size: int
) -> TagCounts:
    """Count the tags and borders of mentions that may overlap. A token in none of them is `O`.

    Warns of docs without the group, whose entities are read instead, and of mentions that do not
    align with the tokens.

    key (str): The group of the mentions.
    RAISES: PipelineError, for a mention without a type, or of a type "O".
    """
    counts, starts, ends = Counter[str](), Counter[str](), Counter[str]()
    n_docs = n_without = n_unaligned = tokens = 0
    sample: list[Example] = []
    for example in examples:
        types = OverlappingScheme(sorted(mention_types(example.reference, key)), scheme)
        targets = encode_mentions(example, types, key)
        annotated = targets.tags[targets.known]
        tokens += len(annotated)
        of_tags = types.count_tags(annotated)[:, 1:].ravel().tolist()
        outside = int((~annotated.any(axis=1)).sum())
        counts.update(dict(zip(types.tags, [outside, *of_tags], strict=True)))
        borders = np.split(targets.borders[targets.known].sum(axis=0), 2)
        for border, of_types in zip((starts, ends), borders, strict=True):
            border.update(dict(zip(types.types, of_types.tolist(), strict=True)))
        n_docs += 1
        n_without += lacks_group(example.reference, key)
        n_unaligned += targets.unaligned
        if len(sample) < sample_size and has_tokens(example):
            sample.append(example)
    _warn_of(n_docs, n_without, n_unaligned, key)
    return TagCounts(counts, tokens, sample, starts, ends)


def _warn_of(n_docs: int, n_without: int, n_unaligned: int, key: str) -> None:
    if n_without:
        warnings.warn(
            f"{n_without:,} of {counted(n_docs, 'document')} of the training corpus without "
            f"mentions in doc.spans[{key!r}]: doc.ents are read instead. Set mentions_key to the "
            "name of the group, or convert the corpus again.",
            BtlWarning,
            stacklevel=4,
        )
    if n_unaligned:
        warnings.warn(
            f"{counted(n_unaligned, 'mention')} of the training corpus with a border inside a "
            "token of the pipeline: the tokens count as not annotated.",
            BtlWarning,
            stacklevel=4,
        )


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
