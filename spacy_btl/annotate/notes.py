"""Notes from Parquet, CSV, JSON lines or text files, or a folder of them, one at a time."""

import re
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple

from spacy_btl.annotate.tables import Row, read_csv, read_jsonl, read_parquet
from spacy_btl.errors import AnnotateError
from spacy_btl.folders import File, files_below, refuse_part_of_lake, suffix_of

BYTE_ORDER_MARK = "\ufeff"
NOT_UTF8 = re.compile("[\ud800-\udfff]")  # what is left of bytes that are not UTF-8
WHOLE_NUMBER = re.compile("[+-]?[0-9]+")
LARGEST_FLOAT = 2**53  # from here on, two whole numbers may be one float
TABLES = {"Parquet": read_parquet, "CSV": read_csv, "JSON lines": read_jsonl}
FORMS = ".parquet, .csv, .tsv, .jsonl, .ndjson or .json, the last five also with .gz"
KINDS = {
    ".txt": "text files",
    ".parquet": "Parquet",
    **dict.fromkeys((".csv", ".tsv", ".csv.gz", ".tsv.gz"), "CSV"),
    **dict.fromkeys(
        (".jsonl", ".ndjson", ".json", ".jsonl.gz", ".ndjson.gz", ".json.gz"), "JSON lines"
    ),
}


class Note(NamedTuple):
    """A note of the input.

    id (Union[str, int]): As the input has it: a number in Parquet or JSON lines stays a number.
    text (Optional[str]): None where the input has none, or not in UTF-8: `missing` says why.
    where (str): Its line or file, for messages.
    missing (str): Why there is no text.
    """

    id: str | int
    text: str | None
    where: str
    missing: str = ""


@dataclass(frozen=True)
class Summary:
    """What a first reading finds: how many notes, whether ids are numbers, and a fingerprint of
    all ids and texts in their order."""

    notes: int
    integer_ids: bool
    fingerprint: str


def note_files(path: Path) -> list[File]:
    """The files of an input, in the order that they are read in.

    path (Path): A file of Parquet, CSV or JSON lines, by its suffix, or a folder of such files or
        of .txt files. `files_below` has the rule for folders.
    RAISES: BtlError, for an input that is missing, without notes, or not to be read whole.
    """
    if not path.exists():
        raise AnnotateError(f"{path}: no such file or folder.")
    if path.is_dir():
        files = files_below(path, KINDS, beside=(".ann",))
        if not files:
            raise AnnotateError(f"{path}: no note here: no .txt file, and none of {FORMS}.")
        return files
    suffix = suffix_of(path.name, KINDS)
    if suffix is None or suffix == ".txt":
        raise AnnotateError(f"{path}: give {FORMS}, or a folder of those or of .txt files.")
    refuse_part_of_lake(path)
    return [File(path.name[: -len(suffix)], suffix, path)]


def read_notes(
    path: Path, *, text_column: str = "text", id_column: str = "id", integer_ids: bool = False
) -> Iterator[Note]:
    """Read notes in the order of the input; memory does not grow with it.

    path (Path): See `note_files`. Text files are named by their path in the folder, without the
        suffix.
    text_column, id_column (str): Columns of a table, or keys of JSON lines.
    integer_ids (bool): Make ids whole numbers.
    RAISES: BtlError, for an input that is missing, broken, or has no such column, and for an id
        that is missing, of another type than the ones before it, or no whole number if that is
        asked for.
    """
    kind: type | None = None
    for file in note_files(path):
        for note in notes_of(file, text_column, id_column, integer_ids=integer_ids):
            kind = kind or type(note.id)
            if type(note.id) is not kind:
                raise AnnotateError(
                    f"{note.where}: '{id_column}' is {_kind(note.id)}, unlike those before it. "
                    "Make them all strings or all whole numbers."
                )
            yield note


def notes_of(
    file: File, text_column: str, id_column: str, *, integer_ids: bool = False
) -> Iterator[Note]:
    """The notes of one file, as `read_notes` has them; types of ids are not compared."""
    for note_id, text, where in _rows(file, text_column, id_column):
        note = make_note(_whole(note_id), text, where)
        yield _with_checked_id(note, id_column, integer_ids)


def _rows(file: File, text_column: str, id_column: str) -> Iterator[Row]:
    """The ids and texts of a file, and where they stand."""
    try:
        if KINDS[file.suffix] in TABLES:
            yield from TABLES[KINDS[file.suffix]](file.path, text_column, id_column)
        else:
            text = file.path.read_bytes().decode("utf-8", "surrogateescape")
            yield file.id, text.removeprefix(BYTE_ORDER_MARK), str(file.path)
    except OSError as error:
        raise AnnotateError(f"{file.path}: cannot be read ({error.strerror}).") from error


def _with_checked_id(note: Note, id_column: str, integer_ids: bool) -> Note:
    if type(note.id) not in (str, int) or note.id == "":
        raise AnnotateError(
            f"{note.where}: '{id_column}' is {_kind(note.id)}. Every note needs an id: a string or "
            "a whole number."
        )
    if isinstance(note.id, str) and NOT_UTF8.search(note.id):
        where = note.where.encode("utf-8", "backslashreplace").decode("utf-8")
        raise AnnotateError(f"{where}: the id of this note is not UTF-8.")
    if integer_ids:
        note = note._replace(id=_integer(note))
    if isinstance(note.id, int) and not -(2**63) <= note.id < 2**63:
        raise AnnotateError(
            f"{note.where}: the id of this note does not fit into 64 bits with a sign. Make the "
            "ids strings, or smaller numbers."
        )
    return note


def _whole(note_id: Any) -> Any:
    """The whole number that a float or decimal is, if no other number can have become it."""
    if isinstance(note_id, Decimal) and note_id.is_finite() and note_id == int(note_id):
        return int(note_id)
    if isinstance(note_id, float) and note_id.is_integer() and abs(note_id) < LARGEST_FLOAT:
        return int(note_id)
    return note_id


def survey(notes: Iterator[Note]) -> Summary:
    """Read all notes once. RAISES: AnnotateError, for an input without notes, or an id used twice.

    The ids are kept in a temporary database, which goes to disk when it grows.
    """
    seen = sqlite3.connect("")
    seen.execute("CREATE TABLE seen (id PRIMARY KEY) WITHOUT ROWID")
    digest = blake2b(digest_size=16)
    count, integers = 0, False
    for note in notes:
        integers = isinstance(note.id, int)
        key = str(note.id).encode("utf-8", "surrogatepass")
        if not seen.execute("INSERT OR IGNORE INTO seen VALUES (?)", (key,)).rowcount:
            raise AnnotateError(
                f"{note.where}: the id of this note was used before. Make the ids unique."
            )
        text = b"" if note.text is None else note.text.encode("utf-8")
        digest.update(b"%d %d %d " % (len(key), len(text), note.text is None) + key + text)
        count += 1
    seen.close()
    if not count:
        raise AnnotateError("The input holds no note.")
    return Summary(count, integers, digest.hexdigest())


def _integer(note: Note) -> int:
    if not WHOLE_NUMBER.fullmatch(str(note.id)):
        raise AnnotateError(
            f"{note.where}: the id of this note is no whole number, and the note_id of NOTE_NLP is."
        )
    return int(note.id)


def make_note(note_id: Any, text: Any, where: str) -> Note:
    """A note of values that may be anything."""
    if text is None:
        return Note(note_id, None, where, "no text")
    if not isinstance(text, str):
        return Note(note_id, None, where, f"the text is {_kind(text)}")
    if NOT_UTF8.search(text):
        return Note(note_id, None, where, "the text is not UTF-8")
    return Note(note_id, text, where)


def _kind(value: Any) -> str:
    """What a value is, without quoting it."""
    kinds = {type(None): "missing", str: "a string", int: "a whole number"}
    return "empty" if value == "" else kinds.get(type(value), f"a {type(value).__name__}")
