"""Mentions that may overlap: read from a group of spans, and as one tag per token and type.

T tokens, K types. Each type decides for itself, so a token has K tags: 0 outside the mentions of
the type, and inside them 1 in scheme IO, and 1 (`B-`) or 2 (`I-`) in BIO. Two more decisions per
token and type are its borders: whether a mention of the type begins, and whether one ends with it.
"""

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from spacy.attrs import ENT_IOB
from spacy.tokens import Doc, Span
from spacy.training import Example

from spacy_btl.arrays import OPS
from spacy_btl.errors import PipelineError
from spacy_btl.lines import white_space
from spacy_btl.tags import (
    MISSING,
    O_TAG,
    OUTSIDE,
    Annotation,
    Place,
    Runs,
    SchemeName,
    TagScheme,
    strip_space,
)

MENTIONS = "mentions"  # the group that `convert` writes

TypeTags = NDArray[np.int8]


class Targets(NamedTuple):
    """The gold tags of an example.

    tags (int8 [T, K]): MISSING in the whole row of a token whose annotation is missing.
    borders (int8 [T, 2 K]): 1 where a mention of a type begins, and in the second half where one
        ends; MISSING where the tags are.
    known (bool [T]): Which tokens have annotation; also where there is no type.
    unaligned (int): Mentions whose borders are inside tokens of the predicted doc. The tags of
        their tokens are missing.
    """

    tags: TypeTags
    borders: TypeTags
    known: NDArray[np.bool_]
    unaligned: int


class OverlappingScheme(TagScheme):
    """The tags of entity types of which each decides for itself, so that a token has K tags.

    The decision for a type is between `O` and its own tags: between S = 2 tags in scheme IO, and 3
    in BIO.

    mentions_key (str): The group of gold mentions.
    """

    overlapping = True
    tag_dtype = "int8"

    def __init__(
        self, types: Sequence[str], scheme: SchemeName = "IO", mentions_key: str = MENTIONS
    ) -> None:
        super().__init__(types, scheme)
        self.n_columns += 2 * len(self.types)  # the logits of the borders follow
        self.mentions_key = mentions_key

    @property
    def tag_shape(self) -> tuple[int, ...]:
        """The shape of the tags of one token, (K,)."""
        return (len(self.types),)

    @cached_property
    def columns(self) -> NDArray[np.int64]:
        """int64 [K, S]: for each type the columns of logits that it is decided between: `O` and its
        own tags."""
        own = 1 + np.arange(len(self.types) * self.width).reshape(-1, self.width)
        return np.insert(own, 0, O_TAG, axis=1)

    @cached_property
    def borders(self) -> NDArray[np.int64]:
        """int64 [K, 2]: for each type the columns of logits of its mentions' starts and ends. Each
        is decided against `O`."""
        return len(self) + np.arange(2 * len(self.types)).reshape(2, -1).T

    def add_borders(self, p: NDArray[Any], logits: NDArray[np.floating]) -> NDArray[Any]:
        """Append the probabilities that a mention of each type begins, and that one ends with each
        token: [N, K, S + 2]. 0 for a token that the encoder did not see.

        p (float64 [N, K, S]): Those of the tags.
        logits (float32 [N, C]): Raw logits.
        """
        margins = logits[:, self.borders] - logits[:, O_TAG, None, None]
        of_borders = OPS.sigmoid(margins.astype("float64"))
        of_borders[~np.any(logits, axis=1)] = 0
        return np.concatenate([p, of_borders], axis=-1)

    def type_probabilities(self, p: NDArray[Any]) -> NDArray[Any]:
        """The probability of each type [..., K] from those of its tags [..., K, S], also with
        those of borders behind them."""
        return p[..., 1 : 1 + self.width].sum(axis=-1)

    def count_tags(self, tags: NDArray[np.integer]) -> NDArray[np.int64]:
        """How many tokens have each tag of each type, by their tags [N, K]: int64 [K, S]."""
        return np.stack([(tags == tag).sum(axis=0) for tag in range(1 + self.width)], axis=1)

    def prior_logits(
        self,
        tag_counts: NDArray[np.integer],
        border_counts: NDArray[np.integer],
        n_tokens: int,
    ) -> NDArray[np.float64]:
        """The logits by frequencies alone, float64 [C]: 0 for `O`, and for the tags and borders of
        a type their log odds against the tokens that are not of it.

        tag_counts (int [1 + K W]): Training tokens of each tag.
        border_counts (int [2 K]): Those that a mention of each type begins with, or ends with.
        n_tokens (int): All annotated ones.
        """
        of_tags = np.asarray(tag_counts)[1:].reshape(-1, self.width)
        odds = [
            (counts + 1) / (n_tokens - counts.sum(axis=1, keepdims=True) + 1)
            for counts in (of_tags, np.asarray(border_counts)[:, None])
        ]
        return np.log(np.concatenate([[1.0], *map(np.ravel, odds)]))

    def are_known(self, tags: NDArray[np.integer]) -> NDArray[np.bool_]:
        """Which tokens have annotation, by their gold tags [N, K]: bool [N]."""
        return (tags != MISSING).all(axis=1)

    def classes(self, tags: NDArray[np.integer]) -> NDArray[np.bool_]:
        """Which classes tokens are of, by their tags [N, K]: bool [N, 1 + types]. A token is of
        every type that has it, and of `O`, which is first, if none has."""
        of_types = tags > 0
        return np.column_stack([~of_types.any(axis=1), of_types])

    def annotation(self, reference: Doc) -> Annotation:
        """The annotated mentions of a doc, each once, and where it is annotated."""
        mentions = read_mentions(reference, self.mentions_key)
        known = _annotated(reference, self.mentions_key, mentions)
        return Annotation(sorted(set(mentions)), known)

    def encode(self, example: Example, *, strict: bool = True) -> NDArray[np.int8]:  # type: ignore[override]
        """Read the gold tags of an example, see `encode_mentions`: int8 [T, K]."""
        return encode_mentions(example, self, self.mentions_key, strict=strict).tags

    def targets(self, example: Example) -> NDArray[np.int8]:
        """What a network learns of an example: its gold tags and borders, int8 [T, 3 K]."""
        found = encode_mentions(example, self, self.mentions_key)
        return np.hstack([found.tags, found.borders])

    def runs(
        self, tags: NDArray[np.integer], breaks: NDArray[np.int8], short: NDArray[np.bool_]
    ) -> Runs:
        """The mentions that tags [W, K] make, type by type as `TagScheme.runs` has them.

        RETURNS (Runs): In that order.
        """
        n, numbers = len(tags), np.flatnonzero(tags.any(axis=0))
        times = len(numbers)
        found = self.of_type(0).runs(
            tags[:, numbers].T.ravel(), np.tile(breaks, times), np.tile(short, times)
        )
        at, first = np.divmod(found.first, max(n, 1))
        runs = Runs(first, found.last - at * n, numbers[at])
        return runs.take(self.order(runs))

    def order(self, runs: Runs) -> NDArray[np.int64]:
        """The order of runs by their places, then by the names of their types, int64 [P]."""
        ranks = np.argsort(np.argsort(self.types))
        return np.lexsort((ranks[runs.types], runs.last, runs.first))

    def of_type(self, number: int) -> TagScheme:
        """The tags of one type alone, by its place in `types`."""
        return TagScheme(self.types[number : number + 1], self.scheme)


def has_group(doc: Doc, key: str) -> bool:
    """Whether a doc has a mention in `doc.spans[key]`."""
    return len(doc.spans.get(key, ())) > 0


def lacks_group(doc: Doc, key: str) -> bool:
    """Whether entities are read in the place of the mentions: a doc has no group `key`, or an empty
    one although it has entities."""
    return key not in doc.spans or (not has_group(doc, key) and len(doc.ents) > 0)


def read_mentions(doc: Doc, key: str) -> list[Place]:
    """The mentions of `doc.spans[key]`, or the entities of a doc without one.

    A discontinuous mention, whose fragments share an id, counts as its enclosing span. White space
    is trimmed from the ends; mentions of white space alone are left out.
    """
    mentions: dict[Any, Place] = {}
    spans: Iterable[Span] = doc.spans[key] if has_group(doc, key) else doc.ents
    grouped = has_group(doc, key)
    for number, span in enumerate(map(strip_space, spans)):
        if len(span):
            name = (span.id_ if grouped else "") or number
            start, end, _ = mentions.get(name, (span.start, span.end, ""))
            mentions[name] = (min(start, span.start), max(end, span.end), span.label_)
    return list(mentions.values())


def mention_types(doc: Doc, key: str) -> set[str]:
    """The types of the mentions of a doc.

    RAISES: PipelineError, for a mention that has no type, or "O", which would pass for none.
    """
    return _types(doc, key, read_mentions(doc, key))


def _types(doc: Doc, key: str, mentions: Sequence[Place]) -> set[str]:
    types = {label for _, _, label in mentions}
    if types & {"", OUTSIDE}:
        where = f"doc.spans[{key!r}]" if has_group(doc, key) else "doc.ents"
        raise PipelineError(
            f"A document has mentions in {where} without a type, or of a type 'O': rename the type."
        )
    return types


def annotated_tokens(doc: Doc, key: str) -> NDArray[np.bool_]:
    """Which tokens have annotation: bool [T].

    `convert` marks tokens as missing whose mentions have no room in `doc.ents`. They are annotated
    here, since their mentions are in the group. A doc with such a group and no annotation of
    entities at all is annotated as a whole.
    """
    return _annotated(doc, key, read_mentions(doc, key))


def _annotated(doc: Doc, key: str, mentions: Sequence[Place]) -> NDArray[np.bool_]:
    if not doc.has_annotation("ENT_IOB") and has_group(doc, key):
        return np.ones(len(doc), dtype=bool)
    annotated = doc.to_array(ENT_IOB) != 0
    for start, end, _ in mentions:
        annotated[start:end] = True
    return annotated


def encode_mentions(
    example: Example, scheme: TagScheme, key: str, *, strict: bool = True
) -> Targets:
    """Read the gold tags and borders of every type, aligned to the tokens of the predicted doc.

    Mentions of one type that overlap become one. White space belongs to no type; its tags are
    missing.

    strict (bool): Whether a type that is not in the scheme is an error. Otherwise it is left out,
        which changes nothing for the others.
    RAISES: PipelineError, for such a type, if strict.
    """
    doc, reference = example.predicted, example.reference
    columns = {label: i for i, label in enumerate(scheme.types)}
    mentions = read_mentions(reference, key)
    unknown = _types(reference, key, mentions) - columns.keys()
    if unknown and strict:
        raise PipelineError(
            f"The annotation holds {', '.join(sorted(map(repr, unknown)))}, which this model "
            "does not know. Initialize the pipe on a corpus that has it, or leave it out."
        )
    n_types = len(scheme.types)
    tags = np.zeros((len(doc), n_types), dtype="int8")
    borders = np.zeros((len(doc), 2 * n_types), dtype="int8")
    missing = white_space(doc) | ~_aligned(example, _annotated(reference, key, mentions))
    unaligned = 0
    to_predicted = example.alignment.y2x
    for start, end, label in sorted(mentions, key=_outer_first):
        tokens = to_predicted[start:end]
        if not len(tokens) or not _same(doc[tokens[0] : tokens[-1] + 1], reference[start:end]):
            missing[tokens] = True
            unaligned += 1
        elif label in columns:
            column = columns[label]
            _mark(tags[tokens[0] : tokens[-1] + 1, column], scheme)
            borders[tokens[0], column] = borders[tokens[-1], n_types + column] = 1
    tags[missing] = borders[missing] = MISSING
    return Targets(tags, borders, ~missing, unaligned)


def _outer_first(mention: Place) -> tuple[int, int]:
    start, end, _ = mention
    return start, -end


def _same(span: Span, other: Span) -> bool:
    """Whether spans of two tokenizations hold the same text, as spaCy's `Example` compares them."""
    first, second = (one.text.lower().strip().replace(" ", "") for one in (span, other))
    return first == second


def _aligned(example: Example, marked: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which tokens of the predicted doc align to marked tokens of the reference alone, bool [T]."""
    lengths = np.asarray(example.alignment.x2y.lengths, dtype="int64")
    rows = np.repeat(np.arange(len(lengths)), lengths)
    counted = np.bincount(
        rows, marked[np.asarray(example.alignment.x2y.data)], minlength=len(lengths)
    )
    return (lengths > 0) & (counted == lengths)


def _mark(tags: TypeTags, scheme: TagScheme) -> None:
    """Set the tags of one mention in a view. What an earlier one of the type has stays."""
    new = tags == 0
    tags[new] = scheme.width  # 1 in IO, and `I-` in BIO
    if new[0]:
        tags[0] = 1


def merged_mentions(mentions: Sequence[Place]) -> list[int]:
    """The numbers of the mentions that cannot be told from another of their type, which they
    overlap. Of several that overlap, one is told if it holds the others."""
    order = sorted(range(len(mentions)), key=lambda i: (mentions[i][2], *_outer_first(mentions[i])))
    merged: list[int] = []
    first, end, label = -1, 0, ""  # of mentions of one type that overlap
    whole = True  # whether the first holds the others
    for number in order:
        start, stop, own = mentions[number]
        if own != label or start >= end:
            first, end, label, whole = number, stop, own, True
            continue
        merged.append(number)
        if stop > end and whole:
            merged.append(first)
            whole = False
        end = max(end, stop)
    return merged
