"""What the readers of this room yield, and the account of what became of it."""

from collections import Counter
from dataclasses import dataclass, field

from spacy_btl.errors import CorpusError

MAX_CHARACTERS = 1_000_000  # spaCy refuses longer texts


@dataclass(frozen=True)
class Mention:
    """One annotated mention.

    id (str): Unique within its note.
    type (str): The entity type.
    fragments (Tuple[Tuple[int, int], ...]): Character offsets of its pieces, end exclusive;
        more than one where the mention is discontinuous.
    """

    id: str
    type: str
    fragments: tuple[tuple[int, int], ...]

    @property
    def hull(self) -> tuple[int, int]:
        """From the first character of any fragment to the last of any, end exclusive."""
        starts, ends = zip(*self.fragments, strict=True)
        return min(starts), max(ends)


@dataclass(frozen=True)
class Note:
    """A text, its name, its mentions, in the order of the source, and whose it is, if known."""

    id: str
    text: str
    mentions: tuple[Mention, ...]
    patient: str | None = None


@dataclass
class Account:
    """What became of every note and mention of a source.

    mentions_read = sum(mentions_invalid) + mentions_rare + mentions_overlapped + mentions_kept.
    The mentions of a skipped note are not read.

    skip_invalid (bool): Count what is invalid and go on, instead of raising a CorpusError.
    notes_skipped, lines_skipped, mentions_invalid (Counter[str]): What was skipped, by reason.
    mentions_rare (int): Mentions dropped because their type has too few.
    mentions_overlapped (int): Mentions that lost their place in `doc.ents` to another.
    mentions_kept (int): Mentions in `doc.ents`; `moved` and `discontinuous` are counted among them.
    types_kept, types_dropped (Counter[str]): The valid mentions of each type.
    """

    skip_invalid: bool = False
    notes_read: int = 0
    notes_skipped: Counter[str] = field(default_factory=Counter)
    lines_skipped: Counter[str] = field(default_factory=Counter)
    mentions_read: int = 0
    mentions_invalid: Counter[str] = field(default_factory=Counter)
    mentions_rare: int = 0
    mentions_overlapped: int = 0
    mentions_kept: int = 0
    moved: int = 0
    discontinuous: int = 0
    types_kept: Counter[str] = field(default_factory=Counter)
    types_dropped: Counter[str] = field(default_factory=Counter)

    def skip(self, reasons: Counter[str], reason: str, where: object) -> None:
        """Count something invalid among `reasons` (one of the account's own counters).

        RAISES: CorpusError, unless `skip_invalid`.
        """
        if not self.skip_invalid:
            raise CorpusError(
                f"{where}: {reason}. Correct it, or leave it out with --skip-invalid."
            )
        reasons[reason] += 1


def text_problem(text: str) -> str | None:
    """Why spaCy could not tokenise this text, or None."""
    if len(text) > MAX_CHARACTERS:
        return f"note over {MAX_CHARACTERS:,} characters"
    return None


def mention_problem(mention: Mention, text: str) -> str | None:
    """Why the mention cannot be one of this text, or None."""
    if any(start >= end for start, end in mention.fragments):
        return "mention with start >= end"
    if any(start < 0 or end > len(text) for start, end in mention.fragments):
        return "mention offsets outside the text"
    if not any(text[start:end].strip() for start, end in mention.fragments):
        return "mention of white space only"
    if mention.type == "O":
        return "mention of type O, which means no entity"
    return None
