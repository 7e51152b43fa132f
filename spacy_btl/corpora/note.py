"""Annotated notes, as the readers of this package yield them."""

import re
from dataclasses import dataclass, field
from typing import Any, TypeGuard

MAX_CHARACTERS = 1_000_000  # spaCy refuses longer texts

SURROGATE = re.compile("[\ud800-\udfff]")  # half a character: JSON can escape it, spaCy refuses it

Fragments = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Mention:
    """One annotated mention.

    id (str): Unique within its note.
    type (str): The entity type.
    fragments (Tuple[Tuple[int, int], ...]): Character offsets of its pieces, end exclusive.
        A discontinuous mention has more than one.
    assertions (Tuple[str, ...]): What is annotated of it: keys of `context.assertions.KINDS`.
    """

    id: str
    type: str
    fragments: Fragments
    assertions: tuple[str, ...] = ()

    @property
    def enclosing_span(self) -> tuple[int, int]:
        """From the first character of any fragment to the last of any, end exclusive."""
        starts, ends = zip(*self.fragments, strict=True)
        return min(starts), max(ends)


@dataclass(frozen=True)
class Skipped:
    """A mention that is left out of the gold annotation.

    type (str): Empty if the source gives none.
    reason (str): Why it is left out.
    invalid (bool): True if the source is wrong, False if the annotator did not accept the mention.
    """

    type: str
    reason: str
    invalid: bool = True


@dataclass(frozen=True)
class Note:
    """A text, its id and its mentions, in the order of the source.

    missing (Tuple[Tuple[int, int], ...]): Character offsets of text whose annotation is unknown.
    skipped (Tuple[Skipped, ...]): The mentions that are left out of the gold annotation.
    where (str): Its place in the source: `line 4`, or the name of its file.
    patient (Optional[str]): The id of the patient, if known.
    annotator (Optional[str]): Who annotated it, if known.
    document (str): What it shares with the notes of other annotators of its document; its id, if
        empty.
    curated (bool): Whether this annotation was made from, or chosen of, those of the annotators.
    """

    id: str
    text: str
    mentions: tuple[Mention, ...]
    missing: Fragments = ()
    skipped: tuple[Skipped, ...] = ()
    where: str = field(default="", compare=False)
    patient: str | None = None
    annotator: str | None = None
    document: str = ""
    curated: bool = False


def is_text(value: Any) -> TypeGuard[str]:
    """Whether a value is a string that spaCy can hold."""
    return isinstance(value, str) and not SURROGATE.search(value)


def name_in(record: dict[str, Any], key: str) -> str | None:
    """Return what a record names under a key, a string or a whole number; None if nothing."""
    value = record.get(key)
    return str(value) if type(value) is int or (is_text(value) and value) else None


def text_problem(text: str) -> str | None:
    """Return why spaCy cannot tokenise this text, or None if it can."""
    if len(text) > MAX_CHARACTERS:
        return f"note over {MAX_CHARACTERS:,} characters"
    return None
