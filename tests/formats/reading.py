"""Read a source of any format, and show its mentions by their texts."""

import json
from pathlib import Path
from typing import Any

from spacy_btl.corpora.annotators import one_annotator
from spacy_btl.corpora.note import Note
from spacy_btl.corpora.report import ConversionReport
from spacy_btl.formats.registry import read_notes

# A text that each format has trouble with: beyond the BMP, CRLF, a tab, and its mentions overlap.
TEXT = "\U0001f912 No fever,\r\n\tmild dry cough."
FEVER, COUGH, DRY = (5, 10), (14, 28), (19, 22)
MENTIONS = [("fever", "Sign"), ("mild dry cough", "Sign"), ("dry", "Detail")]
SECRET = "Zyxwvut"  # stands for what must never be in a message


def utf16(offsets: tuple[int, int], text: str = TEXT) -> tuple[int, int]:
    start, end = (len(text[:offset].encode("utf-16-le")) // 2 for offset in offsets)
    return start, end


def read(
    src: Path, *, annotator: str | None = None, layers: tuple[str, ...] = (), skip: bool = False
) -> tuple[list[Note], ConversionReport]:
    report = ConversionReport(skip_invalid=skip)
    notes = one_annotator(read_notes(src, report, layers), annotator, report)
    for note in notes:
        report.count_mentions(note)
    assert report.notes_written == len(notes)  # none is lost without a reason
    return notes, report


def shown(note: Note) -> list[tuple[str, str]]:
    pieces = [
        (" ".join(note.text[start:end] for start, end in mention.fragments), mention.type)
        for mention in note.mentions
    ]
    return sorted(pieces, key=lambda one: MENTIONS.index(one) if one in MENTIONS else 99)


def write_json(path: Path, value: Any) -> Path:
    path.write_text(json.dumps(value, ensure_ascii=False), "utf-8", newline="")
    return path
