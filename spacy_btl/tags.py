"""Convert between entity spans and one tag per token. All other packages count in these tags.

T tokens, C tags. Tag 0 is `O`. Scheme "IO" (the paper's) has one tag per entity type, so two
touching mentions of one type become one span; "BIO" has two tags per type and keeps them apart.
"""

import warnings
from collections.abc import Sequence
from functools import cached_property
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from spacy.attrs import ENT_IOB
from spacy.tokens import Doc, Span, Token
from spacy.training import Example

from spacy_btl.errors import BtlWarning, PipelineError
from spacy_btl.lines import FULL_LINE, PARAGRAPH, Lines

O_TAG = 0
OUTSIDE = "O"  # its name
MISSING = -1

SchemeName = Literal["IO", "BIO"]


# First token, the one after the last, type.
Place = tuple[int, int, str]


class Annotation(NamedTuple):
    """The annotation of a doc.

    mentions (List[Place]): Those that a pipe is to find.
    known (bool [T]): Which tokens have annotation.
    """

    mentions: list[Place]
    known: NDArray[np.bool_]


class Runs(NamedTuple):
    """P entities as runs of words.

    first, last (int64 [P]): Their first and last words.
    types (int64 [P]): The places of their types in `TagScheme.types`.
    """

    first: NDArray[np.int64]
    last: NDArray[np.int64]
    types: NDArray[np.int64]

    def take(self, which: NDArray[Any]) -> "Runs":
        """Some of the runs, by numbers or bool [P]."""
        return Runs(self.first[which], self.last[which], self.types[which])

    def of(self, values: NDArray[Any], combine: np.ufunc) -> NDArray[Any]:
        """Combine values of words over each run: [P]. values [W, types]: Those of each type."""
        combined = np.zeros(len(self.first), dtype=values.dtype)
        if len(combined):
            # Type by type, since reduceat goes over what lies between two runs as well.
            order = np.lexsort((self.first, self.types))
            first, last, types = self.take(order)
            bounds = types * (len(values) + 1) + np.stack([first, last + 1])
            padded = np.pad(values, ((0, 1), (0, 0))).T.ravel()
            combined[order] = combine.reduceat(padded, bounds.T.ravel())[::2]
        return combined

    def covered(self, n_words: int, n_types: int) -> NDArray[np.bool_]:
        """Which words are in a run of which type, bool [n_words, n_types]."""
        steps = np.zeros((n_words + 1, n_types), dtype="int32")
        np.add.at(steps, (self.first, self.types), 1)
        np.add.at(steps, (self.last + 1, self.types), -1)
        return steps[:-1].cumsum(axis=0) > 0


class TagScheme:
    """The tags of a list of entity types, of which each token has one.

    `mentions.OverlappingScheme` is the form in which each type decides for itself. What differs is
    in methods, so that nothing else has to ask which of the two it has.

    types (Sequence[str]): The entity types, in the order of their tags.
    scheme (str): "IO" or "BIO".
    n_columns (int): C, the number of logits of a token.
    """

    overlapping = False
    tag_dtype = "int16"

    def __init__(self, types: Sequence[str], scheme: SchemeName = "IO") -> None:
        if scheme not in ("IO", "BIO"):
            raise PipelineError(f"Unknown tag scheme {scheme!r}: use 'IO' or 'BIO'.")
        prefixes = ("",) if scheme == "IO" else ("B-", "I-")
        self.types = tuple(types)
        self.scheme = scheme
        self.tags = (OUTSIDE, *(prefix + label for label in self.types for prefix in prefixes))
        self.n_columns = len(self.tags)
        self._ids = {tag: i for i, tag in enumerate(self.tags)}

    def __len__(self) -> int:
        return len(self.tags)

    @property
    def width(self) -> int:
        """The number of tags of a type."""
        return 1 if self.scheme == "IO" else 2

    @cached_property
    def tag_types(self) -> NDArray[np.int64]:
        """int64 [C]: the type of each tag, counted from 1 in the order of `types`; 0 for `O`."""
        return np.concatenate([[0], np.repeat(np.arange(1, len(self.types) + 1), self.width)])

    @property
    def tag_shape(self) -> tuple[int, ...]:
        """The shape of the tags of one token: they have no axis of their own."""
        return ()

    @cached_property
    def columns(self) -> NDArray[np.int64]:
        """int64 [C]: the columns of logits that each decision is between. There is one decision
        per token, between all of them. `logits[..., columns]` has each along the last axis."""
        return np.arange(len(self))

    def type_probabilities(self, p: NDArray[Any]) -> NDArray[Any]:
        """The probability of each type [..., K] from those of the tags [..., C]."""
        return self.sum_by_type(p)[..., 1:]

    def count_tags(self, tags: NDArray[np.integer]) -> NDArray[np.int64]:
        """How many tokens have each tag, by their tags [N]: int64 [C]."""
        return np.bincount(tags, minlength=len(self))

    def are_known(self, tags: NDArray[np.integer]) -> NDArray[np.bool_]:
        """Which tokens have annotation, by their gold tags [N]: bool [N]."""
        return tags != MISSING

    def classes(self, tags: NDArray[np.integer]) -> NDArray[np.bool_]:
        """Which classes tokens are of, by their tags [N]: bool [N, 1 + types], `O` first."""
        return self.tag_types[tags][:, None] == np.arange(1 + len(self.types))

    def annotation(self, reference: Doc) -> Annotation:
        """The annotated entities of a doc, in its tokens, and where it is annotated."""
        entities = [(ent.start, ent.end, ent.label_) for ent in reference.ents]
        return Annotation(entities, reference.to_array(ENT_IOB) != 0)

    def sum_by_type(self, values: NDArray[Any]) -> NDArray[Any]:
        """Sum values of tags [..., C] over the tags of `O` and of each type: [..., 1 + types]."""
        starts = np.flatnonzero(np.diff(self.tag_types, prepend=-1))
        return np.add.reduceat(values, starts, axis=-1)

    def encode(self, example: Example, *, strict: bool = True) -> NDArray[np.int64]:
        """Read the gold tags of an example, aligned to the tokens of its predicted doc.

        strict (bool): Whether an entity type that is not among `types` is an error; otherwise its
            tokens are MISSING.
        RETURNS (int64 [T]): Tag ids; MISSING where the annotation is missing or does not align,
            and for white space, which belongs to no class.
        RAISES: PipelineError, for an entity type that is not among `types`, if strict.
        """
        gold = gold_tags(example, self.scheme)
        unknown = set(gold) - set(self._ids) - {None}
        if unknown and strict:
            raise PipelineError(
                f"The annotation holds {', '.join(sorted(map(repr, unknown)))}, which this model "
                "does not know. Initialize the pipe on a corpus that has it, or leave it out."
            )
        ids = [MISSING if tag is None else self._ids.get(tag, MISSING) for tag in gold]
        return np.array(ids, dtype="int64")

    def targets(self, example: Example) -> NDArray[np.integer]:
        """What a network learns of an example: its gold tags, see `encode`."""
        return self.encode(example)

    def decode(self, doc: Doc, tags: NDArray[np.integer], lines: Lines) -> list[Span]:
        """Turn tags into entity spans, see `runs` and `spans`.

        tags (int [W], or [W, K]): Of each word, a token that is not white space.
        lines (Lines): Those of the doc, from `read_lines`.
        """
        return self.spans(doc, self.runs(tags, lines.breaks, lines.short), lines)

    def spans(self, doc: Doc, runs: Runs, lines: Lines) -> list[Span]:
        """The spans of runs of the words of a doc. White space between the words of an entity,
        which the encoder cannot see, is part of it."""
        words = lines.words
        found = np.stack([words[runs.first], words[runs.last] + 1, runs.types], axis=1).tolist()
        return [Span(doc, start, end, label=self.types[number]) for start, end, number in found]

    def runs(
        self, tags: NDArray[np.integer], breaks: NDArray[np.int8], short: NDArray[np.bool_]
    ) -> Runs:
        """The entities that tags make. An `I-` that continues nothing begins a new one; where a
        line ends, see `entity_starts`.

        tags (int [W], or [W, K]): Of each word.
        breaks (int8 [W]), short (bool [W]): See `lines.Lines`; of one doc, or of several.
        RETURNS (Runs): In the order of the text, and none overlapping another.
        """
        types = self.tag_types[tags]
        borders = np.flatnonzero(self.entity_starts(tags, breaks, short))
        is_entity = types[borders] > 0
        ends = np.append(borders[1:], len(types))[is_entity]
        first = borders[is_entity]
        return Runs(first, ends - 1, types[first] - 1)

    def run_probabilities(self, runs: Runs, p: NDArray[np.floating]) -> NDArray[np.float64]:
        """The minimum, over the words of each of P runs, of the probability of its type:
        float64 [P].

        p (float [W, ...]): Those of the tags of the words, by decision.
        """
        # The sum over the tags of a type may round to more than 1.
        return np.minimum(runs.of(self.type_probabilities(p), np.minimum), 1.0).astype("float64")

    def entity_starts(
        self, tags: NDArray[np.integer], breaks: NDArray[np.int8], short: NDArray[np.bool_]
    ) -> NDArray[np.bool_]:
        """Which words an entity does not go on to from the word before: bool [W].

        It ends at a line end, but for one that parts two lines of a paragraph: in BIO where an
        `I-` follows, and in IO behind a full line. Two short lines that hold words of one type and
        nothing else are items of a list, and stay apart in IO.

        tags (int [W]): One per word.
        breaks (int8 [W]), short (bool [W]): See `lines.Lines`; of one doc, or of several.
        """
        types = self.tag_types[tags]
        starts = np.diff(types, prepend=0) != 0
        if self.scheme == "BIO":
            return starts | (breaks == PARAGRAPH) | ((tags % 2 == 1) & (types > 0))
        return starts | (breaks > FULL_LINE) | _list_items(types, breaks, short)


def _list_items(
    types: NDArray[np.integer], breaks: NDArray[np.int8], short: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Which words begin a line that, as the line before, is short and of one type: bool [W]."""
    lines = np.flatnonzero(breaks)  # the first words of lines; that of a doc is one
    items = np.zeros(len(types), dtype=bool)
    if len(lines):
        one_type = np.minimum.reduceat(types, lines) == np.maximum.reduceat(types, lines)
        alone = one_type & short[lines]
        items[lines[1:]] = alone[1:] & alone[:-1]
    return items


def gold_tags(example: Example, scheme: SchemeName = "IO") -> list[str | None]:
    """The gold tag of each token of the predicted doc, by name.

    RETURNS (List[Optional[str]]): T names; None where the annotation is missing or does not align,
        and for white space.
    """
    aligned = trim_gold(example).get_aligned_ner()
    return [
        None if token.is_space else _from_biluo(biluo, scheme)
        for token, biluo in zip(example.predicted, aligned, strict=True)
    ]


def _from_biluo(biluo: str | None, scheme: SchemeName) -> str | None:
    if biluo in (None, "-"):
        return None
    if biluo == OUTSIDE:
        return OUTSIDE
    prefix, label = biluo.split("-", 1)
    if scheme == "IO":
        return label
    return ("B-" if prefix in ("B", "U") else "I-") + label


def has_tokens(example: Example) -> bool:
    """Whether an example has tokens to predict."""
    return len(example.predicted) > 0


def token_types(doc: Doc) -> list[str]:
    """The entity type of each token of a doc, "O" outside its entities."""
    return [token.ent_type_ or OUTSIDE for token in doc]


def strip_space(span: Span) -> Span:
    """Trim white-space tokens from both ends of a span. It may become empty."""
    start, end = span.start, span.end
    while start < end and _is_space(span.doc[start]):
        start += 1
    while end > start and _is_space(span.doc[end - 1]):
        end -= 1
    return Span(span.doc, start, end, label=span.label, kb_id=span.kb_id, span_id=span.id)


def trim_entities(doc: Doc) -> int:
    """Trim white space from both ends of a doc's entities, in place. Entities of white space alone
    are dropped. RETURNS (int): How many were dropped."""
    if not any(_is_space(ent[0]) or _is_space(ent[-1]) for ent in doc.ents):
        return 0
    trimmed = [strip_space(ent) for ent in doc.ents]
    kept = [ent for ent in trimmed if len(ent)]
    missing = [doc[token.i : token.i + 1] for token in doc if not token.ent_iob]
    doc.set_ents(kept, missing=missing, default="outside")
    return len(trimmed) - len(kept)


def trim_gold(example: Example) -> Example:
    """Trim white space from both ends of an example's gold entities, which no prediction has there.
    Warns of entities of white space alone.

    RETURNS (Example): A new example, or the same one if there was nothing to trim.
    """
    if not any(_is_space(ent[0]) or _is_space(ent[-1]) for ent in example.reference.ents):
        return example
    reference = example.reference.copy()
    if trim_entities(reference):
        warnings.warn(
            "The annotation holds entities of white space alone: they are left out.",
            BtlWarning,
            stacklevel=2,
        )
    return Example(example.predicted, reference)


def _is_space(token: Token) -> bool:
    # Not token.is_space: the vocab that a file is read into may know no language.
    return token.text.isspace()
