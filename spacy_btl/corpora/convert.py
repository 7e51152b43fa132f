"""Notes and their mentions -> one `.spacy` file."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import spacy
from spacy.language import Language
from spacy.tokens import Doc, Span
from spacy.util import filter_spans

from spacy_btl.corpora.brat import read_brat
from spacy_btl.corpora.docbin import write_docs
from spacy_btl.corpora.jsonl import read_jsonl
from spacy_btl.corpora.note import Account, Mention, Note
from spacy_btl.corpora.patients import PATIENT, read_patients
from spacy_btl.errors import CorpusError
from spacy_btl.tags import strip_space


def convert(
    src: Path,
    out: Path,
    *,
    lang: str = "en",
    min_mentions: int = 1,
    skip_invalid: bool = False,
    patients: Path | None = None,
) -> Account:
    """Convert a brat folder or a JSON-lines file to a `.spacy` file.

    src (Path): A folder of NAME.txt and NAME.ann, or a `.jsonl` file.
    out (Path): The `.spacy` file to write; its folder is made.
    lang (str): The language whose spaCy tokeniser divides the notes.
    min_mentions (int): Types with fewer mentions in the whole source are dropped.
    skip_invalid (bool): Skip and count what is invalid.
    patients (Optional[Path]): A CSV file with the columns note_id and patient_id. The patient is
        kept in the doc's user data, and what divides or draws documents keeps those of one
        together.
    RETURNS (Account): What became of every note and mention.
    RAISES: CorpusError, for a source, a language or an output that cannot be used, or a note whose
        patient is not given.
    """
    if out.suffix != ".spacy":
        raise CorpusError(f"{out}: the output must be a .spacy file, for example corpus.spacy.")
    nlp = _blank(lang)
    account = Account(skip_invalid=skip_invalid)
    try:
        notes = list(_read(src, account))
    except OSError as err:
        raise CorpusError(f"{err.filename or src}: cannot be read ({err.strerror}).") from err
    if not notes:
        raise CorpusError(f"{src}: no note to convert.")
    if patients is not None:
        notes = _with_patients(notes, patients)
    counts = Counter(mention.type for note in notes for mention in note.mentions)
    for label, count in counts.items():
        target = account.types_kept if count >= min_mentions else account.types_dropped
        target[label] = count
    write_docs(out, (to_doc(note, nlp, account=account) for note in notes))
    return account


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
    if src.is_file() and src.suffix == ".jsonl":
        return read_jsonl(src, account=account)
    raise CorpusError(f"{src}: neither a brat folder nor a .jsonl file.")


def _with_patients(notes: Sequence[Note], file: Path) -> list[Note]:
    patients = read_patients(file)
    missing = [number for number, note in enumerate(notes, start=1) if note.id not in patients]
    if missing:
        raise CorpusError(
            f"{file}: does not say whose {len(missing)} of {len(notes)} notes are. The first is "
            f"note {missing[0]} of those that are not skipped."
        )
    return [replace(note, patient=patients[note.id]) for note in notes]


def to_doc(note: Note, nlp: Language, *, account: Account) -> Doc:
    """Tokenise a note and set its mentions, those of `account.types_kept` only.

    Every mention is in `doc.spans["mentions"]`, the fragments of one sharing their `id_`.
    `doc.ents` has the hulls that do not overlap, the longest first.

    account (Account): Counts the mentions dropped, overlapped and kept.
    """
    doc = nlp.make_doc(note.text)
    doc.user_data["note_id"] = note.id
    if note.patient is not None:
        doc.user_data[PATIENT] = note.patient
    mentions = [mention for mention in note.mentions if mention.type in account.types_kept]
    doc.spans["mentions"] = [span for mention in mentions for span in _fragments(doc, mention)]
    hulls: dict[Span, Mention] = {}
    for mention in mentions:
        hulls.setdefault(_token_span(doc, mention.hull, mention.type), mention)
    doc.ents = filter_spans(hulls)
    account.mentions_rare += len(note.mentions) - len(mentions)
    account.mentions_overlapped += len(mentions) - len(doc.ents)
    account.mentions_kept += len(doc.ents)
    for ent in doc.ents:
        mention = hulls[ent]
        account.moved += (ent.start_char, ent.end_char) != mention.hull
        account.discontinuous += len(mention.fragments) > 1
    return doc


def _fragments(doc: Doc, mention: Mention) -> Iterator[Span]:
    for fragment in mention.fragments:
        span = _token_span(doc, fragment, mention.type)
        if len(span):  # brat can cut out a line end as a fragment of its own
            yield Span(doc, span.start, span.end, label=span.label, span_id=mention.id)


def _token_span(doc: Doc, offsets: tuple[int, int], label: str) -> Span:
    """The tokens that the characters touch, without white space at the ends."""
    return strip_space(doc.char_span(*offsets, label=label, alignment_mode="expand"))
