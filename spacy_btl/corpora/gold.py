"""A note as a doc: its mentions on tokens, those that `doc.ents` has room for, and what is missing.

`doc.ents` cannot overlap. The tokens of a mention that it has no room for are missing annotation
where no other mention covers them: they are no entity of it, and not outside of all either.
"""

from collections.abc import Collection, Sequence
from typing import Literal, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray
from spacy.language import Language
from spacy.tokens import Doc, Span

from spacy_btl.corpora.note import Account, Mention, Note
from spacy_btl.corpora.patients import PATIENT
from spacy_btl.lines import white_space
from spacy_btl.tags import strip_space

Overlaps = Literal["outer", "inner"]


class _Placed(NamedTuple):
    """A mention on tokens.

    enclosing (Span): From its first token to its last.
    pieces (List[Span]): The tokens of each of its fragments.
    gap (FrozenSet[int]): The words of the enclosing span that are no part of the mention.
    """

    mention: Mention
    enclosing: Span
    pieces: list[Span]
    gap: frozenset[int]


def to_doc(
    note: Note,
    nlp: Language,
    *,
    types: Collection[str],
    account: Account,
    overlaps: Overlaps = "outer",
) -> Doc:
    """Tokenise a note and set its mentions, those of some types only.

    Every mention of these types is in `doc.spans["mentions"]`, the fragments of one sharing their
    `id_`. `doc.ents` has those of them that do not overlap: of two contiguous mentions the longer,
    or the shorter; then enclosing spans of discontinuous ones, where they hold no other, and no
    word in their gap whose annotation is missing. A mention of another type is no entity. What the
    note has no annotation of is missing, and so are the tokens of mentions that are in `doc.spans`
    alone.

    types (Collection[str]): The types to keep.
    account (Account): Counts the mentions overlapped and kept, and the tokens.
    overlaps (str): Which of two overlapping mentions stays, the "outer" or the "inner".
    """
    doc = nlp.make_doc(note.text)
    doc.user_data["note_id"] = note.id
    if note.patient is not None:
        doc.user_data[PATIENT] = note.patient
    placed = [_place(doc, mention) for mention in note.mentions if mention.type in types]
    doc.spans["mentions"] = [piece for one in placed for piece in one.pieces]
    missing = _mask(doc, [_token_span(doc, offsets) for offsets in note.missing])
    kept, lost = _choose(placed, set(np.flatnonzero(missing).tolist()), overlaps)
    entities = [one.enclosing for one in kept]
    words = ~white_space(doc)
    missing |= _mask(doc, [piece for one in lost for piece in one.pieces])
    unknown = missing & ~_mask(doc, entities)
    doc.set_ents(
        entities,
        missing=[doc[i : i + 1] for i in np.flatnonzero(unknown).tolist()],
        default="outside",
    )
    account.tokens += int(words.sum())
    account.tokens_missing += int((unknown & words).sum())
    _count(kept, lost, account)
    return doc


def _place(doc: Doc, mention: Mention) -> _Placed:
    pieces = [
        Span(doc, span.start, span.end, label=mention.type, span_id=mention.id)
        for span in (_token_span(doc, fragment) for fragment in mention.fragments)
        if len(span)  # brat can cut out a line end as a fragment of its own
    ]
    start, end = min(piece.start for piece in pieces), max(piece.end for piece in pieces)
    covered = _mask(doc, pieces) | white_space(doc)
    enclosing = Span(doc, start, end, label=mention.type)
    gap = frozenset((start + np.flatnonzero(~covered[start:end])).tolist())
    return _Placed(mention, enclosing, pieces, gap)


def _choose(
    placed: Sequence[_Placed], missing: Collection[int], overlaps: Overlaps
) -> tuple[list[_Placed], list[_Placed]]:
    """Those that stay, and those that are lost to them or to missing annotation in their gap."""
    sign = -1 if overlaps == "outer" else 1
    taken: set[int] = set()
    kept, lost = [], []
    for one in sorted(
        placed, key=lambda one: (bool(one.gap), sign * len(one.enclosing), one.enclosing.start)
    ):
        tokens = range(one.enclosing.start, one.enclosing.end)
        if taken.isdisjoint(tokens) and one.gap.isdisjoint(missing):
            taken.update(tokens)
            kept.append(one)
        else:
            lost.append(one)
    return kept, lost


def _count(kept: Sequence[_Placed], lost: Sequence[_Placed], account: Account) -> None:
    for one in kept:
        account.types[one.mention.type].kept += 1
        span = one.enclosing
        account.moved += (span.start_char, span.end_char) != one.mention.hull
        account.discontinuous += len(one.mention.fragments) > 1
        account.enclosing += bool(one.gap)
    for one in lost:
        account.types[one.mention.type].overlapped += 1
        account.swallowing += bool(one.gap)


def _mask(doc: Doc, spans: Sequence[Span]) -> NDArray[np.bool_]:
    """Which tokens are in any of the spans: bool [T]."""
    mask = np.zeros(len(doc), dtype=bool)
    for span in spans:
        mask[span.start : span.end] = True
    return mask


def _token_span(doc: Doc, offsets: tuple[int, int]) -> Span:
    """The tokens that the characters touch, without white space at the ends."""
    # None is for offsets outside of the text, which no claim has.
    return strip_space(cast(Span, doc.char_span(*offsets, alignment_mode="expand")))
