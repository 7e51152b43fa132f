import csv
import json
import re
import sys
from io import BytesIO, StringIO
from pathlib import Path

import pyarrow.parquet
import pytest

from spacy_btl.corpora.report import ConversionReport
from spacy_btl.errors import AnnotateError
from spacy_btl.formats.brat import read_brat
from spacy_btl.formats.brat_types import label_of
from spacy_btl.notes.entities import Annotated, Entity, Failure
from spacy_btl.notes.notes import Note
from spacy_btl.outputs.formats import brat_config, format_of
from spacy_btl.outputs.stamp import Stamp

TEXT = "severe fever\nand cough"
PART = Annotated(
    [Note("a", TEXT, "line 1"), Note("sub/b", "no – finding", "line 2"), Note("c", "x", "line 3")],
    [
        Entity("a", 0, 6, "severe", "Severity", 0.75),
        Entity("a", 7, 22, "fever\nand cough", "Sign symptom", None),
    ],
    [Failure("c", "line 3", "ValueError")],
)
STAMP = Stamp("en_model", "1.2.3", "2026-01-02T03:04:05", False, True)


def render(output, part=PART, stamp=STAMP):
    return dict(format_of(Path(output)).render("000000", part, stamp, 0))


@pytest.mark.parametrize(
    ("output", "name"),
    [
        ("out.parquet", "parquet"),
        ("out.jsonl", "jsonl"),
        ("out/note_nlp.parquet", "note_nlp.parquet"),
        ("NOTE_NLP.csv", "note_nlp.csv"),
        ("brat", "brat"),
    ],
)
def test_the_ending_tells_the_format(output, name):
    assert format_of(Path(output)).name == name


@pytest.mark.parametrize("output", ["out.tsv", "out.xlsx", "out.json"])
def test_an_unknown_ending_is_refused_with_those_that_are_known(output):
    with pytest.raises(AnnotateError, match=r"note_nlp\.csv"):
        format_of(Path(output))


def test_csv_holds_the_rows_of_json_lines():
    table = list(csv.DictReader(StringIO(render("o.csv")["000000.csv"].decode(), newline="")))
    lines = render("o.jsonl")["000000.jsonl"].decode().splitlines()
    for row, line in zip(table, map(json.loads, lines), strict=True):
        assert row == {name: "" if value is None else str(value) for name, value in line.items()}


def test_rows_say_which_promise_covers_them():
    promises = {"Severity": "recall 0.9, risk 0.05, overlap"}
    kind = format_of(Path("o.jsonl"))
    ((_, data),) = kind.render("000000", PART, STAMP._replace(promises=promises), 0)
    rows = [json.loads(line) for line in data.decode().splitlines()]
    assert [row["promise"] for row in rows] == [promises["Severity"], None]


def test_parquet_and_json_lines_hold_the_same_rows():
    table = pyarrow.parquet.read_table(BytesIO(render("o.parquet")["000000.parquet"]))
    lines = render("o.jsonl")["000000.jsonl"].decode().splitlines()
    assert table.to_pylist() == [json.loads(line) for line in lines]
    assert table.to_pylist()[0] == {
        "note_id": "a",
        "start": 0,
        "end": 6,
        "text": "severe",
        "label": "Severity",
        "confidence": 0.75,
        "model": "en_model",
        "model_version": "1.2.3",
    }


def test_text_is_left_out_unless_it_is_asked_for():
    stamp = STAMP._replace(with_text=False)
    for files in (render("o.parquet", stamp=stamp), render("o.jsonl", stamp=stamp)):
        assert b"severe" not in b"".join(files.values())


def test_a_part_without_entities_has_the_same_columns():
    empty = render("o.parquet", PART._replace(entities=[]))["000000.parquet"]
    full = render("o.parquet")["000000.parquet"]
    schemas = [pyarrow.parquet.read_schema(BytesIO(data)) for data in (empty, full)]
    assert schemas[0] == schemas[1]


def test_note_ids_that_are_numbers_are_a_column_of_numbers():
    part = Annotated([], [Entity(7, 0, 6, "severe", "Severity", 0.5)], [])
    data = render("o.parquet", part, STAMP._replace(integer_ids=True))["000000.parquet"]
    assert str(pyarrow.parquet.read_schema(BytesIO(data)).field("note_id").type) == "int64"


def test_brat_files_are_read_again_as_they_were(tmp_path):
    for name, data in render("brat").items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    report = ConversionReport()
    note, _ = read_brat(tmp_path, report=report)
    assert note.text == TEXT
    # A span over a line's end has a piece on either line.
    assert [(mention.type, mention.fragments) for mention in note.mentions] == [
        ("Severity", ((0, 6),)),
        ("Sign symptom", ((7, 12), (13, 22))),
    ]
    assert not note.skipped
    assert (tmp_path / "sub/b.ann").read_bytes() == b""
    assert "#1\tAnnotatorNotes T1\tconfidence 0.7500\n" in (tmp_path / "a.ann").read_text()
    # A note that failed must not look like one without entities.
    assert not (tmp_path / "c.txt").exists()


def test_the_settings_of_brat_name_each_type_once_and_show_the_labels():
    labels = ["Signe/clé", "Signe:clé", "疾病", "药物", "B", " | <x>\t!", "\n"]
    files = dict(brat_config(labels))
    types = files["annotation.conf"].decode("ascii").split("\n\n")[0].splitlines()
    assert types[0] == "[entities]"
    assert len(set(types[1:])) == len(labels)
    assert {label_of(name) for name in types[1:]} == set(labels)
    # brat asks for this of a type, and takes a line of hyphens for a rule.
    assert all(re.fullmatch("[a-zA-Z0-9_-]+", name) and name.strip("-") for name in types[1:])
    shown = files["visual.conf"].decode("utf-8").split("\n\n")[0].splitlines()
    assert "Signe-u2F-cl-uE9- | Signe/clé" in shown
    assert "-u75BE_75C5- | 疾病" in shown
    assert not [line for line in shown if line.startswith("B")]
    # A tab, a bar, an angle bracket or an exclamation mark of a label would break the file.
    assert all(re.fullmatch(r"\S+ \| [^\t|<>!]*[^\t|<>! ]+", line) for line in shown[1:])
    assert "visual.conf" not in dict(brat_config(["Sign_symptom", "Follow-up"]))


@pytest.mark.parametrize("end", [*"\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029", "\r\n", "\n \n"])
def test_an_entity_over_any_line_end_is_a_line_of_brat_and_comes_back(end, tmp_path):
    text = f"no fever{end}and cough{end}now"
    note = Note("a", text, "line 1")
    entity = Entity("a", 3, len(text) - len(end) - 3, f"fever{end}and cough", "Sign", 0.5)
    for name, data in render("brat", Annotated([note], [entity], [])).items():
        (tmp_path / name).write_bytes(data)
    # brat reads lines as Python's splitlines has them, and wants the pieces of its own text.
    line, _ = (tmp_path / "a.ann").read_bytes().decode("utf-8").splitlines()
    _, place, found = line.split("\t")
    pieces = [tuple(map(int, piece.split())) for piece in place.removeprefix("Sign ").split(";")]
    assert found == " ".join(text[start:end] for start, end in pieces) == "fever and cough"
    (back,) = read_brat(tmp_path, report=ConversionReport())
    assert back.text == text
    assert [mention.enclosing_span for mention in back.mentions] == [(entity.start, entity.end)]


def test_an_entity_of_white_space_is_refused_where_it_stands():
    part = Annotated([Note("a", "x\n\ny", "line 7")], [Entity("a", 1, 3, "\n\n", "Sign", 0.5)], [])
    with pytest.raises(AnnotateError, match=r"line 7: .*white space"):
        render("brat", part)


@pytest.mark.parametrize(
    "name", ["../a", "/etc/a", "a//b", "./a", "a\0b", "x" * 201, "..\\a", "C:a"]
)
def test_an_id_that_is_no_file_name_is_refused(name):
    part = Annotated([Note(name, "x", "line 4")], [], [])
    with pytest.raises(AnnotateError, match="line 4: the id of this note cannot be a file name"):
        render("brat", part)


def test_parquet_without_its_library_is_refused_when_the_format_is_chosen(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    for name in ("entities.parquet", "note_nlp.parquet"):
        with pytest.raises(AnnotateError, match=r"Parquet needs pyarrow.*'\.\[annotate\]'"):
            format_of(Path(name))
