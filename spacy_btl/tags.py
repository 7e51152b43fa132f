"""Entity spans <-> one tag per token. The ground floor: every other room counts in these tags.

T tokens, C tags. Tag 0 is `O`. Scheme "IO" (the paper's) has one tag per entity type, so two
touching mentions of one type become one span; "BIO" has two tags per type and keeps them apart.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from spacy.tokens import Doc, Span
from spacy.training import Example

from spacy_btl.errors import PipelineError

O_TAG = 0
MISSING = -1

SchemeName = Literal["IO", "BIO"]


class TagScheme:
    """The tags of a list of entity types.

    types (Sequence[str]): The entity types, in the order of their tags.
    scheme (str): "IO" or "BIO".
    """

    def __init__(self, types: Sequence[str], scheme: SchemeName = "IO"):
        if scheme not in ("IO", "BIO"):
            raise PipelineError(f"Unknown tag scheme {scheme!r}: use 'IO' or 'BIO'.")
        self.types = tuple(types)
        self.scheme = scheme
        prefixes = ("",) if scheme == "IO" else ("B-", "I-")
        self.tags = ("O", *(prefix + label for label in self.types for prefix in prefixes))
        self._begin = {label: 1 + i * len(prefixes) for i, label in enumerate(self.types)}
        self._inside = {label: tag + len(prefixes) - 1 for label, tag in self._begin.items()}

    def __len__(self) -> int:
        return len(self.tags)

    @property
    def tag_types(self) -> NDArray[np.int64]:
        """int64 [C]: the type of each tag, counted from 1 in the order of `types`; 0 for `O`."""
        width = 1 if self.scheme == "IO" else 2
        return np.concatenate([[0], np.repeat(np.arange(1, len(self.types) + 1), width)])

    def encode(self, example: Example) -> NDArray[np.int64]:
        """Read the gold tags of an example, aligned to the tokens of its predicted doc.

        RETURNS (int64 [T]): Tag ids; MISSING where the annotation is missing or does not align.
        RAISES: PipelineError, for an entity type that is not among `types`.
        """
        return np.array([self._encode_biluo(tag) for tag in gold_biluo(example)], dtype=np.int64)

    def _encode_biluo(self, biluo: str | None) -> int:
        if biluo is None:
            return MISSING
        if biluo == "O":
            return O_TAG
        prefix, label = biluo.split("-", 1)
        table = self._begin if prefix in ("B", "U") else self._inside
        if label not in table:
            raise PipelineError(
                f"The annotation holds the entity type {label!r}, which this model does not know. "
                "Initialize the pipe on a corpus that has it, or leave the type out."
            )
        return table[label]

    def decode(self, doc: Doc, tag_ids: NDArray[np.integer]) -> list[Span]:
        """Turn tag ids into entity spans. An `I-` that continues nothing begins a new span.

        doc (Doc): The doc of T tokens.
        tag_ids (int [T]): One tag per token.
        RETURNS (List[Span]): Spans that do not overlap, in order. White space at their ends, which
            spaCy does not accept in an entity, is left outside.
        """
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
        return [span for span in map(strip_space, spans) if len(span)]


def gold_biluo(example: Example) -> list[str | None]:
    """The gold entities as BILUO tags of the predicted doc's tokens; None where missing."""
    return [None if tag in (None, "-", "") else tag for tag in example.get_aligned_ner()]


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
