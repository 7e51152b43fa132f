"""Label Studio, as its own converter writes it, and MedCATtrainer."""

from pathlib import Path
from typing import Any

import pytest

from spacy_btl.corpora.report import OTHER_ANNOTATION
from spacy_btl.errors import CorpusError
from spacy_btl.formats.label_studio import CANCELLED, NO_ANNOTATION, NOT_PLAIN
from tests.formats.reading import (
    COUGH,
    DRY,
    FEVER,
    MENTIONS,
    SECRET,
    TEXT,
    read,
    shown,
    utf16,
    write_json,
)

CONFIG = """<View>
  <Labels name="label" toName="text"><Label value="Sign"/><Label value="Detail"/></Labels>
  <Text name="text" value="$note"/>
</View>"""


def region(place: tuple[int, int], *labels: str, text: str = TEXT) -> dict[str, Any]:
    start, end = utf16(place, text)
    value = {"start": start, "end": end, "text": text[slice(*place)], "labels": list(labels)}
    where = {"from_name": "label", "to_name": "text", "type": "labels", "origin": "manual"}
    return {"id": f"r{start}-{end}", "value": value, **where}


REGIONS = [region(FEVER, "Sign"), region(COUGH, "Sign"), region(DRY, "Detail")]
RELATION = {"from_id": "r1", "to_id": "r2", "type": "relation", "direction": "right"}
OF_REGION = {
    **REGIONS[0],
    "value": {**REGIONS[0]["value"], "choices": ["sure"]},
    "from_name": "sure",
    "type": "choices",
}
OF_TASK = {"value": {"choices": ["x"]}, "from_name": "kind", "to_name": "text", "type": "choices"}


def annotation(number: int, who: Any, *results: Any, **fields: Any) -> dict[str, Any]:
    when = f"2024-01-0{number}T00:00:00Z"
    same = {"was_cancelled": False, "ground_truth": False, "lead_time": 1.5}
    return {
        "id": number,
        "completed_by": who,
        "result": list(results),
        "created_at": when,
        "updated_at": when,
        **same,
        **fields,
    }


def task(number: int, *annotations: Any, text: str = TEXT, **fields: Any) -> dict[str, Any]:
    data = {"note": text, "source": "https://example.org/a-page-with-a-longer-name-than-the-text"}
    return {"id": number, "annotations": list(annotations), "data": data, **fields}


def test_tasks_of_the_json_export(tmp_path: Path) -> None:
    tasks = [
        task(1, annotation(1, 5, *REGIONS, RELATION, OF_REGION, OF_TASK)),
        task(2, annotation(2, {"id": 5, "email": "a@x.org"}), text="No pain, none."),
        task(3, annotation(3, 5, region(FEVER, "Sign"), was_cancelled=True)),
        task(4, predictions=[annotation(4, 5, *REGIONS)]),
    ]
    notes, report = read(write_json(tmp_path / "project.json", tasks))
    assert [(note.id, note.annotator) for note in notes] == [("task-1", "5"), ("task-2", "a@x.org")]
    assert (notes[0].text, shown(notes[0])) == (TEXT, MENTIONS)
    assert report.notes_skipped == {CANCELLED: 1, NO_ANNOTATION: 1}
    assert report.remarks == {
        OTHER_ANNOTATION: 3,
        "notes whose offsets count UTF-16 code units": 1,
    }
    assert report.format == "Label Studio JSON"


def test_annotators_of_a_task_and_its_ground_truth(tmp_path: Path) -> None:
    tasks = [
        task(1, annotation(2, 5, *REGIONS[:2]), annotation(1, 5), annotation(3, 6, *REGIONS[:1])),
        task(2, annotation(1, 5), annotation(4, 6, *REGIONS, ground_truth=True), text=f"{TEXT} b"),
    ]
    src = write_json(tmp_path / "project.json", tasks)
    notes, report = read(src)
    assert [(note.annotator, len(note.mentions)) for note in notes] == [("5", 2), ("6", 3)]
    assert report.agreement["Sign"].f1 == pytest.approx(2 / 3)
    assert report.notes_skipped == {
        "annotation of another annotator of the same document": 2,
        "earlier annotation by the same annotator": 1,
    }
    notes, _ = read(src, annotator="6")
    assert [len(note.mentions) for note in notes] == [1, 3]


def named(number: int, note_id: Any, **data: Any) -> dict[str, Any]:
    """A task whose data has more than the text, annotated by one person."""
    one = task(number, annotation(number, 5, *REGIONS), text=f"{TEXT} {number}")
    return {**one, "data": {**one["data"], "note_id": note_id, **data}}


def test_a_task_that_names_its_note_and_patient(tmp_path: Path) -> None:
    tasks = [named(1, "ward/n1", patient_id="p-1"), named(2, 17, patient_id=4), named(3, "n3")]
    src = write_json(tmp_path / "project.json", tasks)
    notes, _ = read(src)
    assert [(note.id, note.patient) for note in notes] == [
        ("ward/n1", "p-1"),
        ("17", "4"),
        ("n3", None),
    ]
    minimal = [
        {**one["data"], "id": one["id"], "annotator": 5, "annotation_id": 1} for one in tasks
    ]
    notes, _ = read(write_json(tmp_path / "min.json", minimal))
    assert [note.id for note in notes] == ["ward/n1", "17", "n3"]


@pytest.mark.parametrize("other", ["n1", None, ""])
def test_tasks_that_share_a_note_or_have_none_are_named_by_their_number(
    tmp_path: Path, other: Any
) -> None:
    src = write_json(tmp_path / "project.json", [named(1, "n1"), named(2, other)])
    notes, _ = read(src)
    assert [note.id for note in notes] == ["task-1", "task-2"]


def test_a_line_end_in_the_text_of_a_region(tmp_path: Path) -> None:
    """Label Studio writes it as a backslash and an n, and leaves out spaces in a row."""
    text = "No fever,\r\nno  cough."
    result = region((3, 19), "Sign", text=text)
    result["value"]["text"] = "fever,\\n\\nno cough"
    (note,), _ = read(
        write_json(tmp_path / "n.json", [task(1, annotation(1, 5, result), text=text)])
    )
    assert shown(note) == [("fever,\r\nno  cough", "Sign")]


def test_two_labels_of_a_region_are_two_mentions(tmp_path: Path) -> None:
    src = write_json(tmp_path / "n.json", [task(1, annotation(1, 5, region(FEVER, "A", "B")))])
    (note,), _ = read(src)
    assert shown(note) == [("fever", "A"), ("fever", "B")]


def with_value(**fields: Any) -> dict[str, Any]:
    return {**REGIONS[0], "value": {**REGIONS[0]["value"], **fields}}


BAD = [
    (with_value(labels=[]), "region without a label"),
    (with_value(start="6"), "region without integer start and end"),
    (with_value(globalOffsets={"start": 6, "end": 11}), NOT_PLAIN),
    (with_value(text=SECRET), "mention text differs from the text at its offsets"),
]


@pytest.mark.parametrize(("result", "reason"), BAD, ids=range(len(BAD)))
def test_a_bad_region_is_named(tmp_path: Path, result: Any, reason: str) -> None:
    tasks = [task(1, annotation(1, 5)), task(2, annotation(1, 5, REGIONS[1], result))]
    src = write_json(tmp_path / "project.json", tasks)
    with pytest.raises(CorpusError) as caught:
        read(src)
    assert f"{src}, item 2, region 2: {reason}" in str(caught.value)
    assert SECRET not in str(caught.value)


@pytest.fixture
def converter() -> Any:
    module = pytest.importorskip(
        "label_studio_sdk.converter", reason="needs label-studio-sdk, which no extra installs"
    )
    return module.Converter(CONFIG, project_dir=None)


def test_what_label_studio_s_converter_makes_of_its_json(tmp_path: Path, converter: Any) -> None:
    tasks = [
        task(1, annotation(1, 5, *REGIONS, RELATION)),
        task(2, annotation(1, 5), text="No pain."),
        task(3),
    ]
    src = write_json(tmp_path / "project.json", tasks)
    converter.convert_to_json_min(str(src), str(tmp_path / "min"), is_dir=False)
    notes, report = read(tmp_path / "min" / "result.json")
    assert [(note.id, shown(note)) for note in notes] == [("task-1", MENTIONS), ("task-2", [])]
    assert report.format == "Label Studio JSON_MIN"
    assert report.notes_skipped == {NO_ANNOTATION: 1}

    plain = TEXT.replace("\U0001f912", "Ill")  # its CoNLL counts characters
    flat = [region(place, "Sign", text=plain) for place in ((7, 12), (16, 30))]
    write_json(src, [task(1, annotation(1, 5, *flat), text=plain)])
    converter.convert_to_conll2003(str(src), str(tmp_path / "conll"), is_dir=False)
    (note,), report = read(tmp_path / "conll" / "result.conll")
    assert shown(note) == [("fever", "Sign"), ("mild dry cough", "Sign")]


MIN = {"note": TEXT, "id": 1, "annotator": 5, "annotation_id": 9, "lead_time": 1.0}


def test_json_min(tmp_path: Path) -> None:
    """As the converter writes it, for where that is not installed."""
    values = [one["value"] for one in REGIONS]
    none = {**MIN, "note": "No pain.", "id": 2}
    src = write_json(tmp_path / "min.json", [{**MIN, "label": values}, none])
    notes, _ = read(src)
    assert [(note.id, note.annotator, shown(note)) for note in notes] == [
        ("task-1", "5", MENTIONS),
        ("task-2", "5", []),
    ]


def concept(place: tuple[int, int], cui_: str, **fields: Any) -> dict[str, Any]:
    value = TEXT[slice(*place)]
    state = {"validated": True, "correct": True, "deleted": False, "alternative": False}
    offsets = {"id": place[0], "start": place[0], "end": place[1], "value": value}
    return {**offsets, "user": "ann", "cui": cui_, **state, "meta_anns": {"Time": {}}, **fields}


def medcat(*documents: Any) -> dict[str, Any]:
    return {"projects": [{"name": "p", "id": 1, "cuis": "", "documents": list(documents)}]}


def test_medcattrainer(tmp_path: Path) -> None:
    decided = {"validated": False, "correct": False}
    concepts = [
        concept(FEVER, "Sign"),
        concept(COUGH, "Sign", correct=False, alternative=True),
        concept(DRY, "Detail", manually_created=True),
        concept((2, 4), "Not", correct=False, deleted=True),
        concept((14, 18), "Later", **decided),
    ]
    documents = [
        {"id": 3, "name": "n1", "text": TEXT, "annotations": concepts},
        {"id": 4, "name": "n2", "text": f"{TEXT} b", "annotations": [concept(DRY, "X", **decided)]},
        {"id": 5, "name": "n3", "text": "", "annotations": []},
    ]
    notes, report = read(write_json(tmp_path / "trainer.json", medcat(*documents)))
    assert [(note.id, note.annotator) for note in notes] == [("n1", "ann"), ("n3", None)]
    assert shown(notes[0]) == MENTIONS
    assert notes[0].missing == ((14, 18),)
    assert report.mentions_rejected == {
        "answer of the span: reject": 1,
        "answer of the span: ignore": 1,
    }
    assert report.notes_skipped == {"document without a validated annotation": 1}
    assert (report.format, report.remarks) == ("MedCATtrainer", {OTHER_ANNOTATION: 5})


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"value": SECRET}, "mention text differs from the text at its offsets"),
        ({"cui": None}, "annotation without a concept"),
        ({"start": None}, "annotation without integer start and end"),
    ],
)
def test_a_bad_concept_is_named(tmp_path: Path, fields: Any, reason: str) -> None:
    one = {"name": SECRET, "text": TEXT, "annotations": [concept(FEVER, "A", **fields)]}
    src = write_json(tmp_path / "trainer.json", medcat(one))
    with pytest.raises(CorpusError) as caught:
        read(src)
    assert f"{src}, project 1, document 1, annotation 1: {reason}" in str(caught.value)
    assert SECRET not in str(caught.value)
