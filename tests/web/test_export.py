"""Downloads are what `btl annotate` writes, of all notes that were opened."""

import json
from io import BytesIO
from zipfile import ZipFile

import pytest
import spacy

from spacy_btl.notes.entities import Entity
from spacy_btl.web.export import Reviewed, download
from spacy_btl.web.session import decided, opened, read_note
from tests.conftest import SENTENCES


@pytest.fixture
def reviewed(pipeline) -> list[Reviewed]:
    notes = [read_note(pipeline, text, f"ward/{i}") for i, (text, _) in enumerate(SENTENCES[:2])]
    found = [Reviewed(note.note, decided(pipeline, note)) for note in notes]
    # a reader's own, which has no confidence and no word to itself
    found[1].entities.append(Entity("ward/1", 0, 2, "cr", "Test", None))
    return found


def test_json_has_the_rows_of_all_notes(pipeline, reviewed):
    rows = json.loads(download("JSON", pipeline, reviewed).data)
    expected = [one for _, entities in reviewed for one in entities]
    keys = ("note_id", "start", "end", "text", "label", "confidence")
    assert [tuple(row[key] for key in keys) for row in rows] == [one[:6] for one in expected]


def test_brat_is_an_archive_of_texts_and_annotations(pipeline, reviewed):
    with ZipFile(BytesIO(download("brat", pipeline, reviewed).data)) as archive:
        files = {name: archive.read(name).decode() for name in archive.namelist()}
    assert {*files} == {f"ward/{i}.{end}" for i in (0, 1) for end in ("txt", "ann")} | {
        "annotation.conf"
    }
    assert files["ward/0.txt"] == SENTENCES[0][0]
    first = reviewed[0].entities[0]
    place = f"{first.label} {first.start} {first.end}"
    assert files["ward/0.ann"].startswith(f"T1\t{place}\t{first.text}\n#1\tAnnotatorNotes T1\tconf")
    assert "Test 0 2\tcr\n" in files["ward/1.ann"]


def test_label_studio_and_prodigy_have_a_task_for_each_note(pipeline, reviewed):
    tasks = json.loads(download("Label Studio", pipeline, reviewed).data)
    assert [task["data"]["text"] for task in tasks] == [text for text, _ in SENTENCES[:2]]
    assert [len(task["predictions"][0]["result"]) for task in tasks] == [
        len(entities) for _, entities in reviewed
    ]
    lines = download("Prodigy", pipeline, reviewed).data.splitlines()
    tasks = [json.loads(line) for line in lines]
    assert [task["id"] for task in tasks] == ["ward/0", "ward/1"]
    for task, (_, entities) in zip(tasks, reviewed, strict=True):
        places = [(span["start"], span["end"], span["label"]) for span in task["spans"]]
        assert places == [(one.start, one.end, one.label) for one in entities]


def test_what_a_note_says_of_them_goes_along(asserted_path):
    pipeline = opened(spacy.load(asserted_path))
    note = read_note(pipeline, "pain in the left arm , no fever")
    reviewed = [Reviewed(note.note, decided(pipeline, note))]
    rows = json.loads(download("JSON", pipeline, reviewed).data)
    assert {row["text"]: row["negated"] for row in rows}["fever"]
    with ZipFile(BytesIO(download("brat", pipeline, reviewed).data)) as archive:
        assert b"\tNegated T" in archive.read("note.ann")
