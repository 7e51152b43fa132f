"""Convert annotated notes to a `.spacy` file, with a conversion report."""

import json
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

import spacy
from spacy.language import Language

from spacy_btl.corpora.annotators import one_annotator
from spacy_btl.corpora.docbin import write_docs
from spacy_btl.corpora.duplicates import drop_duplicates
from spacy_btl.corpora.gold import Overlaps, to_doc
from spacy_btl.corpora.note import Note
from spacy_btl.corpora.patients import read_patients
from spacy_btl.corpora.report import ConversionReport, report_file
from spacy_btl.errors import CorpusError, counted
from spacy_btl.files import write_file
from spacy_btl.formats.registry import read_notes


def convert(  # noqa: PLR0913 - options by keyword, as on the command line
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
    annotator: str | None = None,
    layers: Sequence[str] = (),
) -> ConversionReport:
    """Convert annotated notes of any format that is read to a `.spacy` file.

    Mentions of a dropped type are no entities: their tokens are `O`. What is skipped as invalid is
    missing annotation, which training and scoring ignore. The conversion report is written beside
    the output, as `corpus.report.json` of `corpus.spacy`.

    src (Path): A file, a folder or a zip archive. Its format is recognised by what it holds
        (docs/formats.md).
    out (Path): The `.spacy` file to write. Its folder is created.
    lang (str): The language of the spaCy tokeniser to use.
    min_mentions (int): Types with fewer valid mentions in the whole source are dropped.
    types (Optional[Collection[str]]): The types to keep; None keeps all.
    drop_types (Collection[str]): Types to drop.
    overlaps (str): Which of two overlapping mentions to keep, the "outer" or the "inner".
    skip_invalid (bool): Skip and count what is invalid, instead of raising an error.
    trust_offsets (bool): Accept a mention whose own text has the length of the text at its offsets
        but differs in some characters.
    patients (Optional[Path]): A CSV file with the columns note_id and patient_id. The patient is
        kept in the doc's user data. Splits and resampling keep the notes of a patient together.
    annotator (Optional[str]): Whose annotation to take of documents that several people annotated.
        None takes whoever annotated the most. Curated annotation comes first.
    layers (Sequence[str]): `LAYER:FEATURE`: what holds the types in an export of INCEpTION. Needed
        if several layers have values.
    RETURNS (ConversionReport): Counts of the notes and mentions, by what became of them.
    RAISES: CorpusError, for a source, a language or an output that cannot be used, a note without
        a patient, a type that no mention has, or if no mention is left.

    >>> from spacy_btl import convert
    >>> report = convert(Path("corpus"), Path("corpus.spacy"), min_mentions=5)
    """
    if out.suffix != ".spacy":
        raise CorpusError(f"{out}: the output must be a .spacy file, for example corpus.spacy.")
    if out.resolve() == src.resolve():
        raise CorpusError(f"{out} is the source. Give another output.")
    nlp = _blank(lang)
    report = ConversionReport(skip_invalid=skip_invalid, trust_offsets=trust_offsets)
    notes = _read_notes(src, annotator, layers, report)
    if patients is not None:
        notes = _with_patients(notes, patients)
    for note in notes:
        report.count_mentions(note)
    kept = _kept_types(notes, min_mentions, types, drop_types, report)
    docs = [to_doc(note, nlp, types=kept, report=report, overlaps=overlaps) for note in notes]
    if report.total("read") and not report.types_kept:
        read = counted(report.total("read"), "mention")
        raise CorpusError(f"{src}: of its {read} none is left.")
    settings = {
        "lang": lang,
        "min_mentions": min_mentions,
        "types": None if types is None else sorted(types),
        "drop_types": sorted(drop_types),
        "overlaps": overlaps,
        "skip_invalid": skip_invalid,
        "trust_offsets": trust_offsets,
        "annotator": annotator,
        "layers": list(layers),
    }
    report_file(out).unlink(missing_ok=True)  # that of an earlier corpus
    write_docs(out, docs)
    content = {"source": src.name, "settings": settings, **report.to_json()}
    write_file(report_file(out), (json.dumps(content, indent=2) + "\n").encode("ascii"))
    return report


def _read_notes(
    src: Path, annotator: str | None, layers: Sequence[str], report: ConversionReport
) -> list[Note]:
    """Read the notes of a source: one annotation of each document, and one of its copies."""
    try:
        versions = read_notes(src, report, layers)
        documents = one_annotator(versions, annotator, report)
    except OSError as err:
        raise CorpusError(f"{err.filename or src}: cannot be read ({err.strerror}).") from err
    notes = drop_duplicates(documents, src, report=report)
    if not notes:
        skipped = ", ".join(f"{why} ({count:,})" for why, count in report.notes_skipped.items())
        raise CorpusError(f"{src}: no note to convert{': ' if skipped else ''}{skipped}.")
    return notes


def _kept_types(
    notes: Sequence[Note],
    min_mentions: int,
    types: Collection[str] | None,
    drop_types: Collection[str],
    report: ConversionReport,
) -> set[str]:
    """Return the types to keep, and count the mentions of the others.

    RAISES: CorpusError, for a type that no mention has.
    """
    counts = Counter(mention.type for note in notes for mention in note.mentions)
    unknown = sorted({*(types or ()), *drop_types} - set(report.types))
    if unknown:
        raise CorpusError(
            f"No mention is of type {', '.join(unknown)}. The types are: "
            f"{', '.join(sorted(counts)) or 'none'}."
        )
    wanted = set(counts if types is None else types) - set(drop_types)
    kept = set()
    for label, count in counts.items():
        if label not in wanted:
            report.types[label].excluded = count
        elif count < min_mentions:
            report.types[label].too_rare = count
        else:
            kept.add(label)
    return kept


def _blank(lang: str) -> Language:
    try:
        return spacy.blank(lang)
    except ImportError as err:
        raise CorpusError(
            f"spaCy cannot tokenise the language {lang!r}: the code is unknown, or it needs a "
            "package that is not installed."
        ) from err


def _with_patients(notes: Sequence[Note], file: Path) -> list[Note]:
    patients = read_patients(file)
    missing = [number for number, note in enumerate(notes, start=1) if note.id not in patients]
    if missing:
        raise CorpusError(
            f"{file}: no patient for {len(missing)} of {counted(len(notes), 'note')}. The first is "
            f"note {missing[0]} of those that are not skipped."
        )
    return [replace(note, patient=patients[note.id]) for note in notes]
