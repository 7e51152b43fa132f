"""What the readers of this package yield, and the account of what became of it."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field

from spacy_btl.errors import CorpusError

MAX_CHARACTERS = 1_000_000  # spaCy refuses longer texts

Fragments = tuple[tuple[int, int], ...]


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
    fragments: Fragments

    @property
    def hull(self) -> tuple[int, int]:
        """From the first character of any fragment to the last of any, end exclusive."""
        starts, ends = zip(*self.fragments, strict=True)
        return min(starts), max(ends)


@dataclass(frozen=True)
class Skipped:
    """A mention that is not gold.

    type (str): Empty where the source tells none.
    reason (str): Why it was skipped.
    invalid (bool): Whether that is a flaw of the source, or an answer of its annotator.
    """

    type: str
    reason: str
    invalid: bool = True


@dataclass(frozen=True)
class Note:
    """A text, its name and its mentions, in the order of the source.

    missing (Tuple[Tuple[int, int], ...]): Character offsets of what has no annotation: neither the
        mentions nor their absence is known there.
    skipped (Tuple[Skipped, ...]): The mentions that are not gold.
    where (str): Its place in the source: `line 4`, or the name of its file.
    patient (Optional[str]): Whose it is, if known.
    """

    id: str
    text: str
    mentions: tuple[Mention, ...]
    missing: Fragments = ()
    skipped: tuple[Skipped, ...] = ()
    where: str = field(default="", compare=False)
    patient: str | None = None


@dataclass
class TypeAccount:
    """What became of the mentions of one type: read is the sum of the others."""

    read: int = 0
    invalid: int = 0
    refused: int = 0
    rare: int = 0
    unwanted: int = 0
    overlapped: int = 0
    kept: int = 0

    @property
    def lost(self) -> int:
        """The mentions that nobody asked to leave out."""
        return self.invalid + self.overlapped


@dataclass
class Account:
    """What became of every note and mention of a source.

    The mentions of a skipped note are not read.

    skip_invalid (bool): Count what is invalid and go on, instead of raising a CorpusError.
    trust_offsets (bool): Take a mention whose own text is as long as the text at its offsets, and
        has some other characters.
    notes_skipped, lines_skipped, mentions_invalid (Counter[str]): What was skipped, by reason.
    mentions_refused (Counter[str]): Mentions that the annotator rejected or ignored, by answer.
    types (Dict[str, TypeAccount]): The mentions of each type; `""` is for those without one.
    remarks (Counter[str]): What is to be known of notes and mentions that were read.
    moved, discontinuous, enclosing (int): Of the mentions kept: whose borders moved to those of
        tokens; of several fragments; and of these, whose enclosing span holds other words.
    swallowing (int): Of the mentions lost to others, those whose enclosing span holds other words.
    tokens, tokens_missing (int): All tokens, and those without annotation; white space is neither.
    """

    skip_invalid: bool = False
    trust_offsets: bool = False
    notes_read: int = 0
    notes_skipped: Counter[str] = field(default_factory=Counter)
    lines_skipped: Counter[str] = field(default_factory=Counter)
    mentions_invalid: Counter[str] = field(default_factory=Counter)
    mentions_refused: Counter[str] = field(default_factory=Counter)
    types: defaultdict[str, TypeAccount] = field(default_factory=lambda: defaultdict(TypeAccount))
    remarks: Counter[str] = field(default_factory=Counter)
    moved: int = 0
    discontinuous: int = 0
    enclosing: int = 0
    swallowing: int = 0
    tokens: int = 0
    tokens_missing: int = 0

    def total(self, what: str) -> int:
        """The sum over all types. what (str): A field of TypeAccount."""
        return sum(getattr(mentions, what) for mentions in self.types.values())

    @property
    def types_kept(self) -> list[str]:
        """The types that have a mention in `doc.ents`."""
        return sorted(label for label, mentions in self.types.items() if mentions.kept)

    def refuse(self, reason: str, where: object) -> None:
        """RAISES: CorpusError, unless what is invalid is skipped."""
        if not self.skip_invalid:
            raise CorpusError(
                f"{where}: {reason}. Correct it, or leave it out with --skip-invalid."
            )

    def skip(self, reasons: Counter[str], reason: str, where: object) -> None:
        """Count something invalid among `reasons` (one of the account's own counters).

        RAISES: CorpusError, unless `skip_invalid`.
        """
        self.refuse(reason, where)
        reasons[reason] += 1

    def tidy_label(self, label: str) -> str:
        """A label with single blanks between its words, and none around them; counted, if it had
        others."""
        tidy = " ".join(label.split())
        if tidy != label:
            self.remarks["labels whose white space was put right"] += 1
        return tidy

    def count(self, note: Note) -> None:
        """Count the mentions that were read in a note."""
        for mention in note.mentions:
            self.types[mention.type].read += 1
        for skipped in note.skipped:
            mentions = self.types[skipped.type]
            mentions.read += 1
            if skipped.invalid:
                mentions.invalid += 1
                self.mentions_invalid[skipped.reason] += 1
            else:
                mentions.refused += 1
                self.mentions_refused[skipped.reason] += 1


def text_problem(text: str) -> str | None:
    """Why spaCy could not tokenise this text, or None."""
    if len(text) > MAX_CHARACTERS:
        return f"note over {MAX_CHARACTERS:,} characters"
    return None
