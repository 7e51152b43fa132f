"""Entity spans <-> one tag per token. The ground floor: every other room counts in these tags.

T tokens, C tags. Tag 0 is `O`. Scheme "IO" (the paper's) has one tag per entity type, so two
touching mentions of one type become one span; "BIO" has two tags per type and keeps them apart.
"""

import re
from collections.abc import Sequence
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from spacy.attrs import IS_SPACE
from spacy.tokens import Doc, Span
from spacy.training import Example

from spacy_btl.errors import PipelineError

O_TAG = 0
MISSING = -1

LINE_END = re.compile(r"[\n\r\v\f\x85\u2028\u2029]")

SchemeName = Literal["IO", "BIO"]


class TagScheme:
    """The tags of a list of entity types.

    types (Sequence[str]): The entity types, in the order of their tags.
    scheme (str): "IO" or "BIO".
    """

    def __init__(self, types: Sequence[str], scheme: SchemeName = "IO"):
        if scheme not in ("IO", "BIO"):
            raise PipelineError(f"Unknown tag scheme {scheme!r}: use 'IO' or 'BIO'.")
        prefixes = ("",) if scheme == "IO" else ("B-", "I-")
        self.types = tuple(types)
        self.scheme = scheme
        self.tags = ("O", *(prefix + label for label in self.types for prefix in prefixes))
        self._ids = {tag: i for i, tag in enumerate(self.tags)}
        # The tag that continues an entity of each tag's type: in BIO, B- is odd and I- next to it.
        self._inside = [i + i % 2 if scheme == "BIO" else i for i in range(len(self.tags))]

    def __len__(self) -> int:
        return len(self.tags)

    @cached_property
    def tag_types(self) -> NDArray[np.int64]:
        """int64 [C]: the type of each tag, counted from 1 in the order of `types`; 0 for `O`."""
        width = 1 if self.scheme == "IO" else 2
        return np.concatenate([[0], np.repeat(np.arange(1, len(self.types) + 1), width)])

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

    def decode(self, doc: Doc, tag_ids: NDArray[np.integer]) -> list[Span]:
        """Turn tag ids into entity spans. An `I-` that continues nothing begins a new span.

        doc (Doc): The doc of T tokens.
        tag_ids (int [T]): One tag per token.
        RETURNS (List[Span]): Spans that do not overlap, in order. White space within a line, which
            the encoder cannot see, is part of an entity that goes on behind it; at the ends of an
            entity spaCy does not accept it. A line end ends an entity.
        """
        tag_ids = self._continue_over_space(doc, tag_ids)
        types = self.tag_types[tag_ids]
        starts = types != np.concatenate([[0], types[:-1]])
        if self.scheme == "BIO":
            starts |= (tag_ids % 2 == 1) & (types > 0)
        begin = np.flatnonzero(starts & (types > 0))
        borders = np.flatnonzero(starts | (types == 0))
        spans = []
        for start in begin:
            later = borders[np.searchsorted(borders, start, side="right") :]
            end = int(later[0]) if len(later) else len(doc)
            spans.append(Span(doc, int(start), end, label=self.types[types[start] - 1]))
        space = white_space(doc)
        spans = [strip_space(s) if space[s.start] or space[s.end - 1] else s for s in spans]
        return [span for span in spans if len(span)]

    def _continue_over_space(self, doc: Doc, tag_ids: NDArray[np.integer]) -> NDArray[np.integer]:
        """Give a white-space token the tag that continues the entity before it.

        Typeset text parts numbers from units by thin spaces, which are tokens to spaCy.
        """
        tag_ids = tag_ids.copy()
        for i in np.flatnonzero(white_space(doc)).tolist():
            before = tag_ids[i - 1] if i and not LINE_END.search(doc[i].text) else 0
            tag_ids[i] = self._inside[before]
        return tag_ids


def white_space(doc: Doc) -> NDArray[np.bool_]:
    """Which tokens are white space: bool [T]."""
    return doc.to_array(IS_SPACE).astype(bool)


def gold_tags(example: Example, scheme: SchemeName = "IO") -> list[str | None]:
    """The gold tag of each token of the predicted doc, by name.

    RETURNS (List[Optional[str]]): T names; None where the annotation is missing or does not align,
        and for white space.
    """
    return [
        None if token.is_space else _from_biluo(biluo, scheme)
        for token, biluo in zip(example.predicted, example.get_aligned_ner(), strict=True)
    ]


def _from_biluo(biluo: str | None, scheme: SchemeName) -> str | None:
    if biluo in (None, "-"):
        return None
    if biluo == "O":
        return "O"
    prefix, label = biluo.split("-", 1)
    if scheme == "IO":
        return label
    return ("B-" if prefix in ("B", "U") else "I-") + label


def has_tokens(example: Example) -> bool:
    """Whether there is anything to predict."""
    return len(example.predicted) > 0


def token_types(doc: Doc) -> list[str]:
    """The entity type of each token of a doc, "O" outside its entities."""
    return [token.ent_type_ or "O" for token in doc]


def strip_space(span: Span) -> Span:
    """The span without white-space tokens at its ends (empty if it holds nothing else)."""
    start, end = span.start, span.end
    while start < end and span.doc[start].is_space:
        start += 1
    while end > start and span.doc[end - 1].is_space:
        end -= 1
    return Span(span.doc, start, end, label=span.label_)
