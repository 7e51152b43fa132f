"""Output formats: one row per entity, brat standoff, or the OMOP CDM table."""

import json
import re
from collections.abc import Collection, Iterator
from io import BytesIO
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, NamedTuple, Protocol

from spacy_btl.annotate.entities import Annotated, Entity
from spacy_btl.annotate.notes import Note
from spacy_btl.annotate.omop import note_nlp_csv, note_nlp_parquet
from spacy_btl.annotate.tables import import_pyarrow
from spacy_btl.errors import AnnotateError
from spacy_btl.formats.brat_types import brat_type

# Text without a line end of brat, which reads .ann files with Python's `splitlines`.
PIECE = re.compile(r"[^\n\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029]+")
LOOK_ALIKES = str.maketrans("|<>!", "¦«»¡")
MAX_NAME = 200  # bytes of a file name: most file systems allow 255


class Stamp(NamedTuple):
    """The values and settings that all rows of a job share.

    model, version (str): The pipeline's name, with its language, and its version.
    date (str): When the job first started, as YYYY-MM-DDTHH:MM:SS in UTC.
    integer_ids (bool): Whether note ids are whole numbers.
    with_text (bool): Whether rows hold the text of the entity.
    """

    model: str
    version: str
    date: str
    integer_ids: bool
    with_text: bool


class Render(Protocol):
    """What writes an output format."""

    def __call__(
        self, name: str, part: Annotated, stamp: Stamp, first_row: int
    ) -> Iterator[tuple[str, bytes]]:
        """Yield the files of a part as names and bytes.

        first_row (int): The number of entities in the parts before it.
        """
        ...


class Format(NamedTuple):
    """An output format.

    joined (bool): Whether the parts become one file. Otherwise they are the files of a folder.
    integer_ids (bool): Whether note ids must be whole numbers.
    """

    name: str
    render: Render
    joined: bool
    integer_ids: bool = False


def format_of(output: Path) -> Format:
    """Return the format that an output's suffix asks for.

    RAISES: AnnotateError, for an unknown suffix.
    """
    name = output.name.lower()
    for ending, kind in FORMATS.items():
        if name.endswith(ending):
            return kind
    if not output.suffix:
        return BRAT
    raise AnnotateError(
        f"{output}: unknown format. Use .parquet or .jsonl for rows of entities, note_nlp.parquet "
        "or note_nlp.csv for the OMOP table, or no suffix for a folder of brat files."
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


def _omop_parquet(
    name: str, part: Annotated, stamp: Stamp, first_row: int
) -> Iterator[tuple[str, bytes]]:
    system = f"{stamp.model} {stamp.version}"
    yield f"{name}.parquet", note_nlp_parquet(part.entities, system, stamp.date, first_row + 1)


def _omop_csv(
    name: str, part: Annotated, stamp: Stamp, first_row: int
) -> Iterator[tuple[str, bytes]]:
    system = f"{stamp.model} {stamp.version}"
    header = int(name) == 0
    rows = note_nlp_csv(part.entities, system, stamp.date, first_row + 1, header=header)
    yield f"{name}.csv", rows


def _brat(name: str, part: Annotated, stamp: Stamp, first_row: int) -> Iterator[tuple[str, bytes]]:
    failed = {failure.note_id for failure in part.failures}
    entities: dict[str | int, list[Entity]] = {}
    for entity in part.entities:
        entities.setdefault(entity.note_id, []).append(entity)
    for note in part.notes:
        if note.text is not None and note.id not in failed:
            file = _file_name(note)
            yield f"{file}.txt", note.text.encode("utf-8")
            lines = _ann_lines(note, entities.get(note.id, []))
            yield f"{file}.ann", "".join(lines).encode("utf-8")


def _file_name(note: Note) -> str:
    name = str(note.id)
    path = PurePosixPath(name)
    elsewhere = PureWindowsPath(name).parts != path.parts  # a backslash or a drive
    long = any(len(piece.encode("utf-8")) > MAX_NAME for piece in path.parts)
    if (
        long
        or elsewhere
        or path.is_absolute()
        or ".." in path.parts
        or str(path) != name
        or "\0" in name
    ):
        raise AnnotateError(
            f"{note.where}: the id of this note cannot be a file name. Write .jsonl or .parquet."
        )
    return name


def _ann_lines(note: Note, entities: list[Entity]) -> Iterator[str]:
    text = str(note.text)
    for number, entity in enumerate(entities, start=1):
        pieces = _pieces(text, entity.start, entity.end)
        if not pieces:
            raise AnnotateError(
                f"{note.where}: the pipeline predicts an entity of white space, which brat cannot "
                "represent. Write .jsonl or .parquet."
            )
        offsets = ";".join(f"{start} {end}" for start, end in pieces)
        covered = " ".join(text[start:end] for start, end in pieces)
        yield f"T{number}\t{brat_type(entity.label)} {offsets}\t{covered}\n"
        if entity.confidence is not None:
            yield f"#{number}\tAnnotatorNotes T{number}\tconfidence {entity.confidence:.4f}\n"


def _pieces(text: str, start: int, end: int) -> list[tuple[int, int]]:
    """Divide a span at line ends, which a span in brat cannot contain."""
    matches = PIECE.finditer(text, start, end)
    return [match.span() for match in matches if not match[0].isspace()]


def brat_config(labels: Collection[str]) -> Iterator[tuple[str, bytes]]:
    """Yield the annotation.conf that brat needs to know the types.

    If a label is escaped in brat, a visual.conf shows the original.
    """
    names = {label: brat_type(label) for label in sorted(labels)}
    types = "\n".join(names.values())
    conf = f"[entities]\n{types}\n\n[relations]\n\n[events]\n\n[attributes]\n"
    yield "annotation.conf", conf.encode("ascii")
    escaped = {name: _in_visual_conf(label) for label, name in names.items() if name != label}
    if escaped:
        lines = "\n".join(f"{name} | {label}" for name, label in escaped.items())
        # The defaults of brat, which a visual.conf replaces as a whole.
        drawing = (
            "SPAN_DEFAULT\tfgColor:black, bgColor:lightgreen, borderColor:darken\n"
            "ARC_DEFAULT\tcolor:black, arrowHead:triangle-5\n"
        )
        yield "visual.conf", f"[labels]\n{lines}\n\n[drawing]\n{drawing}".encode()


def _in_visual_conf(label: str) -> str:
    """Replace characters that have a meaning in brat's settings by look-alikes."""
    return " ".join(label.translate(LOOK_ALIKES).split()) or "_"


BRAT = Format("brat", _brat, joined=False)
FORMATS = {
    "note_nlp.parquet": Format("note_nlp.parquet", _omop_parquet, joined=False, integer_ids=True),
    "note_nlp.csv": Format("note_nlp.csv", _omop_csv, joined=True, integer_ids=True),
    ".parquet": Format("parquet", _parquet, joined=False),
    ".jsonl": Format("jsonl", _jsonl, joined=True),
}
