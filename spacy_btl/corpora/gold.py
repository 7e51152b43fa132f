"""Turn a note into a doc with gold entities.

`doc.ents` cannot overlap, so some mentions are left out of it. Their tokens are missing annotation
where no kept mention covers them: neither entity tokens nor `O`.
"""

from collections.abc import Collection, Sequence
from typing import Literal, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray
from spacy.language import Language
from spacy.tokens import Doc, Span

from spacy_btl.context.assertions import set_assertions
from spacy_btl.corpora.note import Mention, Note
from spacy_btl.corpora.patients import PATIENT
from spacy_btl.corpora.report import ConversionReport, ModeReport
from spacy_btl.expressible import (
    DUPLICATE,
    GAP,
    OTHER_TYPE,
    OWN_TYPE,
    lost_with_spans_key,
)
from spacy_btl.lines import white_space
from spacy_btl.mentions import MENTIONS
from spacy_btl.tags import strip_space

Overlaps = Literal["outer", "inner"]


class _Aligned(NamedTuple):
    """A mention aligned to tokens.

    enclosing_span (Span): From its first token to its last.
    pieces (List[Span]): The tokens of each of its fragments.
    gap (FrozenSet[int]): The words of the enclosing span that are not part of the mention.
    """

    mention: Mention
    enclosing_span: Span
    pieces: list[Span]
    gap: frozenset[int]


def to_doc(
    note: Note,
    nlp: Language,
    *,
    types: Collection[str],
    report: ConversionReport,
    overlaps: Overlaps = "outer",
) -> Doc:
    """Tokenise a note and set its mentions of the given types.

    All these mentions are in `doc.spans["mentions"]`; the fragments of one mention share their
    `id_`. `doc.ents` has those that do not overlap. Contiguous mentions come first: of two that
    overlap, the longer or the shorter one. Then come the enclosing spans of discontinuous mentions,
    if they overlap no entity and no word in their gap lacks annotation. A mention of another type
    is no entity. The annotation of a token is missing if the note's is, or if the token is only in
    mentions that `doc.ents` leaves out. If any assertion was read, all mentions have theirs.

    types (Collection[str]): The types to keep.
    report (ConversionReport): Counts the mentions kept and left out, and the tokens.
    overlaps (str): Which of two overlapping mentions to keep, the "outer" or the "inner".
    """
    doc = nlp.make_doc(note.text)
    doc.user_data["note_id"] = note.id
    if note.patient is not None:
        doc.user_data[PATIENT] = note.patient
    words = ~white_space(doc)
    placed = [_align(doc, mention, words) for mention in note.mentions if mention.type in types]
    doc.spans[MENTIONS] = [piece for one in placed for piece in one.pieces]
    missing = _mask(doc, [_token_span(doc, offsets) for offsets in note.missing])
    kept, left_out = _resolve_overlaps(placed, set(np.flatnonzero(missing).tolist()), overlaps)
    entities = [one.enclosing_span for one in kept]
    missing |= _mask(doc, [piece for one in left_out for piece in one.pieces])
    unknown = missing & ~_mask(doc, entities)
    doc.set_ents(
        entities,
        missing=[doc[i : i + 1] for i in np.flatnonzero(unknown).tolist()],
        default="outside",
    )
    if report.assertions:
        for one in placed:
            for span in (one.enclosing_span, *one.pieces):
                set_assertions(span, one.mention.assertions)
    report.tokens += int(words.sum())
    report.tokens_missing += int((unknown & words).sum())
    _count(placed, kept, report)
    return doc


def _align(doc: Doc, mention: Mention, words: NDArray[np.bool_]) -> _Aligned:
    pieces = [
        Span(doc, span.start, span.end, label=mention.type, span_id=mention.id)
        for span in (_token_span(doc, fragment) for fragment in mention.fragments)
        if len(span)  # brat can make a line end a fragment of its own
    ]
    start, end = min(piece.start for piece in pieces), max(piece.end for piece in pieces)
    between = words[start:end].copy()
    for piece in pieces:
        between[piece.start - start : piece.end - start] = False
    gap = frozenset((start + np.flatnonzero(between)).tolist())
    return _Aligned(mention, Span(doc, start, end, label=mention.type), pieces, gap)


def _resolve_overlaps(
    mentions: Sequence[_Aligned], missing: Collection[int], overlaps: Overlaps
) -> tuple[list[_Aligned], list[_Aligned]]:
    """Divide mentions into those that `doc.ents` keeps and those that it leaves out."""
    sign = -1 if overlaps == "outer" else 1
    taken: set[int] = set()
    kept, left_out = [], []

    def priority(one: _Aligned) -> tuple[bool, int, int]:
        return bool(one.gap), sign * len(one.enclosing_span), one.enclosing_span.start

    for one in sorted(mentions, key=priority):
        tokens = range(one.enclosing_span.start, one.enclosing_span.end)
        if taken.isdisjoint(tokens) and one.gap.isdisjoint(missing):
            taken.update(tokens)
            kept.append(one)
        else:
            left_out.append(one)
    return kept, left_out


def _count(placed: Sequence[_Aligned], kept: Sequence[_Aligned], report: ConversionReport) -> None:
    """Count the mentions of a doc, as each mode has them."""
    lost = _lost_with_one_label(placed, kept)
    merged = lost_with_spans_key([one.pieces for one in placed])
    for number, one in enumerate(placed):
        counts = report.types[one.mention.type]
        counts.kept += number not in lost
        counts.overlapped += number in lost
        counts.told_apart += number not in merged
        _count_mode(one, lost.get(number), report.flat)
        _count_mode(one, merged.get(number), report.overlapping)


def _count_mode(one: _Aligned, reason: str | None, mode: ModeReport) -> None:
    if reason is not None:
        mode.lost[reason] += 1
        return
    span = one.enclosing_span
    mode.moved += (span.start_char, span.end_char) != one.mention.enclosing_span
    mode.discontinuous += len(one.mention.fragments) > 1
    mode.gapped += bool(one.gap)


def _lost_with_one_label(placed: Sequence[_Aligned], kept: Sequence[_Aligned]) -> dict[int, str]:
    """The mentions that `doc.ents` leaves out, by their numbers, each with the reason."""
    length = max((one.enclosing_span.end for one in placed), default=0)
    owners = np.full(length, -1)  # the kept mention of each token
    for number, one in enumerate(kept):
        owners[one.enclosing_span.start : one.enclosing_span.end] = number
    known = set(map(id, kept))
    lost = {}
    for number, one in enumerate(placed):
        if id(one) not in known:
            span = one.enclosing_span
            others = [kept[i] for i in np.unique(owners[span.start : span.end]) if i >= 0]
            lost[number] = _reason(one, others)
    return lost


def _reason(one: _Aligned, others: Sequence[_Aligned]) -> str:
    """Why a mention is left out, by those that are in its place."""
    own_type = {other.mention.type for other in others} == {one.mention.type}
    span = one.enclosing_span
    places = [(other.enclosing_span.start, other.enclosing_span.end) for other in others]
    if own_type and places == [(span.start, span.end)]:
        return DUPLICATE
    if one.gap:
        return GAP
    return OWN_TYPE if own_type else OTHER_TYPE


def _mask(doc: Doc, spans: Sequence[Span]) -> NDArray[np.bool_]:
    """Mark the tokens that are in any of the spans: bool [T]."""
    mask = np.zeros(len(doc), dtype=bool)
    for span in spans:
        mask[span.start : span.end] = True
    return mask


def _token_span(doc: Doc, offsets: tuple[int, int]) -> Span:
    """The tokens that overlap these characters, without white space at the ends."""
    # None is for offsets outside the text, which no checked claim has.
    return strip_space(cast(Span, doc.char_span(*offsets, alignment_mode="expand")))
