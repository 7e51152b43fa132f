"""Write brat standoff: NAME.txt and NAME.ann for each note."""

import re
from collections.abc import Collection, Iterator

from spacy_btl.context.assertions import KINDS
from spacy_btl.errors import AnnotateError
from spacy_btl.formats.brat_types import brat_type
from spacy_btl.notes.entities import Annotated, Entity
from spacy_btl.notes.notes import Note
from spacy_btl.outputs.stamp import Stamp, entities_by_note, file_name

# Text without a line end of brat, which reads .ann files with Python's `splitlines`.
PIECE = re.compile(r"[^\n\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029]+")
LOOK_ALIKES = str.maketrans("|<>!", "¦«»¡")


def brat_files(
    name: str, part: Annotated, stamp: Stamp, first_row: int
) -> Iterator[tuple[str, bytes]]:
    """Yield the files of a part. A note that failed has none."""
    for note, entities in entities_by_note(part):
        file = file_name(note)
        yield f"{file}.txt", str(note.text).encode("utf-8")
        yield f"{file}.ann", "".join(_ann_lines(note, entities)).encode("utf-8")


def _ann_lines(note: Note, entities: list[Entity]) -> Iterator[str]:
    text, attribute = str(note.text), 0
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
        for kind in entity.assertions.kinds if entity.assertions else ():
            attribute += 1
            yield f"A{attribute}\t{KINDS[kind]} T{number}\n"


def _pieces(text: str, start: int, end: int) -> list[tuple[int, int]]:
    """Divide a span at line ends, which a span in brat cannot contain."""
    matches = PIECE.finditer(text, start, end)
    return [match.span() for match in matches if not match[0].isspace()]


def brat_config(labels: Collection[str], *, asserts: bool = False) -> Iterator[tuple[str, bytes]]:
    """Yield the annotation.conf that brat needs to know the types, and the attributes if there are
    assertions.

    If a label is escaped in brat, a visual.conf shows the original.
    """
    names = {label: brat_type(label) for label in sorted(labels)}
    types = "\n".join(names.values())
    attributes = "".join(f"{name}\tArg:<ENTITY>\n" for name in KINDS.values() if asserts)
    conf = f"[entities]\n{types}\n\n[relations]\n\n[events]\n\n[attributes]\n{attributes}"
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
