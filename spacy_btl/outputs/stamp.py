"""What the output formats share: the values of a whole job, the notes of a part, file names."""

from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath, PureWindowsPath
from typing import NamedTuple

from spacy_btl.errors import AnnotateError
from spacy_btl.notes.entities import Annotated, Entity
from spacy_btl.notes.notes import Note
from spacy_btl.outputs.concepts import Concepts
from spacy_btl.outputs.fhir_settings import Fhir

NOTE_ID = "note_id"  # the key of the id in the data of a task of Label Studio
MAX_NAME = 200  # bytes of a file name: most file systems allow 255


class Stamp(NamedTuple):
    """The values and settings that all rows of a job share.

    model, version (str): The pipeline's name, with its language, and its version.
    date (str): When the job first started, as YYYY-MM-DDTHH:MM:SS in UTC.
    integer_ids (bool): Whether note ids are whole numbers.
    with_text (bool): Whether rows hold the text of the entity.
    text_column (str): The key of the text in the data of a task of Label Studio.
    from_name, to_name (str): The names of `Labels` and `Text` in Label Studio's configuration.
    choices_name (Optional[str]): The name of `Choices` there, for assertions; None leaves them out.
    layer (str): `LAYER:FEATURE`, the layer of INCEpTION and the feature that holds the type.
    assertion_features (bool): Whether the layer has features for assertions, too.
    asserts, sections, links (bool): Whether the pipeline writes assertions, marks headings, and
        links entities to a knowledge base.
    promises (Optional[Mapping[str, str]]): What it promises of types; None if it promises nothing.
    fhir (Optional[Fhir]): For FHIR alone.
    concepts, section_concepts (Optional[Concepts]): For OMOP alone: of mentions, and of headings.
    """

    model: str
    version: str
    date: str
    integer_ids: bool
    with_text: bool
    text_column: str = "text"
    from_name: str = "label"
    to_name: str = "text"
    layer: str = "NamedEntity:value"
    choices_name: str | None = None
    assertion_features: bool = False
    asserts: bool = False
    sections: bool = False
    links: bool = False
    promises: Mapping[str, str] | None = None
    fhir: Fhir | None = None
    concepts: Concepts | None = None
    section_concepts: Concepts | None = None

    @property
    def system(self) -> str:
        """The name and version of the pipeline."""
        return f"{self.model} {self.version}"


def entities_by_note(part: Annotated) -> Iterator[tuple[Note, list[Entity]]]:
    """Yield the notes of a part that did not fail, with their entities."""
    failed = {failure.note_id for failure in part.failures}
    entities: dict[str | int, list[Entity]] = {}
    for entity in part.entities:
        entities.setdefault(entity.note_id, []).append(entity)
    for note in part.notes:
        if note.text is not None and note.id not in failed:
            yield note, entities.get(note.id, [])


def file_name(note: Note) -> str:
    """The id of a note as the name of a file. RAISES: AnnotateError, if it cannot be one."""
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
