"""Notes from Parquet, CSV, JSON lines or a folder of text files, one at a time."""

import csv
import json
import re
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple

from spacy_btl.about import how_to_install
from spacy_btl.errors import AnnotateError

BYTE_ORDER_MARK = "\ufeff"
NOT_UTF8 = re.compile("[\ud800-\udfff]")  # what is left of bytes that are not UTF-8
WHOLE_NUMBER = re.compile("[+-]?[0-9]+")
ROWS_AT_A_TIME = 256  # of Parquet
LONGEST_FIELD = 2**31 - 1  # of CSV: the limit of its reader


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


def read_notes(
    path: Path, *, text_column: str = "text", id_column: str = "id", integer_ids: bool = False
) -> Iterator[Note]:
    """Read notes in the order of the input; memory does not grow with it.

    path (Path): A .parquet file or a folder of them, a .csv or .jsonl file, or a folder of .txt
        files, which are named by their path in it, without the suffix.
    text_column, id_column (str): Columns of a table, or keys of JSON lines.
    integer_ids (bool): Make ids whole numbers.
    RAISES: AnnotateError, for an input that is missing, broken, or has no such column, and for an
        id that is missing, of another type than the ones before it, or no whole number if that is
        asked for.
    """
    if not path.exists():
        raise AnnotateError(f"{path}: no such file or folder.")
    kind: type | None = None
    for note in _reader(path)(path, text_column, id_column):
        if type(note.id) not in (str, int) or note.id == "":
            raise AnnotateError(
                f"{note.where}: '{id_column}' is {_kind(note.id)}. Every note needs an id: a "
                "string or a whole number."
            )
        if isinstance(note.id, str) and NOT_UTF8.search(note.id):
            where = note.where.encode("utf-8", "backslashreplace").decode("utf-8")
            raise AnnotateError(f"{where}: the id of this note is not UTF-8.")
        if integer_ids:
            note = note._replace(id=_integer(note))
        if isinstance(note.id, int) and not -(2**63) <= note.id < 2**63:
            raise AnnotateError(
                f"{note.where}: the id of this note does not fit into 64 bits with a sign. Make "
                "the ids strings, or smaller numbers."
            )
        kind = kind or type(note.id)
        if type(note.id) is not kind:
            raise AnnotateError(
                f"{note.where}: '{id_column}' is {_kind(note.id)}, unlike those before it. Make "
                "them all strings or all whole numbers."
            )
        yield note


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


def _reader(path: Path) -> Any:
    readers = {".parquet": _read_parquet, ".csv": _read_csv, ".jsonl": _read_jsonl}
    if path.is_dir():
        return _read_parquet if _parquet_files(path) else _read_folder
    if path.suffix.lower() not in readers:
        raise AnnotateError(
            f"{path}: give a .parquet, .csv or .jsonl file, or a folder of .parquet or .txt files."
        )
    return readers[path.suffix.lower()]


def _parquet_files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.glob("*.parquet") if not file.name.startswith((".", "_")))


def _read_parquet(path: Path, text_column: str, id_column: str) -> Iterator[Note]:
    pyarrow = import_pyarrow()
    for file in _parquet_files(path) if path.is_dir() else [path]:
        try:
            # Without these two, a row group is read whole.
            table = pyarrow.parquet.ParquetFile(file, pre_buffer=False, buffer_size=1 << 20)
            _check_columns(file, table.schema_arrow.names, text_column, id_column)
            _check_types(file, table.schema_arrow, text_column, id_column)
            row = 0
            for batch in table.iter_batches(ROWS_AT_A_TIME, columns=[id_column, text_column]):
                ids, texts = (batch.column(name).to_pylist() for name in (id_column, text_column))
                for note_id, text in zip(ids, texts, strict=True):
                    row += 1
                    yield make_note(note_id, text, f"{file}, row {row}")
        except (pyarrow.ArrowException, OSError, UnicodeDecodeError):
            raise AnnotateError(f"{file}: not a Parquet file, or a damaged one.") from None


def _check_types(file: Path, schema: Any, text_column: str, id_column: str) -> None:
    types = import_pyarrow().types
    text, note_id = schema.field(text_column).type, schema.field(id_column).type
    strings = (types.is_string, types.is_large_string, types.is_string_view)
    if not any(is_kind(text) for is_kind in strings):
        raise AnnotateError(f"{file}: column '{text_column}' holds {text}, not text.")
    if not any(is_kind(note_id) for is_kind in (*strings, types.is_integer)):
        raise AnnotateError(
            f"{file}: column '{id_column}' holds {note_id}, not strings or whole numbers."
        )


def _read_csv(path: Path, text_column: str, id_column: str) -> Iterator[Note]:
    csv.field_size_limit(LONGEST_FIELD)
    # Bytes that are not UTF-8 must not cost the notes around them.
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        rows = csv.reader(file, strict=True)
        try:
            header = next(rows, [])
            _check_header(path, header, text_column, id_column)
            text, note_id = header.index(text_column), header.index(id_column)
            for row in rows:
                where = f"{path}, line {rows.line_num}"
                if row and len(row) != len(header):
                    raise AnnotateError(
                        f"{where}: {len(row)} fields, and the header has {len(header)}. Check "
                        "the quotes around texts with commas or line ends."
                    )
                if row:
                    yield make_note(row[note_id], row[text], where)
        except csv.Error:
            where = f"{path}, line {rows.line_num}"
            raise AnnotateError(f"{where}: broken CSV, most likely an open quote.") from None


def _read_jsonl(path: Path, text_column: str, id_column: str) -> Iterator[Note]:
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            where = f"{path}, line {number}"
            if not line.strip():
                continue
            try:
                # A half character stays one, and makes its own note fail.
                record = json.loads(line.decode("utf-8-sig", "surrogateescape"))
            except (ValueError, RecursionError):
                raise AnnotateError(f"{where}: broken JSON.") from None
            if not isinstance(record, dict):
                raise AnnotateError(f"{where}: not a JSON object.")
            _check_columns(where, record, text_column, id_column)
            yield make_note(record[id_column], record[text_column], where)


def _read_folder(path: Path, _text_column: str, _id_column: str) -> Iterator[Note]:
    files = sorted(file for file in path.rglob("*.txt") if not file.name.startswith("."))
    if not files:
        raise AnnotateError(f"{path}: no .txt and no .parquet file here.")
    for file in files:
        name = file.relative_to(path).with_suffix("").as_posix()
        try:
            text = file.read_bytes().decode("utf-8", "surrogateescape")
        except OSError as error:
            raise AnnotateError(f"{file}: cannot be read ({error.strerror}).") from error
        yield make_note(name, text.removeprefix(BYTE_ORDER_MARK), str(file))


def _check_columns(where: object, columns: Any, text_column: str, id_column: str) -> None:
    for name, option in ((text_column, "--text-column"), (id_column, "--id-column")):
        if name not in columns:
            known = ", ".join(map(str, columns)) or "nothing"
            raise AnnotateError(f"{where}: no column '{name}', but {known}. Name it by {option}.")


def _check_header(path: Path, header: list[str], text_column: str, id_column: str) -> None:
    """Does not list it as `_check_columns` would: without a header it is a note."""
    for name, option in ((text_column, "--text-column"), (id_column, "--id-column")):
        if name not in header:
            raise AnnotateError(
                f"{path}: no column '{name}' among the {len(header)} of the first line, which must "
                f"be a header. Name it by {option}."
            )


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


def import_pyarrow() -> Any:
    """pyarrow with its Parquet files. RAISES: AnnotateError, where it is not installed."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise AnnotateError(
            f"Parquet needs pyarrow: get it {how_to_install('annotate')}."
        ) from None
    return pyarrow
