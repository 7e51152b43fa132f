"""Remove notes whose text or id occurs more than once in a source."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spacy_btl.corpora.groups import text_key
from spacy_btl.corpora.note import Fragments, Note
from spacy_btl.corpora.report import ConversionReport


def drop_duplicates(notes: Iterable[Note], src: Path, *, report: ConversionReport) -> list[Note]:
    """Keep the first note of each text, whatever its capitals and white space.

    A copy with the same annotation is left out and counted. A copy with other annotation is
    invalid, since either may be correct. If it is skipped, its mentions that the first note lacks
    become missing annotation there.

    src (Path): The source, for errors.
    RAISES: CorpusError, for a copy with other annotation and for two notes of one id, unless the
        report skips them.
    """
    kept: dict[tuple[str, int], Note] = {}
    ids: set[str] = set()
    for note in notes:
        # Ignoring capitals can change the number of letters ("ß"). Then offsets cannot be mapped.
        key = text_key(note.text), len(_letters(note.text))
        first = kept.get(key)
        where = f"{src}, {note.where}"
        if first is not None and _annotation(first) == _annotation(note):
            report.notes_skipped["copy of another note, with the same annotation"] += 1
        elif first is not None:
            report.require_skip(f"the same text as {first.where}, with other annotation", where)
            report.notes_skipped["copy of another note, with other annotation"] += 1
            annotated = _to_characters(_annotated_letters(note), first.text)
            kept[key] = replace(first, missing=(*first.missing, *annotated))
        elif note.id in ids:
            report.skip(report.notes_skipped, "id used twice", where)
        else:
            ids.add(note.id)
            kept[key] = note
    return list(kept.values())


def _annotation(note: Note) -> tuple[set[tuple[str, Fragments]], set[tuple[int, int]]]:
    mentions = {
        (mention.type, _to_letters(mention.fragments, note.text)) for mention in note.mentions
    }
    return mentions, set(_to_letters(note.missing, note.text))


def _annotated_letters(note: Note) -> Fragments:
    pieces = [fragment for mention in note.mentions for fragment in mention.fragments]
    return _to_letters((*pieces, *note.missing), note.text)


def _letters(text: str) -> NDArray[np.int64]:
    """The offsets of the characters that are not white space."""
    return np.flatnonzero([not character.isspace() for character in text])


def _to_letters(fragments: Fragments, text: str) -> Fragments:
    """Count offsets in characters that are not white space: the same in all copies."""
    places = np.searchsorted(_letters(text), np.reshape(fragments, (-1, 2)))
    return tuple((start, end) for start, end in places.tolist() if start < end)


def _to_characters(fragments: Fragments, text: str) -> Fragments:
    """Undo `_to_letters`."""
    letters = _letters(text).tolist()
    return tuple((letters[start], letters[end - 1] + 1) for start, end in fragments)
