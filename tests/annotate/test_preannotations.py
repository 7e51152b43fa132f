"""Pre-annotations, read again by our readers, and by the tools' own libraries."""

import json
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import spacy
from spacy.tokens import Doc

from spacy_btl.annotate.annotate import Options, annotate_file
from spacy_btl.context.assertions import Assertions
from spacy_btl.corpora.report import OTHER_ANNOTATION
from spacy_btl.errors import AnnotateError, BtlError, CorpusError
from spacy_btl.formats.convert import convert
from spacy_btl.inception.layers import NAMED_ENTITY
from spacy_btl.inception.write import layer_named
from spacy_btl.notes.entities import Annotated, Entity, annotate_notes
from spacy_btl.notes.notes import Note
from spacy_btl.outputs.formats import format_of
from spacy_btl.outputs.stamp import Stamp
from spacy_btl.preannotations.words import sentences_of, words_of
from tests.annotate.conftest import write_notes
from tests.formats.reading import COUGH, DRY, FEVER, MENTIONS, TEXT, read, shown, utf16

STAMP = Stamp("en_model", "1.2.3", "2026-01-02T03:04:05", False, False)
PLACES = [(*FEVER, "Sign", 0.75), (*COUGH, "Sign", 0.5), (*DRY, "Detail", None)]
EMPTY = ("ward/empty", "")


def part(text: str = TEXT, places: Any = PLACES) -> Annotated:
    """Two notes, one of them empty, with mentions that overlap."""
    notes = [Note("ward/n1", text, "line 1"), Note(*EMPTY, "line 2")]
    annotated = annotate_notes(spacy.blank("en"), notes, batch_size=2, with_words=True)
    entities = [
        Entity("ward/n1", start, end, text[start:end], label, confidence)
        for start, end, label, confidence in places
    ]
    return annotated._replace(entities=entities)


def render(output: str, annotated: Annotated, stamp: Stamp = STAMP) -> dict[str, bytes]:
    return dict(format_of(Path(output)).render("000000", annotated, stamp, 0))


def tasks(**stamp: str) -> list[dict[str, Any]]:
    (data,) = render("x.label_studio.json", part(), STAMP._replace(**stamp)).values()
    return list(json.loads(b"[" + data + b"]"))


def test_a_task_of_label_studio() -> None:
    task, empty = tasks(text_column="note", from_name="ner", to_name="doc")
    assert task["data"] == {"note": TEXT, "note_id": "ward/n1"}
    (prediction,) = task["predictions"]
    assert (prediction["model_version"], prediction["score"]) == ("en_model 1.2.3", 0.625)
    fever, _, dry = prediction["result"]
    assert fever == {
        "id": "T1",
        "from_name": "ner",
        "to_name": "doc",
        "type": "labels",
        "value": {"start": 5, "end": 10, "text": "fever", "labels": ["Sign"]},
        "score": 0.75,
    }
    assert "score" not in dry
    assert empty["predictions"] == [{"model_version": "en_model 1.2.3", "result": []}]


def corrected(task: dict[str, Any], number: int) -> dict[str, Any]:
    """A task as Label Studio exports it, with its prediction accepted as it is."""
    (prediction,) = task["predictions"]
    annotation = {"id": number, "completed_by": 5, "result": prediction["result"]}
    return {"id": number, "annotations": [annotation], **task}


def test_tasks_come_back_from_label_studio(tmp_path: Path) -> None:
    exported = [corrected(task, number) for number, task in enumerate(tasks(), start=1)]
    unfinished = {"id": 3, "annotations": [], **tasks()[0]}
    (tmp_path / "export.json").write_text(json.dumps([*exported, unfinished]), "utf-8")
    notes, report = read(tmp_path / "export.json")
    assert [(note.id, note.text) for note in notes] == [("ward/n1", TEXT), EMPTY]
    assert shown(notes[0]) == MENTIONS
    assert report.notes_skipped == {"task without an annotation": 1}
    assert not report.remarks  # characters are what Label Studio counts


SAID = [Assertions.of(("negated", "other")), Assertions(), Assertions()]


def asserted(said: Sequence[Assertions | None] = SAID) -> Annotated:
    """Fever is negated and another's, the others are judged, and nothing is said of them."""
    found = part()
    entities = [
        entity._replace(assertions=one) for entity, one in zip(found.entities, said, strict=True)
    ]
    return found._replace(entities=entities)


def asserted_tasks(choices_name: str | None) -> list[dict[str, Any]]:
    stamp = STAMP._replace(choices_name=choices_name)
    (data,) = render("x.label_studio.json", asserted(), stamp).values()
    return list(json.loads(b"[" + data + b"]"))


def test_assertions_come_back_from_label_studio(tmp_path: Path) -> None:
    tasks = asserted_tasks("assertion")
    *_, choices = tasks[0]["predictions"][0]["result"]
    assert choices == {
        "id": "T1",
        "from_name": "assertion",
        "to_name": "text",
        "type": "choices",
        "value": {"start": 5, "end": 10, "text": "fever", "choices": ["Negated", "Family"]},
    }
    rating = {**choices, "type": "rating", "value": {"start": 5, "end": 10, "rating": 3}}
    other = {**choices, "value": {**choices["value"], "choices": ["Negated", "urgent"]}}
    exported = [corrected(task, number) for number, task in enumerate(tasks, start=1)]
    exported[0]["annotations"][0]["result"] += [rating, other]
    (tmp_path / "export.json").write_text(json.dumps(exported), "utf-8")
    notes, report = read(tmp_path / "export.json")
    assert [mention.assertions for mention in notes[0].mentions] == [("negated", "other"), (), ()]
    assert report.assertions == {"negated": 1, "other": 1}
    assert report.remarks == {OTHER_ANNOTATION: 2}
    assert asserted_tasks(None)[0]["predictions"][0]["result"][-1]["type"] == "labels"


def test_choices_of_two_controls_are_of_the_region_whose_id_they_share(tmp_path: Path) -> None:
    exported = [corrected(task, 1) for task in asserted_tasks("assertion")[:1]]
    results = exported[0]["annotations"][0]["result"]
    value = results[-1]["value"]
    results[-1]["value"] = {**value, "choices": ["Negated"]}
    results.append({**results[-1], "value": {**value, "choices": ["Family"]}})
    # What has no id belongs to no region.
    results.append({**results[-1], "id": None, "value": {**value, "choices": ["Uncertain"]}})
    (tmp_path / "export.json").write_text(json.dumps(exported), "utf-8")
    (note,), report = read(tmp_path / "export.json")
    assert [mention.assertions for mention in note.mentions] == [("negated", "other"), (), ()]
    assert report.assertions == {"negated": 1, "other": 1}
    assert report.remarks == {OTHER_ANNOTATION: 1}


def test_tasks_that_nobody_corrected_are_no_corpus(tmp_path: Path) -> None:
    (tmp_path / "tasks.json").write_text(json.dumps(tasks()), "utf-8")
    with pytest.raises(CorpusError, match=r"to convert: task without an annotation \(2\)\."):
        convert(tmp_path / "tasks.json", tmp_path / "c.spacy")


def test_label_studio_takes_the_tasks() -> None:
    interface = pytest.importorskip(
        "label_studio_sdk.label_interface", reason="needs label-studio-sdk, which no extra installs"
    )
    config = """<View><Labels name="label" toName="text"><Label value="Sign"/>
    <Label value="Detail"/></Labels><Text name="text" value="$text"/>
    <Choices name="assertion" toName="text" perRegion="true" choice="multiple">
    <Choice value="Negated"/><Choice value="Family"/></Choices></View>"""
    for task in (*tasks(), *asserted_tasks("assertion")):
        (prediction,) = task["predictions"]
        errors = interface.LabelInterface(config).validate_prediction(prediction, True)
        assert errors == []


def test_prodigy(tmp_path: Path) -> None:
    (data,) = render("x.prodigy.jsonl", part()).values()
    first, empty = [json.loads(line) for line in data.splitlines()]
    assert first["meta"] == {"source": "en_model 1.2.3", "score": 0.625}
    assert "".join(t["text"] + " " * t["ws"] for t in first["tokens"]) == TEXT
    for token in first["tokens"]:
        assert TEXT[token["start"] : token["end"]] == token["text"]
    cough = first["spans"][1]
    assert (cough["token_start"], cough["token_end"], cough["score"]) == (5, 7, 0.5)
    assert (empty["tokens"], empty["spans"]) == ([], [])
    answered = [{**one, "answer": "accept", "_view_id": "spans_manual"} for one in (first, empty)]
    (tmp_path / "db.jsonl").write_text("".join(json.dumps(one) + "\n" for one in answered))
    notes, _ = read(tmp_path / "db.jsonl")
    assert [(note.id, note.text) for note in notes] == [("ward/n1", TEXT), EMPTY]
    assert shown(notes[0]) == MENTIONS


def test_doccano(tmp_path: Path) -> None:
    (data,) = render("x.doccano.jsonl", part()).values()
    assert data.isascii()  # doccano guesses the encoding
    first, _ = [json.loads(line) for line in data.splitlines()]
    labels = [[*FEVER, "Sign"], [*COUGH, "Sign"], [*DRY, "Detail"]]
    assert first == {"id": "ward/n1", "text": TEXT, "label": labels}
    (tmp_path / "all.jsonl").write_bytes(data)
    notes, _ = read(tmp_path / "all.jsonl")
    assert [(note.id, note.text) for note in notes] == [("ward/n1", TEXT), EMPTY]
    assert shown(notes[0]) == MENTIONS


@pytest.fixture
def cassis() -> Any:
    pytest.importorskip("cassis", reason="needs the extra: spacy-btl[inception]")
    return import_module("cassis")


def write_cas(folder: Path, form: str, annotated: Annotated, **settings: Any) -> Path:
    kind, stamp = format_of(Path(f"x.{form}")), STAMP._replace(**settings)
    for name, data in [*kind.render("0", annotated, stamp, 0), *kind.once([], stamp)]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


@pytest.mark.parametrize("form", ["xmi", "cas.json"])
@pytest.mark.parametrize("layer", [STAMP.layer, "custom.Span:label", "Finding:kind"])
def test_a_cas_is_read_again(tmp_path: Path, cassis: Any, form: str, layer: str) -> None:
    notes, report = read(write_cas(tmp_path, form, part(), layer=layer))
    assert sorted((note.id, note.text) for note in notes) == [EMPTY, ("ward/n1", TEXT)]
    assert [shown(note) for note in notes if note.mentions] == [MENTIONS]
    assert not report.remarks


@pytest.mark.parametrize("form", ["xmi", "cas.json"])
@pytest.mark.parametrize("layer", [STAMP.layer, "Finding:kind"])
def test_assertions_come_back_from_a_cas(
    tmp_path: Path, cassis: Any, form: str, layer: str
) -> None:
    written = write_cas(tmp_path, form, asserted(), layer=layer, assertion_features=True)
    notes, report = read(written)
    (note,) = [note for note in notes if note.mentions]
    assert shown(note) == MENTIONS
    assert [mention.assertions for mention in note.mentions] == [("negated", "other"), (), ()]
    assert report.assertions == {"negated": 1, "other": 1}
    assert not report.remarks


def test_what_dkpro_cassis_sees_of_assertions(tmp_path: Path, cassis: Any) -> None:
    annotated = asserted([SAID[0], SAID[1], None])
    folder = write_cas(tmp_path, "xmi", annotated, assertion_features=True)
    types = cassis.load_typesystem(folder / "TypeSystem.xml")
    assert types.get_type(NAMED_ENTITY).get_feature("Family").rangeType.name == "uima.cas.Boolean"
    data = (folder / "ward" / "n1.xmi").read_bytes()
    assert data.count(b'Negated="true"') == data.count(b'Negated="false"') == 1
    cas = cassis.load_cas_from_xmi(data.decode(), typesystem=types)
    found = {
        one.get_covered_text(): (one.Negated, one.Uncertain) for one in cas.select(NAMED_ENTITY)
    }
    assert found == {"fever": (True, False), "mild dry cough": (False, False), "dry": (None, None)}
    plain = write_cas(tmp_path / "plain", "xmi", annotated)
    assert b"Negated" not in (plain / "ward" / "n1.xmi").read_bytes()
    assert b"Negated" not in (plain / "TypeSystem.xml").read_bytes()


def test_what_dkpro_cassis_sees(tmp_path: Path, cassis: Any) -> None:
    folder = write_cas(tmp_path, "xmi", part(f"{TEXT} Well."))
    types = cassis.load_typesystem(folder / "TypeSystem.xml")
    data = (folder / "ward" / "n1.xmi").read_bytes()
    assert f'begin="{utf16(FEVER)[0]}"'.encode() in data
    cas = cassis.load_cas_from_xmi(data.decode(), typesystem=types)
    found = [(one.get_covered_text(), one.value) for one in cas.select(NAMED_ENTITY)]
    assert sorted(found) == sorted(MENTIONS)
    sentences = [one.get_covered_text() for one in cas.select("Sentence")]
    assert sentences == ["\U0001f912 No fever,", "mild dry cough.", "Well."]
    tokens = [one.get_covered_text() for one in cas.select("Token")]
    assert tokens == [*["🤒", "No", "fever", ",", "mild", "dry", "cough", ".", "Well", "."]]


def test_a_sentence_does_not_end_within_a_mention() -> None:
    doc = spacy.blank("en")("No fever since yesterday.\n\n- Pain in\n- left arm. \n")
    words = words_of(doc)
    assert sentences_of(words, []).tolist() == [[0, 25], [27, 36], [37, 48]]
    assert sentences_of(words, [(29, 43)]).tolist() == [[0, 25], [27, 48]]
    assert sentences_of(words, [(0, 48)]).tolist() == [[0, 48]]
    for empty in ("", " \n"):
        assert sentences_of(words_of(spacy.blank("en")(empty)), []).tolist() == []


def test_the_sentences_of_a_pipeline_are_kept() -> None:
    nlp = spacy.blank("en")
    doc = Doc(nlp.vocab, ["a", "b.", "c", "d"], sent_starts=[True, False, False, True])
    assert sentences_of(words_of(doc), []).tolist() == [[0, 6], [7, 8]]


def test_layers() -> None:
    assert layer_named("NamedEntity:value") == (NAMED_ENTITY, "value")
    assert layer_named("custom.Span:label") == ("custom.Span", "label")
    assert layer_named("Finding:kind") == ("webanno.custom.Finding", "kind")
    for wrong in ("Finding", "Finding:", "a b:c", ":x"):
        with pytest.raises(BtlError, match="give LAYER:FEATURE"):
            layer_named(wrong)


@pytest.fixture(scope="module")
def ruler(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A saved pipeline of rules."""
    nlp = spacy.blank("en")
    patterns = [{"label": "Sign", "pattern": word} for word in ("fever", "cough")]
    nlp.add_pipe("entity_ruler").add_patterns(patterns)
    path = tmp_path_factory.mktemp("ruler") / "model"
    nlp.to_disk(path)
    return str(path)


NOTES = [
    ("ward-a/n1", TEXT),
    ("ward-a/n2", "page one\x0cfever \u2028 \x85 cough"),
    ("n3", ""),
    ("n4", "fever"),
]
IDS = [note_id for note_id, _ in NOTES]


def annotate(ruler: str, folder: Path, name: str, **options: Any) -> Path:
    notes = folder / "notes.jsonl"
    if not notes.exists():
        write_notes(notes, NOTES)
    annotate_file(ruler, notes, folder / name, Options(part_size=1, **options))
    return folder / name


def failures(output: Path) -> dict[str, str]:
    lines = Path(f"{output}.errors.jsonl").read_text().splitlines()
    return {line["note_id"]: line["reason"] for line in map(json.loads, lines)}


def test_a_job_writes_one_array_of_tasks(tmp_path: Path, ruler: str) -> None:
    output = annotate(ruler, tmp_path, "a.label_studio.json", from_name="ner")
    written = json.loads(output.read_text("utf-8"))
    assert [task["data"]["note_id"] for task in written] == IDS
    assert [task["data"]["text"] for task in written] == [text for _, text in NOTES]
    fever, _ = written[1]["predictions"][0]["result"]
    assert (fever["from_name"], fever["value"]["start"]) == ("ner", 9)
    assert failures(output) == {}
    with pytest.raises(AnnotateError, match="another from name"):
        annotate(ruler, tmp_path, "a.label_studio.json")


def test_parts_without_a_task_leave_no_comma(tmp_path: Path, ruler: str) -> None:
    lines = [{"id": i, "text": text} for i, text in enumerate([None, "fever", None, "x", None])]
    (tmp_path / "notes.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    output = annotate(ruler, tmp_path, "label_studio.json")
    assert [task["data"]["note_id"] for task in json.loads(output.read_text())] == [1, 3]
    assert failures(output) == dict.fromkeys([0, 2, 4], "no text")


def test_what_a_format_cannot_hold_fails_and_is_listed(tmp_path: Path, ruler: str) -> None:
    xmi = annotate(ruler, tmp_path, "a.xmi")
    assert failures(xmi) == {"ward-a/n2": "U+000C cannot be in XMI: write cas.json"}
    files = {path.relative_to(xmi).as_posix() for path in xmi.rglob("*.*")}
    assert files == {"TypeSystem.xml", "ward-a/n1.xmi", "n3.xmi", "n4.xmi"}
    doccano = annotate(ruler, tmp_path, "a.doccano.jsonl")
    assert failures(doccano) == {"n3": "doccano refuses an empty text"}
    with pytest.raises(AnnotateError, match="doccano refuses an empty text"):
        annotate(ruler, tmp_path, "b.doccano.jsonl", strict=True)


@pytest.mark.parametrize("name", ["prodigy.jsonl", "cas.json"])
def test_all_texts_come_back(tmp_path: Path, ruler: str, name: str) -> None:
    notes, _ = read(annotate(ruler, tmp_path, name))
    assert {note.id: note.text for note in notes} == dict(NOTES)
    found = {note.id: [text for text, _ in shown(note)] for note in notes}
    assert found["ward-a/n2"] == ["fever", "cough"]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("a.prodigy.jsonl", {"from_name": "x"}, "--from-name is for label_studio.json, and not"),
        ("a.jsonl", {"layer": "a:b"}, r"--layer is for \.xmi and cas\.json, and not"),
        ("a.xmi", {"layer": "Finding"}, "give LAYER:FEATURE"),
        ("label_studio.json", {"text_column": "note_id"}, "Give the column of the texts another"),
        (
            "a.xmi",
            {"layer": "NamedEntity:begin"},
            "the feature begin of this layer does not hold text",
        ),
        ("a.jsonl", {"assertion_features": True}, "--assertion-features is for "),
        (
            "a.cas.json",
            {"layer": "Finding:Negated", "assertion_features": True},
            "the feature Negated of this layer does not hold true or false",
        ),
    ],
)
def test_a_setting_that_cannot_be_is_refused_before_any_note(
    tmp_path: Path, ruler: str, name: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(BtlError, match=message):
        annotate(ruler, tmp_path, name, **options)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.jsonl"]
