"""The same text, or the same id, twice in a source."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spacy_btl.corpora.groups import text_key
from spacy_btl.corpora.note import Account, Fragments, Note


def without_repeats(notes: Iterable[Note], src: Path, *, account: Account) -> list[Note]:
    """The notes whose text is there once, and of the others the first. Capitals and white space
    make no other text: see `groups.text_key`.

    A copy that is annotated as the first one is left out and counted. One that is annotated
    otherwise is invalid, since nothing says which is right; where it is skipped, what it marks and
    the first does not is missing annotation in the first.

    src (Path): The source, for an error.
    RAISES: CorpusError, for such a copy, and for an id that another text has, unless the account
        skips them.
    """
    kept: dict[tuple[str, int], Note] = {}
    ids: set[str] = set()
    for note in notes:
        # Folding capitals can change how many letters there are ("ß"): then places differ.
        key = text_key(note.text), len(_letters(note.text))
        first = kept.get(key)
        where = f"{src}, {note.where}"
        if first is not None and _annotation(first) == _annotation(note):
            account.notes_skipped["a copy of another note, annotated as it is"] += 1
        elif first is not None:
            account.refuse(f"the same text as {first.where}, annotated otherwise", where)
            account.notes_skipped["the same text as another note, annotated otherwise"] += 1
            marked = _in_text(_marked(note), first.text)
            kept[key] = replace(first, missing=(*first.missing, *marked))
        elif note.id in ids:
            account.skip(account.notes_skipped, "id used twice", where)
        else:
            ids.add(note.id)
            kept[key] = note
    return list(kept.values())


def _annotation(note: Note) -> tuple[set[tuple[str, Fragments]], set[tuple[int, int]]]:
    mentions = {
        (mention.type, _in_letters(mention.fragments, note.text)) for mention in note.mentions
    }
    return mentions, set(_in_letters(note.missing, note.text))


def _marked(note: Note) -> Fragments:
    pieces = [fragment for mention in note.mentions for fragment in mention.fragments]
    return _in_letters((*pieces, *note.missing), note.text)


def _letters(text: str) -> NDArray[np.int64]:
    """Where the characters are that are not white space."""
    return np.flatnonzero([not character.isspace() for character in text])


def _in_letters(fragments: Fragments, text: str) -> Fragments:
    """Offsets of characters as numbers of those that are not white space: alike in all copies."""
    places = np.searchsorted(_letters(text), np.reshape(fragments, (-1, 2)))
    return tuple((start, end) for start, end in places.tolist() if start < end)


def _in_text(fragments: Fragments, text: str) -> Fragments:
    """And back."""
    letters = _letters(text).tolist()
    return tuple((letters[start], letters[end - 1] + 1) for start, end in fragments)
