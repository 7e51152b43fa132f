"""Notes and their mentions -> one `.spacy` file."""

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import spacy
from spacy.language import Language

from spacy_btl.corpora.brat import read_brat
from spacy_btl.corpora.docbin import write_docs
from spacy_btl.corpora.gold import Overlaps, to_doc
from spacy_btl.corpora.jsonl import read_jsonl
from spacy_btl.corpora.note import Account, Note
from spacy_btl.corpora.patients import read_patients
from spacy_btl.corpora.repeats import without_repeats
from spacy_btl.errors import CorpusError


def convert(  # noqa: PLR0913 - an argument for each option of the command
    src: Path,
    out: Path,
    *,
    lang: str = "en",
    min_mentions: int = 1,
    types: Collection[str] | None = None,
    drop_types: Collection[str] = (),
    overlaps: Overlaps = "outer",
    skip_invalid: bool = False,
    trust_offsets: bool = False,
    patients: Path | None = None,
) -> Account:
    """Convert a brat folder or a JSON-lines file to a `.spacy` file.

    Mentions of a type that is not kept are no entities: their tokens are `O`. What is skipped as
    invalid is missing annotation, which training and scoring pass over.

    src (Path): A folder of NAME.txt and NAME.ann, sub-folders included, or a `.jsonl` or
        `.ndjson` file.
    out (Path): The `.spacy` file to write; its folder is made.
    lang (str): The language whose spaCy tokeniser divides the notes.
    min_mentions (int): Types with fewer valid mentions in the whole source are dropped.
    types (Optional[Collection[str]]): The types to keep; all, if None.
    drop_types (Collection[str]): Types to drop.
    overlaps (str): Which of two overlapping mentions is in `doc.ents`, the "outer" or the "inner".
    skip_invalid (bool): Skip and count what is invalid.
    trust_offsets (bool): Take a mention whose own text is as long as the text at its offsets, and
        has some other characters: those that one of the two has lost or replaced.
    patients (Optional[Path]): A CSV file with the columns note_id and patient_id. The patient is
        kept in the doc's user data, and what divides or draws documents keeps those of one
        together.
    RETURNS (Account): What became of every note and mention.
    RAISES: CorpusError, for a source, a language or an output that cannot be used, a note whose
        patient is not given, a type that no mention has, or if no mention is left.

    >>> from spacy_btl import convert
    >>> report = convert(Path("corpus"), Path("corpus.spacy"), min_mentions=5)
    """
    if out.suffix != ".spacy":
        raise CorpusError(f"{out}: the output must be a .spacy file, for example corpus.spacy.")
    nlp = _blank(lang)
    account = Account(skip_invalid=skip_invalid, trust_offsets=trust_offsets)
    try:
        notes = without_repeats(_read(src, account), src, account=account)
    except OSError as err:
        raise CorpusError(f"{err.filename or src}: cannot be read ({err.strerror}).") from err
    if not notes:
        raise CorpusError(f"{src}: no note to convert.")
    if patients is not None:
        notes = _with_patients(notes, patients)
    for note in notes:
        account.count(note)
    kept = _kept_types(notes, min_mentions, types, drop_types, account)
    docs = [to_doc(note, nlp, types=kept, account=account, overlaps=overlaps) for note in notes]
    if account.total("read") and not account.total("kept"):
        raise CorpusError(f"{src}: none of its {account.total('read'):,} mentions is left.")
    write_docs(out, docs)
    return account


def _kept_types(
    notes: Sequence[Note],
    min_mentions: int,
    types: Collection[str] | None,
    drop_types: Collection[str],
    account: Account,
) -> set[str]:
    """The types to keep; the mentions of the others are counted.

    RAISES: CorpusError, for a type that no mention has.
    """
    counts = Counter(mention.type for note in notes for mention in note.mentions)
    unknown = sorted({*(types or ()), *drop_types} - set(account.types))
    if unknown:
        raise CorpusError(
            f"No mention is of type {', '.join(unknown)}. There are: "
            f"{', '.join(sorted(counts)) or 'none'}."
        )
    wanted = set(counts if types is None else types) - set(drop_types)
    kept = set()
    for label, count in counts.items():
        if label not in wanted:
            account.types[label].unwanted = count
        elif count < min_mentions:
            account.types[label].rare = count
        else:
            kept.add(label)
    return kept


def _blank(lang: str) -> Language:
    try:
        return spacy.blank(lang)
    except ImportError as err:
        raise CorpusError(
            f"spaCy cannot tokenise the language {lang!r}: it has none of that name, or the "
            "language needs a package that is not installed."
        ) from err


def _read(src: Path, account: Account) -> Iterator[Note]:
    if src.is_dir():
        return read_brat(src, account=account)
    if src.is_file() and src.suffix.lower() in (".jsonl", ".ndjson"):
        return read_jsonl(src, account=account)
    hint = ""
    if src.is_file() and src.suffix.lower() == ".json":
        hint = " An export of Label Studio, or any other JSON, has to become JSON lines first."
    raise CorpusError(f"{src}: neither a brat folder nor a .jsonl file.{hint}")


def _with_patients(notes: Sequence[Note], file: Path) -> list[Note]:
    patients = read_patients(file)
    missing = [number for number, note in enumerate(notes, start=1) if note.id not in patients]
    if missing:
        raise CorpusError(
            f"{file}: does not say whose {len(missing)} of {len(notes)} notes are. The first is "
            f"note {missing[0]} of those that are not skipped."
        )
    return [replace(note, patient=patients[note.id]) for note in notes]
