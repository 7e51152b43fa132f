import json
import os

import pyarrow
import pyarrow.parquet
import pytest

from spacy_btl.annotate.notes import read_notes, survey
from spacy_btl.errors import AnnotateError
from tests.annotate.conftest import write_notes

NOTES = [
    ("a", 'fever, cough\nand "pain" – 38 °C'),
    ("b", ""),
    ("sub/c", "two\r\nlines, 😀"),
]


def fails(path, match, **columns):
    with pytest.raises(AnnotateError, match=match) as error:
        list(read_notes(path, **columns))
    return str(error.value)


@pytest.mark.parametrize("name", ["n.parquet", "n.csv", "n.jsonl", "folder"])
def test_every_form_gives_the_same_notes(name, tmp_path):
    path = write_notes(tmp_path / name, NOTES)
    assert [(note.id, note.text) for note in read_notes(path)] == NOTES
    other = survey(read_notes(write_notes(tmp_path / "other.jsonl", NOTES)))
    assert survey(read_notes(path)) == other


def test_a_folder_of_parquet_parts_is_read_in_the_order_of_names(tmp_path):
    folder = tmp_path / "notes.parquet"
    folder.mkdir()
    for number in (2, 0, 1):
        write_notes(folder / f"part-{number}.parquet", [(number, f"note {number}")])
    (folder / "_SUCCESS").touch()
    assert [note.id for note in read_notes(folder)] == [0, 1, 2]


def test_numbers_stay_numbers(tmp_path):
    for name in ("n.parquet", "n.jsonl"):
        notes = list(read_notes(write_notes(tmp_path / name, [(1, "x"), (2, "y")])))
        assert [note.id for note in notes] == [1, 2]
    notes = list(read_notes(write_notes(tmp_path / "n.csv", [(1, "x"), (2, "y")])))
    assert [note.id for note in notes] == ["1", "2"]
    notes = list(read_notes(tmp_path / "n.csv", integer_ids=True))
    assert [note.id for note in notes] == [1, 2]


def test_columns_can_have_other_names(tmp_path):
    path = tmp_path / "n.csv"
    path.write_text("x,note_id,note_text\n1,2,fever\n", encoding="utf-8")
    (note,) = read_notes(path, text_column="note_text", id_column="note_id")
    assert (note.id, note.text) == ("2", "fever")


def test_a_missing_column_is_named_with_those_that_there_are(tmp_path):
    for name in ("n.parquet", "n.jsonl"):
        path = write_notes(tmp_path / name, [("a", "x")])
        message = fails(path, "no column 'body', but id, text.*--text-column", text_column="body")
        assert name in message


def test_a_note_without_a_readable_text_is_kept_with_the_reason(tmp_path):
    path = tmp_path / "n.jsonl"
    path.write_bytes(
        b'{"id": 1, "text": null}\n{"id": 2, "text": 7}\n{"id": 3, "text": "\\ud800"}\n'
        b'{"id": 4, "text": "caf\xe9"}\n{"id": 5, "text": "fever"}\n'
    )
    found = [(note.text, note.missing) for note in read_notes(path)]
    assert found == [
        (None, "no text"),
        (None, "the text is a whole number"),
        (None, "the text is not UTF-8"),
        (None, "the text is not UTF-8"),
        ("fever", ""),
    ]


def test_latin_1_in_a_csv_costs_its_own_note_only(tmp_path):
    path = tmp_path / "n.csv"
    path.write_bytes("id,text\n1,café\n2,fever\n".encode("latin-1"))
    assert [note.text for note in read_notes(path)] == [None, "fever"]


@pytest.mark.parametrize(
    ("name", "content", "match"),
    [
        (
            "n.jsonl",
            '{"id": 1, "text": "secret"}\n{"id": 2, "text": "secret',
            "line 2: broken JSON",
        ),
        ("n.jsonl", '[1, "secret"]', "line 1: not a JSON object"),
        ("n.jsonl", '{"id": null, "text": "secret"}', "line 1: 'id' is missing"),
        ("n.jsonl", '{"id": 1.5, "text": "secret"}', "line 1: 'id' is a float"),
        ("n.jsonl", '{"id": true, "text": "secret"}', "line 1: 'id' is a bool"),
        ("n.jsonl", '{"id": "", "text": "secret"}', "line 1: 'id' is empty"),
        ("n.jsonl", '{"id": 1, "text": "x"}\n{"id": "a", "text": "secret"}', "line 2: .*unlike"),
        ("n.csv", "id,text\n1,secret, secret\n", "line 2: 3 fields, and the header has 2"),
        ("n.csv", 'id,text\n1,"secret\n2,secret\n', "broken CSV"),
        ("n.csv", "", "no column 'text'"),
        ("n.csv", "1,secret\n2,secret\n", "no column 'text' among the 2 of the first line"),
        ("n.parquet", "secret", "not a Parquet file"),
        ("n.xlsx", "secret", "give a .parquet, .csv or .jsonl file"),
    ],
)
def test_what_is_broken_is_named_by_file_and_line_and_not_quoted(name, content, match, tmp_path):
    path = tmp_path / name
    path.write_text(content, encoding="utf-8")
    message = fails(path, match)
    assert name in message
    assert "secret" not in message


def test_an_id_that_is_not_utf_8_is_refused(tmp_path):
    (tmp_path / "n.csv").write_bytes(b"id,text\n1,x\ncaf\xe9,x\n")
    fails(tmp_path / "n.csv", "line 3: the id of this note is not UTF-8")
    folder = tmp_path / "folder"
    folder.mkdir()
    with open(os.path.join(os.fsencode(folder), b"\xe9.txt"), "w") as file:
        file.write("x")
    message = fails(folder, "the id of this note is not UTF-8")
    assert message.encode("utf-8")


def test_columns_of_a_wrong_type_are_refused(tmp_path):
    path = tmp_path / "n.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"id": [1], "text": [2.5]}), path)
    fails(path, "column 'text' holds double, not text")
    pyarrow.parquet.write_table(pyarrow.table({"id": [1.5], "text": ["x"]}), path)
    fails(path, "column 'id' holds double")


def test_ids_that_are_no_numbers_are_refused_where_numbers_are_needed(tmp_path):
    for number in ("a7", "2021_0001"):
        path = write_notes(tmp_path / "n.csv", [("1", "x"), (number, "y")])
        with pytest.raises(AnnotateError, match=r"line 3: .*no whole number"):
            list(read_notes(path, integer_ids=True))


def test_an_id_of_more_than_64_bits_is_refused(tmp_path):
    fails(write_notes(tmp_path / "n.jsonl", [(2**63, "x")]), "does not fit into 64 bits")
    path = write_notes(tmp_path / "n.jsonl", [(2**63 - 1, "x")])
    assert [note.id for note in read_notes(path)] == [2**63 - 1]


def test_an_id_used_twice_is_refused_where_it_stands(tmp_path):
    path = write_notes(tmp_path / "n.jsonl", [("a", "x"), ("b", "y"), ("a", "z")])
    with pytest.raises(AnnotateError, match="line 3: the id of this note was used before"):
        survey(read_notes(path))


def test_an_input_without_notes_is_refused(tmp_path):
    fails(tmp_path, "no .txt and no .parquet file")
    fails(tmp_path / "absent", "no such file")
    (tmp_path / "n.jsonl").touch()
    with pytest.raises(AnnotateError, match="no note"):
        survey(read_notes(tmp_path / "n.jsonl"))


@pytest.mark.parametrize(
    "changed",
    [
        [("a", "fever"), ("b", None)],
        [("a", None), ("b", "")],
        [("a", ""), ("b", "fever")],
        [("b", "fever"), ("a", "")],
        [("af", "ever"), ("b", "")],
        [("a", "fever")],
    ],
)
def test_the_fingerprint_tells_any_change(changed, tmp_path):
    def fingerprint(notes):
        path = tmp_path / "n.jsonl"
        path.write_text("".join(json.dumps({"id": i, "text": t}) + "\n" for i, t in notes))
        return survey(read_notes(path)).fingerprint

    assert fingerprint(changed) != fingerprint([("a", "fever"), ("b", "")])
