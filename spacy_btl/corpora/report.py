"""The conversion report: what a conversion kept, moved and left out."""

from collections import Counter, defaultdict
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from spacy_btl.corpora.note import Note
from spacy_btl.errors import CorpusError
from spacy_btl.expressible import Expressible

# The remark that counts what a source holds beside mentions.
OTHER_ANNOTATION = "other annotation, not read (relations, attributes, labels of the text)"


def report_file(corpus: Path) -> Path:
    """The path of the conversion report of a `.spacy` file: `all.report.json` of `all.spacy`."""
    return corpus.with_suffix(".report.json")


@dataclass
class TypeReport:
    """Counts of the mentions of one type. `read` is the sum of those down to `kept`.

    invalid (int): Skipped as invalid.
    rejected (int): Rejected or ignored by the annotator.
    too_rare (int): Dropped because the type has too few mentions.
    excluded (int): Dropped because the type was not asked for.
    overlapped (int): Left out of `doc.ents` because of another mention or missing annotation.
    kept (int): In `doc.ents`.
    told_apart (int): Kept with `spans_key`, where mentions of different types may overlap.
    """

    read: int = 0
    invalid: int = 0
    rejected: int = 0
    too_rare: int = 0
    excluded: int = 0
    overlapped: int = 0
    kept: int = 0
    told_apart: int = 0

    @property
    def lost(self) -> int:
        """The mentions that are missing although no option asked to drop them."""
        return self.invalid + self.overlapped


@dataclass
class ModeReport:
    """What a pipeline, with `spans_key` or without, can express of the mentions of the types kept.

    lost (Counter[str]): Mentions that it cannot express, by reason.
    moved (int): Kept mentions whose borders moved to token borders.
    discontinuous (int): Kept mentions of several fragments.
    gapped (int): Those whose enclosing span holds words of no fragment.
    """

    lost: Counter[str] = field(default_factory=Counter)
    moved: int = 0
    discontinuous: int = 0
    gapped: int = 0


@dataclass
class Agreement:
    """How far pairs of annotators of the same documents agree on the mentions of a type.

    f1 (float): Of one annotator's mentions against the other's, by type and offsets.
    same, different (int): Mentions that both of a pair have, and that one of them has.
    pairs (int): Pairs of annotations of a document with a mention of this type.
    """

    f1: float
    same: int
    different: int
    pairs: int


@dataclass
class ConversionReport:
    """Counts of the notes and mentions of a source, by what became of them.

    The mentions of a skipped note are not counted.

    skip_invalid (bool): Count invalid notes, lines and mentions, instead of raising a CorpusError.
    trust_offsets (bool): Accept a mention whose own text has the length of the text at its offsets
        but differs in some characters.
    format (str): The format that the source was recognised as.
    notes_skipped, lines_skipped, mentions_invalid (Counter[str]): What was skipped, by reason.
    mentions_rejected (Counter[str]): Mentions that the annotator rejected or ignored, by answer.
    types (Dict[str, TypeReport]): The counts of each type. `""` is for mentions without a type.
    assertions (Counter[str]): The assertions of mentions that were read, by kind. If there are any,
        the mentions without one are annotated too: nothing of it holds of them.
    remarks (Counter[str]): Notes and mentions that were read in an unusual way.
    flat, overlapping (ModeReport): With one label per token, as in `doc.ents`, and with
        `spans_key`, where mentions of different types may overlap.
    annotators (Counter[str]): The documents that each annotator annotated.
    agreement (Dict[str, Agreement]): The agreement of annotators of the same documents, by type.
    tokens, tokens_missing (int): All tokens, and those without annotation, not counting white
        space.
    """

    skip_invalid: bool = False
    trust_offsets: bool = False
    format: str = ""
    notes_read: int = 0
    notes_skipped: Counter[str] = field(default_factory=Counter)
    lines_skipped: Counter[str] = field(default_factory=Counter)
    mentions_invalid: Counter[str] = field(default_factory=Counter)
    mentions_rejected: Counter[str] = field(default_factory=Counter)
    types: defaultdict[str, TypeReport] = field(default_factory=lambda: defaultdict(TypeReport))
    assertions: Counter[str] = field(default_factory=Counter)
    remarks: Counter[str] = field(default_factory=Counter)
    flat: ModeReport = field(default_factory=ModeReport)
    overlapping: ModeReport = field(default_factory=ModeReport)
    annotators: Counter[str] = field(default_factory=Counter)
    agreement: dict[str, Agreement] = field(default_factory=dict)
    tokens: int = 0
    tokens_missing: int = 0

    def total(self, count: str) -> int:
        """The sum of a count over all types. count (str): A field of TypeReport."""
        return sum(getattr(mentions, count) for mentions in self.types.values())

    @property
    def notes_written(self) -> int:
        """The notes that were not skipped."""
        return self.notes_read - self.notes_skipped.total()

    @property
    def expressible(self) -> Expressible:
        """How many mentions of the types kept a pipeline can express."""
        kept = self.total("kept")
        mentions = kept + self.total("overlapped")
        return Expressible(mentions, kept, self.total("told_apart"))

    @property
    def types_kept(self) -> list[str]:
        """The types of the mentions that are neither dropped nor skipped."""
        return sorted(label for label, one in self.types.items() if one.kept or one.overlapped)

    def require_skip(self, reason: str, where: object) -> None:
        """RAISES: CorpusError, unless `skip_invalid`."""
        if not self.skip_invalid:
            raise CorpusError(
                f"{where}: {reason}. Correct it, or leave it out with --skip-invalid."
            )

    def skip(self, reasons: Counter[str], reason: str, where: object) -> None:
        """Count something invalid in `reasons`, which is one of the report's own counters.

        RAISES: CorpusError, unless `skip_invalid`.
        """
        self.require_skip(reason, where)
        reasons[reason] += 1

    def normalize_label(self, label: str) -> str:
        """Return a label with single spaces between its words. A changed label is counted."""
        normalized = " ".join(label.split())
        if normalized != label:
            self.remarks["labels with normalized white space"] += 1
        return normalized

    def count_mentions(self, note: Note) -> None:
        """Count the mentions that were read in a note."""
        for mention in note.mentions:
            self.types[mention.type].read += 1
            self.assertions.update(mention.assertions)
        for skipped in note.skipped:
            mentions = self.types[skipped.type]
            mentions.read += 1
            if skipped.invalid:
                mentions.invalid += 1
                self.mentions_invalid[skipped.reason] += 1
            else:
                mentions.rejected += 1
                self.mentions_rejected[skipped.reason] += 1

    def to_json(self) -> dict[str, Any]:
        """The counts as JSON values, with the sums over all types as `mentions`."""
        counts = {name: value for name, value in vars(self).items() if type(value) is not bool}
        counts |= {mode: vars(counts[mode]) for mode in ("flat", "overlapping")}
        mentions = {count.name: self.total(count.name) for count in fields(TypeReport)}
        types = {label: asdict(self.types[label]) for label in sorted(self.types)}
        return {
            **counts,
            "notes_written": self.notes_written,
            "mentions": mentions,
            "expressible": asdict(self.expressible),
            "types": types,
            "agreement": {label: asdict(one) for label, one in self.agreement.items()},
        }
