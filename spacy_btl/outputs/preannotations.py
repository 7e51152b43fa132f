"""Write entities as pre-annotations, which annotators correct in their tool."""

import json
from collections.abc import Collection, Iterable, Iterator
from typing import Any

from spacy_btl.inception.write import make_cas, type_system
from spacy_btl.notes.entities import Annotated
from spacy_btl.notes.notes import Note
from spacy_btl.outputs.stamp import NOTE_ID, Stamp, entities_by_note, file_name
from spacy_btl.preannotations.records import doccano_record, prediction, prodigy_task
from spacy_btl.preannotations.words import Words, sentences_of

Files = Iterator[tuple[str, bytes]]


def label_studio_tasks(name: str, part: Annotated, stamp: Stamp, first_row: int) -> Files:
    """Yield the tasks of a part, each with a prediction, with commas between them."""
    tasks = [
        {
            "data": {stamp.text_column: note.text, NOTE_ID: note.id},
            "predictions": [
                prediction(
                    entities,
                    from_name=stamp.from_name,
                    to_name=stamp.to_name,
                    model_version=stamp.system,
                    choices_name=stamp.choices_name,
                )
            ],
        }
        for note, entities in entities_by_note(part)
    ]
    lines = (json.dumps(task, ensure_ascii=False) for task in tasks)
    yield f"{name}.json", ",\n".join(lines).encode("utf-8")


def prodigy_lines(name: str, part: Annotated, stamp: Stamp, first_row: int) -> Files:
    """Yield the tasks of a part."""
    yield (
        f"{name}.jsonl",
        _lines(
            prodigy_task(note.id, str(note.text), _words(note), entities, stamp.system)
            for note, entities in entities_by_note(part)
        ),
    )


def doccano_lines(name: str, part: Annotated, stamp: Stamp, first_row: int) -> Files:
    """Yield the lines of a part."""
    yield (
        f"{name}.jsonl",
        _lines(
            doccano_record(note.id, str(note.text), entities)
            for note, entities in entities_by_note(part)
        ),
    )


def _lines(records: Iterable[dict[str, Any]]) -> bytes:
    """All is ASCII, since doccano guesses the encoding of a file."""
    return "".join(json.dumps(record) + "\n" for record in records).encode("ascii")


def xmi_files(name: str, part: Annotated, stamp: Stamp, first_row: int) -> Files:
    """Yield a file of XMI for each note, which needs the types of `xmi_types`."""
    for file, cas in _cases(part, stamp):
        yield f"{file}.xmi", cas.to_xmi().encode("utf-8")


def xmi_types(labels: Collection[str], stamp: Stamp) -> Files:
    """Yield the types of the files of XMI."""
    types = type_system(stamp.layer, asserts=stamp.assertion_features)
    yield "TypeSystem.xml", types.to_xml().encode("utf-8")


def json_cas_files(name: str, part: Annotated, stamp: Stamp, first_row: int) -> Files:
    """Yield a JSON CAS for each note, with the types that it uses."""
    from cassis.typesystem import TypeSystemMode

    for file, cas in _cases(part, stamp):
        data = cas.to_json(type_system_mode=TypeSystemMode.MINIMAL)
        yield f"{file}.json", data.encode("utf-8")


def _cases(part: Annotated, stamp: Stamp) -> Iterator[tuple[str, Any]]:
    """Yield the notes of a part as CAS, with their file names."""
    for note, entities in entities_by_note(part):
        words = _words(note)
        sentences = sentences_of(words, [(one.start, one.end) for one in entities]).tolist()
        cas = make_cas(
            str(note.text),
            words.tokens[words.words].tolist(),
            sentences,
            [(one.start, one.end, one.label, one.assertions) for one in entities],
            stamp.layer,
            asserts=stamp.assertion_features,
        )
        yield file_name(note), cas


def _words(note: Note) -> Words:
    assert note.words is not None  # the format asks for them
    return note.words
