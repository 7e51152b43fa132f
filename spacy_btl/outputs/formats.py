"""Output formats: one row per entity, brat standoff, the OMOP CDM table, and pre-annotations."""

import csv
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from io import BytesIO, StringIO
from pathlib import Path
from typing import IO, Any, NamedTuple, Protocol

from spacy_btl.context.assertions import Assertions
from spacy_btl.errors import AnnotateError
from spacy_btl.inception.write import xmi_problem
from spacy_btl.notes.entities import Annotated, Entity
from spacy_btl.notes.tables import import_pyarrow
from spacy_btl.outputs.brat import brat_config, brat_files
from spacy_btl.outputs.fhir import fhir_entries, fhir_lines, not_in_fhir
from spacy_btl.outputs.omop import NOTE_NLP, note_nlp_parquet, note_nlp_rows
from spacy_btl.outputs.preannotations import (
    doccano_lines,
    json_cas_files,
    label_studio_tasks,
    prodigy_lines,
    xmi_files,
    xmi_types,
)
from spacy_btl.outputs.stamp import Stamp
from spacy_btl.preannotations.records import doccano_problem

# The Arrow types of the columns of assertions.
ASSERTION_TYPES = {
    name: "bool" if isinstance(value, bool) else "string"
    for name, value in Assertions._field_defaults.items()
}


class Render(Protocol):
    """What writes an output format."""

    def __call__(
        self, name: str, part: Annotated, stamp: Stamp, first_row: int
    ) -> Iterator[tuple[str, bytes]]:
        """Yield the files of a part as names and bytes.

        first_row (int): The number of entities in the parts before it.
        """
        ...


class Frame(NamedTuple):
    """What stands before, between and behind the parts of a joined file."""

    before: bytes = b""
    between: bytes = b""
    behind: bytes = b""


class Format(NamedTuple):
    """An output format.

    joined (Optional[Frame]): How the parts become one file. None: they are the files of a folder.
    integer_ids (bool): Whether note ids must be whole numbers.
    with_words (bool): Whether it needs the tokens of the notes.
    settings (Tuple[str, ...]): The settings of a `Stamp` that it uses, of those that not all use.
    problem (Callable[[str], str]): Returns why it cannot hold a text; empty if it can.
    once (Callable[[Collection[str], Stamp], Iterable[Tuple[str, bytes]]]): Returns the files of the
        folder that depend on no note, for the types that the notes have.
    left_out (Callable[[Entity, Stamp], str]): Returns why it leaves an entity out; empty if not.
    merge (Optional[Callable[[Sequence[Path], IO[bytes]], None]]): Writes the parts as one file,
        where they are the files of a folder otherwise.
    """

    name: str
    render: Render
    joined: Frame | None = None
    integer_ids: bool = False
    with_words: bool = False
    settings: tuple[str, ...] = ()
    problem: Callable[[str], str] = lambda text: ""
    once: Callable[[Collection[str], Stamp], Iterable[tuple[str, bytes]]] = lambda types, stamp: ()
    left_out: Callable[[Entity, Stamp], str] = lambda entity, stamp: ""
    merge: Callable[[Sequence[Path], IO[bytes]], None] | None = None


def format_of(output: Path) -> Format:
    """Return the format that an output's suffix asks for.

    RAISES: AnnotateError, for an unknown suffix, or for Parquet without pyarrow.
    """
    name = output.name.lower()
    for ending, kind in FORMATS.items():
        if name.endswith(ending):
            if ending.endswith(".parquet"):
                import_pyarrow()
            return kind
    if not output.suffix:
        return BRAT
    raise AnnotateError(
        f"{output}: unknown format. Use .parquet, .jsonl or .csv for rows of entities, "
        "note_nlp.parquet or note_nlp.csv for the OMOP table, fhir.json or .fhir for FHIR "
        "resources, no suffix for a folder of brat files, or "
        f"{', '.join(PREANNOTATIONS)} for pre-annotations."
    )


def rows(part: Annotated, stamp: Stamp) -> Iterator[dict[str, Any]]:
    """Yield a row for each entity of a part, with the columns of `row_fields`."""
    for entity in part.entities:
        row: dict[str, Any] = {
            "note_id": entity.note_id,
            "start": entity.start,
            "end": entity.end,
            "text": entity.text,
            "label": entity.label,
            "confidence": entity.confidence,
            "model": stamp.model,
            "model_version": stamp.version,
        }
        if stamp.asserts:
            said = entity.assertions
            row |= {name: said and getattr(said, name) for name in Assertions._fields}
        if stamp.sections:
            row["section"] = entity.section
        if stamp.links:
            row["kb_id"] = entity.kb_id
        if stamp.promises:
            row["promise"] = stamp.promises.get(entity.label)
        if not stamp.with_text:
            del row["text"]
        yield row


def row_fields(stamp: Stamp) -> list[tuple[str, str]]:
    """The names and Arrow types of the columns of a row."""
    note_id = "int64" if stamp.integer_ids else "string"
    text = [("text", "string")] if stamp.with_text else []
    return [
        ("note_id", note_id),
        ("start", "int64"),
        ("end", "int64"),
        *text,
        ("label", "string"),
        ("confidence", "float64"),
        ("model", "string"),
        ("model_version", "string"),
        *([(name, ASSERTION_TYPES[name]) for name in Assertions._fields] if stamp.asserts else []),
        *([("section", "string")] if stamp.sections else []),
        *([("kb_id", "string")] if stamp.links else []),
        *([("promise", "string")] if stamp.promises else []),
    ]


def _parquet(
    name: str, part: Annotated, stamp: Stamp, first_row: int
) -> Iterator[tuple[str, bytes]]:
    pyarrow = import_pyarrow()
    types = {field: pyarrow.type_for_alias(kind) for field, kind in row_fields(stamp)}
    table = pyarrow.Table.from_pylist(list(rows(part, stamp)), schema=pyarrow.schema(types))
    sink = BytesIO()
    pyarrow.parquet.write_table(table, sink)
    yield f"{name}.parquet", sink.getvalue()


def _jsonl(name: str, part: Annotated, stamp: Stamp, first_row: int) -> Iterator[tuple[str, bytes]]:
    lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows(part, stamp))
    yield f"{name}.jsonl", "".join(lines).encode("utf-8")


def _csv(name: str, part: Annotated, stamp: Stamp, first_row: int) -> Iterator[tuple[str, bytes]]:
    columns = [column for column, _ in row_fields(stamp)]
    yield f"{name}.csv", csv_lines(columns, rows(part, stamp), header=not int(name))


def csv_lines(columns: Sequence[str], rows: Iterable[dict[str, Any]], *, header: bool) -> bytes:
    """Return rows as CSV; unknown values are empty."""
    sink = StringIO(newline="")
    writer = csv.DictWriter(sink, columns, lineterminator="\n")
    if header:
        writer.writeheader()
    writer.writerows(rows)
    return sink.getvalue().encode("utf-8")


def merge_parquet(parts: Sequence[Path], sink: IO[bytes]) -> None:
    """Write the parts, which have one schema, as one Parquet file with a row group of each."""
    pyarrow = import_pyarrow()
    with pyarrow.parquet.ParquetWriter(sink, pyarrow.parquet.read_schema(parts[0])) as writer:
        for part in parts:
            writer.write_table(pyarrow.parquet.read_table(part))


def _omop_parquet(
    name: str, part: Annotated, stamp: Stamp, first_row: int
) -> Iterator[tuple[str, bytes]]:
    yield f"{name}.parquet", note_nlp_parquet(note_nlp_rows(part.entities, stamp, first_row + 1))


def _omop_csv(
    name: str, part: Annotated, stamp: Stamp, first_row: int
) -> Iterator[tuple[str, bytes]]:
    rows = note_nlp_rows(part.entities, stamp, first_row + 1)
    yield f"{name}.csv", csv_lines([field.name for field in NOTE_NLP], rows, header=not int(name))


LINES = Frame()
BRAT = Format(
    "brat", brat_files, once=lambda types, stamp: brat_config(types, asserts=stamp.asserts)
)
BUNDLE = Frame(b'{"resourceType": "Bundle", "type": "collection", "entry": [\n', b",\n", b"\n]}\n")
FHIR = Format(
    "fhir.json", fhir_entries, BUNDLE, settings=("fhir", "patients"), left_out=not_in_fhir
)
# In the order in which they are tried.
FORMATS = {
    "note_nlp.parquet": Format(
        "note_nlp.parquet",
        _omop_parquet,
        integer_ids=True,
        settings=("concepts", "section_concepts", "one_file"),
        merge=merge_parquet,
    ),
    "note_nlp.csv": Format(
        "note_nlp.csv",
        _omop_csv,
        LINES,
        integer_ids=True,
        settings=("concepts", "section_concepts"),
    ),
    "label_studio.json": Format(
        "label_studio.json",
        label_studio_tasks,
        Frame(b"[\n", b",\n", b"\n]\n"),
        settings=("text_column", "from_name", "to_name", "choices_name"),
    ),
    "prodigy.jsonl": Format("prodigy.jsonl", prodigy_lines, LINES, with_words=True),
    "doccano.jsonl": Format("doccano.jsonl", doccano_lines, LINES, problem=doccano_problem),
    ".xmi": Format(
        "xmi",
        xmi_files,
        with_words=True,
        settings=("layer", "assertion_features"),
        problem=xmi_problem,
        once=xmi_types,
    ),
    "cas.json": Format(
        "cas.json", json_cas_files, with_words=True, settings=("layer", "assertion_features")
    ),
    "fhir.json": FHIR,
    ".fhir": FHIR._replace(name="fhir", render=fhir_lines, joined=None),
    ".parquet": Format("parquet", _parquet, settings=("one_file",), merge=merge_parquet),
    ".csv": Format("csv", _csv, LINES),
    ".jsonl": Format("jsonl", _jsonl, LINES),
}
PREANNOTATIONS = ("label_studio.json", "prodigy.jsonl", "doccano.jsonl", ".xmi", "cas.json")
