"""The same text, or the same id, twice in a source."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from spacy_btl.corpora.note import Account, Fragments, Note


def without_repeats(notes: Iterable[Note], src: Path, *, account: Account) -> list[Note]:
    """The notes whose text is there once, and of the others the first.

    A copy that is annotated as the first one is left out and counted. One that is annotated
    otherwise is invalid, since nothing says which is right; where it is skipped, what it marks and
    the first does not is missing annotation in the first.

    src (Path): The source, for an error.
    RAISES: CorpusError, for such a copy, and for an id that another text has, unless the account
        skips them.
    """
    kept: dict[str, Note] = {}
    ids: set[str] = set()
    for note in notes:
        first = kept.get(note.text)
        where = f"{src}, {note.where}"
        if first is not None and _annotation(first) == _annotation(note):
            account.notes_skipped["a copy of another note, annotated as it is"] += 1
        elif first is not None:
            account.refuse(f"the same text as {first.where}, annotated otherwise", where)
            account.notes_skipped["the same text as another note, annotated otherwise"] += 1
            kept[note.text] = replace(first, missing=(*first.missing, *_marked(note)))
        elif note.id in ids:
            account.skip(account.notes_skipped, "id used twice", where)
        else:
            ids.add(note.id)
            kept[note.text] = note
    return list(kept.values())


def _annotation(note: Note) -> tuple[set[tuple[str, Fragments]], set[tuple[int, int]]]:
    return {(mention.type, mention.fragments) for mention in note.mentions}, set(note.missing)


def _marked(note: Note) -> Fragments:
    pieces = (fragment for mention in note.mentions for fragment in mention.fragments)
    return (*pieces, *note.missing)
