"""Read notes from Parquet, CSV, JSON lines or text files, or a folder of them."""

import re
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple

from spacy_btl.errors import AnnotateError
from spacy_btl.folders import File, files_below, refuse_part_of_lake, suffix_of
from spacy_btl.notes.tables import Row, read_csv, read_jsonl, read_parquet
from spacy_btl.preannotations.words import Words

BYTE_ORDER_MARK = "\ufeff"
NOT_UTF8 = re.compile("[\ud800-\udfff]")  # how bytes that are not UTF-8 are decoded
WHOLE_NUMBER = re.compile("[+-]?[0-9]+")
MAX_EXACT = 2**53  # larger whole numbers may share a float
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

    id (Union[str, int]): A number in Parquet or JSON lines stays a number.
    text (Optional[str]): None if the input has no text, or none in UTF-8.
    where (str): Its line or file, for messages.
    missing (str): Why the text is None.
    words (Optional[Words]): Its tokens, where the format of the output asks for them.
    """

    id: str | int
    text: str | None
    where: str
    missing: str = ""
    words: Words | None = None


@dataclass(frozen=True)
class Summary:
    """The result of a first pass over the input.

    notes (int): How many notes there are.
    integer_ids (bool): Whether their ids are whole numbers.
    fingerprint (str): A digest of all ids and texts in their order.
    characters (int): Of all texts.
    """

    notes: int
    integer_ids: bool
    fingerprint: str
    characters: int


def note_files(path: Path) -> list[File]:
    """List the files of an input, in the order in which they are read.

    path (Path): A file of Parquet, CSV or JSON lines, by its suffix, or a folder of such files or
        of .txt files. For folders see `files_below`.
    RAISES: BtlError, for an input that is missing, has no notes, or cannot be read completely.
    """
    if not path.exists():
        raise AnnotateError(f"{path}: no such file or folder.")
    if path.is_dir():
        files = files_below(path, KINDS, beside=(".ann",))
        if not files:
            raise AnnotateError(f"{path}: no notes. Give a folder of .txt files, or of {FORMS}.")
        return files
    suffix = suffix_of(path.name, KINDS)
    if suffix is None or suffix == ".txt":
        raise AnnotateError(f"{path}: give {FORMS}, or a folder of such files or of .txt files.")
    refuse_part_of_lake(path)
    return [File(path.name[: -len(suffix)], suffix, path)]


def read_notes(
    path: Path, *, text_column: str = "text", id_column: str = "id", integer_ids: bool = False
) -> Iterator[Note]:
    """Read notes one at a time, in the order of the input.

    path (Path): See `note_files`. The id of a text file is its path in the folder, without the
        suffix.
    text_column, id_column (str): Columns of a table, or keys of JSON lines.
    integer_ids (bool): Convert ids to whole numbers.
    RAISES: BtlError, for an input that is missing, broken, or lacks a column, and for an id that is
        missing, of another type than the ids before it, or not a whole number as asked for.
    """
    kind: type | None = None
    for file in note_files(path):
        for note in notes_of(file, text_column, id_column, integer_ids=integer_ids):
            kind = kind or type(note.id)
            if type(note.id) is not kind:
                raise AnnotateError(
                    f"{note.where}: '{id_column}' is {_kind(note.id)}, unlike the ids before "
                    "it. Make them all strings or all whole numbers."
                )
            yield note


def read_ids(path: Path, id_column: str = "id", *, integer_ids: bool = False) -> set[str]:
    """The ids of the notes of an input as strings, by which other inputs can be compared with it.
    It needs no texts: a file of an id per row will do.

    RAISES: As `read_notes`.
    """
    notes = read_notes(path, text_column=id_column, id_column=id_column, integer_ids=integer_ids)
    return {str(note.id) for note in notes}


def notes_of(
    file: File, text_column: str, id_column: str, *, integer_ids: bool = False
) -> Iterator[Note]:
    """Read the notes of one file like `read_notes`, without comparing the types of ids."""
    for note_id, text, where in _rows(file, text_column, id_column):
        note = make_note(_whole(note_id), text, where)
        yield _with_checked_id(note, id_column, integer_ids)


def _rows(file: File, text_column: str, id_column: str) -> Iterator[Row]:
    """Yield the ids and texts of a file, and their places."""
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
            f"{note.where}: the id of this note does not fit into a signed 64-bit integer. Make "
            "the ids strings, or smaller numbers."
        )
    return note


def _whole(note_id: Any) -> Any:
    """Turn a float or decimal into a whole number if that is exact."""
    if isinstance(note_id, Decimal) and note_id.is_finite() and note_id == int(note_id):
        return int(note_id)
    if isinstance(note_id, float) and note_id.is_integer() and abs(note_id) < MAX_EXACT:
        return int(note_id)
    return note_id


def scan_notes(notes: Iterator[Note], path: Path) -> Summary:
    """Read all notes once. path (Path): What they are read from, for messages.

    RAISES: AnnotateError, for an input without notes, or an id used twice.

    The ids are kept in a temporary database, which spills to disk when it grows.
    """
    seen = sqlite3.connect("")
    seen.execute("CREATE TABLE seen (id PRIMARY KEY) WITHOUT ROWID")
    digest = blake2b(digest_size=16)
    count, characters, integers = 0, 0, False
    for note in notes:
        integers = isinstance(note.id, int)
        key = str(note.id).encode("utf-8", "surrogatepass")
        if not seen.execute("INSERT OR IGNORE INTO seen VALUES (?)", (key,)).rowcount:
            raise AnnotateError(
                f"{note.where}: the id of this note is used before. Make the ids unique."
            )
        text = b"" if note.text is None else note.text.encode("utf-8")
        digest.update(b"%d %d %d " % (len(key), len(text), note.text is None) + key + text)
        count += 1
        characters += len(note.text or "")
    seen.close()
    if not count:
        raise no_notes(path)
    return Summary(count, integers, digest.hexdigest(), characters)


def counted_notes(notes: Iterable[Note], on_progress: Callable[[int], None]) -> Iterator[Note]:
    """The notes themselves. on_progress (Callable[[int], None]): Called with how many were read."""
    for number, note in enumerate(notes, start=1):
        yield note
        on_progress(number)


def no_notes(path: Path) -> AnnotateError:
    """The error of an input without notes."""
    return AnnotateError(f"{path}: no notes: its files are empty. Give at least one note.")


def _integer(note: Note) -> int:
    if not WHOLE_NUMBER.fullmatch(str(note.id)):
        raise AnnotateError(
            f"{note.where}: the id of this note is not a whole number, as NOTE_NLP requires."
        )
    return int(note.id)


def make_note(note_id: Any, text: Any, where: str) -> Note:
    """Make a note of values of any type."""
    if text is None:
        return Note(note_id, None, where, "no text")
    if not isinstance(text, str):
        return Note(note_id, None, where, f"the text is {_kind(text)}")
    if NOT_UTF8.search(text):
        return Note(note_id, None, where, "the text is not UTF-8")
    return Note(note_id, text, where)


def _kind(value: Any) -> str:
    """Describe a value without quoting it."""
    kinds = {type(None): "missing", str: "a string", int: "a whole number"}
    return "empty" if value == "" else kinds.get(type(value), f"a {type(value).__name__}")
