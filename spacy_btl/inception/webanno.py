"""Read WebAnno TSV 3: a token per line, with a column per feature of each layer."""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from spacy_btl.corpora.note import Note
from spacy_btl.corpora.report import OTHER_ANNOTATION, ConversionReport
from spacy_btl.corpora.source import Source
from spacy_btl.errors import CorpusError
from spacy_btl.inception.layers import (
    Annotation,
    Layered,
    document_note,
    is_annotated,
    is_structure,
    notes_of_layers,
)

FORMAT = "#FORMAT=WebAnno TSV 3"
SPANS, TEXT = "#T_SP", "#Text="
LAYERS = ("#T_SP=", "#T_RL=", "#T_CH=")  # of spans, relations and chains
UNIT = re.compile(r"(\d+)-(\d+)(?:\.\d+)?\t(\d{1,9})-(\d{1,9})\t")
ESCAPED = re.compile(r"\\(->|.)", re.DOTALL)
CONTROLS = {"n": "\n", "r": "\r", "t": "\t", "f": "\f", "b": "\b"}
STACKED = re.compile(r"(?<!\\)((?:\\\\)*)\|")
NUMBERED = re.compile(r"(.*?)\[(\d+)\]", re.DOTALL)
NONE, NO_VALUE = "_", "*"


class Column(NamedTuple):
    """A column behind the token: its layer and feature. `read` is False for other than spans."""

    layer: str
    feature: str
    read: bool


class Unit(NamedTuple):
    """A token, or a part of one, with its offsets in UTF-16 units and its cells."""

    start: int
    end: int
    text: str
    cells: Sequence[str]
    where: str


def is_webanno(source: Source) -> bool:
    """Whether it says so in its first line."""
    return source.head.startswith(FORMAT)


def read_webanno(
    sources: Sequence[Source], report: ConversionReport, layers: Sequence[str] = ()
) -> Iterator[Note]:
    """Read the documents, one per file.

    The format does not keep what stands between sentences: the text has line ends there, and
    spaces where more than one character is missing.

    layers (Sequence[str]): As for `notes_of_layers`.
    RAISES: CorpusError, for a broken line, and see `notes_of_layers`.
    """
    documents = [_document(source, report) for source in sources if is_annotated(source, report)]
    return notes_of_layers(documents, layers, report)


def _document(source: Source, report: ConversionReport) -> Layered:
    columns = list[Column]()
    text = b""  # UTF-16, as the offsets count
    lines, units, all_units = list[str](), list[Unit](), list[Unit]()
    for line, where in [*source.lines(), ("", "")]:
        match = UNIT.match(line)
        # A sentence ends with an empty line, or where the next one begins.
        if units and (line.startswith(TEXT) or not line.strip()):
            text = _with_sentence(text, lines, units)
            all_units += units
            lines, units = [], []
        if line.startswith(TEXT):
            lines.append(line.removeprefix(TEXT))
        elif line.startswith(LAYERS):
            columns += _columns(line)
        elif match:
            form, *cells = line[match.end() :].rstrip("\t").split("\t")
            units.append(Unit(int(match[3]), int(match[4]), form, cells, where))
        elif line.strip() and not line.startswith("#"):
            raise CorpusError(f"{where}: looks like WebAnno TSV 3, but is no token.")
    return _layered(source, text, _annotations(all_units, columns, report))


def _columns(line: str) -> Iterator[Column]:
    kind, _, header = line.partition("=")
    layer, *features = header.split("|")
    for i, feature in enumerate(features):
        slot = feature.startswith("ROLE_") or (i > 0 and features[i - 1].startswith("ROLE_"))
        yield Column(layer, "" if slot else feature, kind == SPANS and not is_structure(layer))


def _with_sentence(text: bytes, lines: Sequence[str], units: Sequence[Unit]) -> bytes:
    """The text with a sentence behind it, at the place that the offsets of its tokens give."""
    joined = "\n".join(lines)
    for sentence in (ESCAPED.sub(_unescape, joined), joined):  # older versions do not escape
        data = sentence.encode("utf-16-le", "surrogatepass")
        first = units[0]
        begin = first.start - _find(sentence, first.text)
        at = [data[2 * (unit.start - begin) : 2 * (unit.end - begin)] for unit in units]
        agrees = [
            one.decode("utf-16-le", "replace") == u.text for one, u in zip(at, units, strict=True)
        ]
        missing = begin - len(text) // 2
        if all(agrees) and missing >= 0:
            between = " " * (missing - 1) + "\n" if text and missing else " " * missing
            return text + between.encode("utf-16-le") + data
    wrong = units[agrees.index(False) if missing >= 0 else 0].where
    raise CorpusError(
        f"{wrong}: looks like WebAnno TSV 3, but the token is not at its offsets in the text."
    )


def _find(sentence: str, form: str) -> int:
    """Where a sentence has its first token, in UTF-16 units."""
    return len(sentence[: max(sentence.find(form), 0)].encode("utf-16-le", "surrogatepass")) // 2


def _unescape(match: re.Match[str]) -> str:
    return CONTROLS.get(match[1], match[1])


class _Found(NamedTuple):
    """An annotation: its first and last token so far, and its features."""

    first: Unit
    last: Unit
    features: dict[str, str | None]


def _annotations(
    units: Sequence[Unit], columns: Sequence[Column], report: ConversionReport
) -> list[Annotation]:
    """The annotations of a document. Those of several tokens have a number in brackets."""
    found: dict[tuple[str, str], _Found] = {}
    for unit in units:
        if len(unit.cells) != len(columns):
            raise CorpusError(
                f"{unit.where}: looks like WebAnno TSV 3, but the line has {len(unit.cells)} "
                f"columns for {len(columns)} features."
            )
        for column, cell in zip(columns, unit.cells, strict=True):
            if cell != NONE and column.read:
                _add_values(found, unit, column, cell)
            elif cell != NONE and not is_structure(column.layer):
                report.remarks[OTHER_ANNOTATION] += 1
    return [
        Annotation(one.first.where, layer, one.first.start, one.last.end, one.features)
        for (layer, _), one in found.items()
    ]


def _add_values(
    found: dict[tuple[str, str], _Found], unit: Unit, column: Column, cell: str
) -> None:
    """Add the values of a cell, divided by bars that are not escaped."""
    for place, value in enumerate(STACKED.sub("\\1\x00", cell).split("\x00")):
        match = NUMBERED.fullmatch(value)
        label = match[1] if match else value
        key = (column.layer, match[2] if match else f"{unit.where}, {place}")
        features = found[key].features if key in found else {}
        if column.feature:
            empty = label in (NO_VALUE, "")
            features[column.feature] = None if empty else ESCAPED.sub(_unescape, label)
        first = found[key].first if key in found else unit
        found[key] = _Found(first, unit, features)


def _layered(source: Source, data: bytes, annotations: Sequence[Annotation]) -> Layered:
    """The document in characters. A token does not begin or end within a character."""
    text = data.decode("utf-16-le")

    def characters(offset: int) -> int:
        return len(data[: 2 * offset].decode("utf-16-le", "replace"))

    converted = [
        one._replace(start=characters(one.start), end=characters(one.end)) for one in annotations
    ]
    return Layered(document_note(source, text), source.where, converted)
