"""Read the rows of one file: Parquet, or CSV or JSON lines, gzipped or not.

Each reader yields ids and texts of any type, with their places. Errors never quote a value, which
may be a note.
"""

import csv
import gzip
import json
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from spacy_btl.about import how_to_install
from spacy_btl.errors import AnnotateError

BATCH_ROWS = 256  # of Parquet
MAX_FIELD = 2**31 - 1  # characters of a CSV field: the limit of the csv module
DELIMITERS = ",;\t"
TWICE = object()  # the value of a key that a JSON object has twice

Row = tuple[Any, Any, str]


def read_parquet(file: Path, text_column: str, id_column: str) -> Iterator[Row]:
    """Yield the rows of a Parquet file.

    RAISES: AnnotateError, for a damaged file, and a column that is missing, there twice, or of
        another type.
    """
    pyarrow = import_pyarrow()
    try:
        # Without these two settings, whole row groups are read.
        table = pyarrow.parquet.ParquetFile(file, pre_buffer=False, buffer_size=1 << 20)
        _check_columns(file, table.schema_arrow.names, text_column, id_column, listed=True)
        _check_types(file, table.schema_arrow, text_column, id_column)
        row = 0
        for batch in table.iter_batches(BATCH_ROWS, columns=[id_column, text_column]):
            ids, texts = (batch.column(name).to_pylist() for name in (id_column, text_column))
            for note_id, text in zip(ids, texts, strict=True):
                row += 1
                yield _decoded(note_id), _decoded(text), f"{file}, row {row}"
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError):
        raise AnnotateError(f"{file}: not a Parquet file, or a damaged one.") from None


def _decoded(value: Any) -> Any:
    """Decode bytes. Bytes that are not UTF-8 make their own note fail, not the file."""
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else value


def _check_types(file: Path, schema: Any, text_column: str, id_column: str) -> None:
    types = import_pyarrow().types
    strings = (
        types.is_string,
        types.is_large_string,
        types.is_string_view,
        types.is_binary,
        types.is_large_binary,
        types.is_binary_view,
        types.is_fixed_size_binary,
    )
    numbers = (types.is_integer, types.is_floating, types.is_decimal)
    for name, accepted, expected in (
        (text_column, strings, "text"),
        (id_column, (*strings, *numbers), "strings or whole numbers"),
    ):
        kind = schema.field(name).type
        value_type = kind.value_type if types.is_dictionary(kind) else kind
        if not any(is_type(value_type) for is_type in accepted):
            raise AnnotateError(f"{file}: column '{name}' is of type {kind}, not {expected}.")


def read_csv(file: Path, text_column: str, id_column: str) -> Iterator[Row]:
    """Yield the rows of a CSV file.

    The delimiter is the first of comma, semicolon and tab that gives both columns in the header.

    RAISES: AnnotateError, for a column that is missing or there twice, and a broken record.
    """
    csv.field_size_limit(MAX_FIELD)
    delimiter = _delimiter(file, (text_column, id_column))
    with _opened(file, newline="") as lines:
        rows = csv.reader(lines, strict=True, delimiter=delimiter)
        try:
            header = next(rows, [])
            _check_columns(file, header, text_column, id_column, listed=False)
            text, note_id = header.index(text_column), header.index(id_column)
            for row in rows:
                where = f"{file}, line {rows.line_num}"
                if row and len(row) != len(header):
                    raise AnnotateError(
                        f"{where}: {len(row)} fields, and the header has {len(header)}. Check "
                        "the quotes around texts with delimiters or line ends."
                    )
                if row:
                    yield row[note_id], row[text], where
        except csv.Error:
            where = f"{file}, line {rows.line_num}"
            raise AnnotateError(f"{where}: broken CSV, most likely an unclosed quote.") from None


def _delimiter(file: Path, columns: Iterable[str]) -> str:
    """Find the delimiter by the header only: notes contain commas and semicolons."""
    with _opened(file, newline="") as lines:
        first = next(lines, "")
    for delimiter in DELIMITERS:
        if set(columns) <= set(next(csv.reader([first], delimiter=delimiter), [])):
            return delimiter
    return DELIMITERS[0]


def read_jsonl(file: Path, text_column: str, id_column: str) -> Iterator[Row]:
    """Yield the rows of JSON lines.

    RAISES: AnnotateError, for a line that is not a JSON object, or lacks a key or has it twice.
    """
    with _opened(file, newline="\n") as lines:
        for number, line in enumerate(lines, start=1):
            where = f"{file}, line {number}"
            if not line.strip():
                continue
            try:
                # A lone surrogate is kept, and makes its own note fail.
                record = json.loads(line.removeprefix("\ufeff"), object_pairs_hook=_object)
            except (ValueError, RecursionError):
                raise AnnotateError(
                    f"{where}: broken JSON. Each line must be one JSON object."
                ) from None
            if not isinstance(record, dict):
                raise AnnotateError(f"{where}: not a JSON object.")
            keys = [*record, *(key for key, value in record.items() if value is TWICE)]
            _check_columns(where, keys, text_column, id_column, listed=True)
            yield record[id_column], record[text_column], where


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record: dict[str, Any] = {}
    for key, value in pairs:
        record[key] = TWICE if key in record else value
    return record


@contextmanager
def _opened(file: Path, *, newline: str) -> Iterator[IO[str]]:
    """Open a text file. Bytes that are not UTF-8 become surrogates and fail no other note."""
    opened = gzip.open if file.suffix.lower() == ".gz" else open
    try:
        with opened(
            file, "rt", encoding="utf-8-sig", errors="surrogateescape", newline=newline
        ) as text:
            yield text
    except (gzip.BadGzipFile, EOFError, zlib.error):
        raise AnnotateError(f"{file}: not a gzip file, or a damaged one.") from None


def _check_columns(
    where: object, columns: list[str], text_column: str, id_column: str, *, listed: bool
) -> None:
    """Check that both columns are there once.

    listed (bool): Whether the error may list the columns. In a CSV without a header they are a
        note.
    """
    for name, option in ((text_column, "--text-column"), (id_column, "--id-column")):
        if columns.count(name) > 1:
            raise AnnotateError(
                f"{where}: two columns are called '{name}'. Name another with {option}."
            )
        if name not in columns:
            others = (
                f". The columns are: {', '.join(columns) or 'none'}"
                if listed
                else f" among the {len(columns)} of the first line, which must be a header"
            )
            raise AnnotateError(f"{where}: no column '{name}'{others}. Name it with {option}.")


def import_pyarrow() -> Any:
    """Import pyarrow with its Parquet module. RAISES: AnnotateError, if it is not installed."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise AnnotateError(
            f"Parquet needs pyarrow: install it {how_to_install('annotate')}."
        ) from None
    return pyarrow
