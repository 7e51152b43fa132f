"""The notes of the page as files to download, by the writers of `btl annotate`."""

import json
from collections.abc import Sequence
from io import BytesIO
from typing import NamedTuple
from zipfile import ZIP_DEFLATED, ZipFile

from spacy_btl.notes.entities import Annotated, Entity
from spacy_btl.notes.notes import Note
from spacy_btl.outputs.columns import columns_of
from spacy_btl.outputs.formats import BRAT, FORMATS, Format, rows
from spacy_btl.outputs.stamp import Stamp
from spacy_btl.pipelines import model_name
from spacy_btl.web.session import OpenPipeline


class Reviewed(NamedTuple):
    """A note, with its words, and its entities as they are shown."""

    note: Note
    entities: list[Entity]


class Download(NamedTuple):
    """A file. ending (str): Of its name."""

    ending: str
    mime: str
    data: bytes


JSON, ZIP = "application/json", "application/zip"
# By what the page calls them; JSON has the rows of `btl annotate --with-text`.
WRITERS: dict[str, tuple[str, Format | None]] = {
    "JSON": ("json", None),
    "brat": ("brat.zip", BRAT),
    "Label Studio": ("label_studio.json", FORMATS["label_studio.json"]),
    "Prodigy": ("prodigy.jsonl", FORMATS["prodigy.jsonl"]),
}


def download(name: str, pipeline: OpenPipeline, reviewed: Sequence[Reviewed]) -> Download:
    """Notes as a file.

    name (str): A key of `WRITERS`.
    RAISES: AnnotateError, for what the format cannot express.
    """
    stamp = Stamp(
        *model_name(pipeline.nlp),
        date="",
        integer_ids=False,
        with_text=True,
        **columns_of(pipeline.nlp),
    )
    entities = [entity for one in reviewed for entity in one.entities]
    part = Annotated([one.note for one in reviewed], entities, [])
    ending, kind = WRITERS[name]
    if kind is None:
        table = list(rows(part, stamp))
        data = json.dumps(table, ensure_ascii=False, indent=1) + "\n"
        return Download(ending, JSON, data.encode("utf-8"))
    files = [*kind.render("", part, stamp, 0)]
    if kind.joined is not None:
        content = b"".join(data for _, data in files)
        return Download(ending, JSON, kind.joined.before + content + kind.joined.behind)
    files += kind.once({entity.label for entity in entities}, stamp)
    return Download(ending, ZIP, _zipped(files))


def _zipped(files: Sequence[tuple[str, bytes]]) -> bytes:
    buffer = BytesIO()
    with ZipFile(buffer, "w", ZIP_DEFLATED) as archive:
        for name, data in files:
            archive.writestr(name, data)
    return buffer.getvalue()
