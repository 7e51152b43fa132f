import csv
import gzip
import json
import os
import re
from decimal import Decimal

import pyarrow
import pyarrow.parquet
import pytest

from spacy_btl.errors import AnnotateError, BtlError
from spacy_btl.notes.notes import read_notes, scan_notes
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


def scan(path):
    return scan_notes(read_notes(path), path)


@pytest.mark.parametrize("name", ["n.parquet", "n.csv", "n.jsonl", "folder"])
def test_every_form_gives_the_same_notes(name, tmp_path):
    path = write_notes(tmp_path / name, NOTES)
    assert [(note.id, note.text) for note in read_notes(path)] == NOTES
    other = scan(write_notes(tmp_path / "other.jsonl", NOTES))
    assert scan(path) == other


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
        message = fails(
            path, "no column 'body'. The columns are: id, text.*--text-column", text_column="body"
        )
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
        ("n.xlsx", "secret", "give .parquet, .csv, .tsv"),
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
    fails(path, "column 'text' is of type double, not text")
    pyarrow.parquet.write_table(pyarrow.table({"id": [True], "text": ["x"]}), path)
    fails(path, "column 'id' is of type bool")


def test_ids_that_are_no_numbers_are_refused_where_numbers_are_needed(tmp_path):
    for number in ("a7", "2021_0001"):
        path = write_notes(tmp_path / "n.csv", [("1", "x"), (number, "y")])
        with pytest.raises(AnnotateError, match=r"line 3: .*not a whole number"):
            list(read_notes(path, integer_ids=True))


def test_an_id_of_more_than_64_bits_is_refused(tmp_path):
    fails(write_notes(tmp_path / "n.jsonl", [(2**63, "x")]), "does not fit into a signed 64-bit")
    path = write_notes(tmp_path / "n.jsonl", [(2**63 - 1, "x")])
    assert [note.id for note in read_notes(path)] == [2**63 - 1]


def test_an_id_used_twice_is_refused_where_it_stands(tmp_path):
    path = write_notes(tmp_path / "n.jsonl", [("a", "x"), ("b", "y"), ("a", "z")])
    with pytest.raises(AnnotateError, match="line 3: the id of this note is used before"):
        scan(path)


def test_an_input_without_notes_is_refused(tmp_path):
    fails(tmp_path, "no notes. Give a folder of .txt files, or of .parquet")
    fails(tmp_path / "absent", "no such file")
    (tmp_path / "n.jsonl").touch()
    for path in (tmp_path / "n.jsonl", tmp_path):
        with pytest.raises(AnnotateError, match=f"{re.escape(str(path))}: no notes: its files are"):
            scan(path)


TEXTS = ["no fever", "cough", "well"]


def read(path):
    return [(note.id, note.text) for note in read_notes(path)]


def test_sub_folders_and_partitions_are_read(tmp_path):
    notes = [("top", "x"), ("ward-a/n1", "fever"), ("ward-b/n1", "cough")]
    folder = write_notes(tmp_path / "notes", notes)
    (folder / "ward-b/n1.txt").rename(folder / "ward-b/n1.TXT")
    (folder / "ward-a/n1.ann").touch()
    (folder / "README.md").write_text("what this is")
    assert read(folder) == notes
    table = pyarrow.table({"id": [1, 2, 3], "text": TEXTS, "year": [2019, 2019, 2020]})
    pyarrow.parquet.write_to_dataset(table, tmp_path / "hive", partition_cols=["year"])
    assert read(tmp_path / "hive") == list(enumerate(TEXTS, start=1))
    (tmp_path / "mixed/year=2020").mkdir(parents=True)
    pyarrow.parquet.write_table(table.slice(0, 1), tmp_path / "mixed/part-0.parquet")
    pyarrow.parquet.write_table(table.slice(1, 2), tmp_path / "mixed/year=2020/part-1.PARQUET")
    assert read(tmp_path / "mixed") == list(enumerate(TEXTS, start=1))


@pytest.mark.parametrize("beside", ["README.txt", "year=2019/n1.TXT", "ids.csv", "n2.docx"])
def test_no_file_of_a_folder_is_left_out(beside, tmp_path):
    table = pyarrow.table({"id": [1, 2, 3], "text": TEXTS, "year": [2019, 2019, 2020]})
    pyarrow.parquet.write_to_dataset(table, tmp_path, partition_cols=["year"])
    (tmp_path / beside).write_text("This export has fever in it.")
    with pytest.raises(BtlError, match=f"holds .*{beside}|{beside}: a file of another kind"):
        read(tmp_path)


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".ndjson", ".json"])
@pytest.mark.parametrize("zipped", [False, True])
def test_folders_of_parts_are_read_zipped_or_not(suffix, zipped, tmp_path):
    for number, text in enumerate(TEXTS):
        path = tmp_path / f"part-{number}{suffix}"
        if "sv" in suffix:
            delimiter = "," if suffix == ".csv" else "\t"
            data = f'id{delimiter}text\n{number}{delimiter}"{text},\n"\n'
        else:
            data = json.dumps({"id": str(number), "text": f"{text},\n"}) + "\n"
        path.write_text(data)
        if zipped and number:  # one of them is not
            path.with_name(f"{path.name}.GZ").write_bytes(gzip.compress(data.encode()))
            path.unlink()
    assert read(tmp_path) == [(str(number), f"{text},\n") for number, text in enumerate(TEXTS)]


def test_a_damaged_gzip_file_is_refused(tmp_path):
    data = gzip.compress(b'{"id": 1, "text": "secret"}\n' * 1000)
    for number, broken in enumerate((data[:-20], data[:50] + b"xxxxxxxx" + data[58:], b"secret")):
        path = tmp_path / f"{number}.jsonl.gz"
        path.write_bytes(broken)
        with pytest.raises(AnnotateError, match="not a gzip file, or a damaged one") as error:
            read(path)
        assert "secret" not in str(error.value)


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_the_delimiter_is_the_one_that_finds_both_columns_in_the_header(delimiter, tmp_path):
    path = tmp_path / "n.csv"
    rows = [["other, of; all\tkinds", "id", "text"], ["x", "1", "no; fever,\nand\tso"]]
    with path.open("w", newline="", encoding="utf-8-sig") as file:
        csv.writer(file, delimiter=delimiter).writerows(rows)
    assert read(path) == [("1", "no; fever,\nand\tso")]
    path.write_text("id;text,and more\n1;secret\n")
    assert "secret" not in fails(path, "no column 'text' among the 2 of the first line")


def test_two_columns_of_one_name_are_refused(tmp_path):
    columns = [pyarrow.array([1]), pyarrow.array(["secret draft"]), pyarrow.array(["no fever"])]
    for names, twice in ((["id", "text", "text"], "text"), (["text", "id", "id"], "id")):
        match = f": two columns are called '{twice}'. Name another with --{twice}-column."
        table = pyarrow.Table.from_arrays(columns, names=names)
        pyarrow.parquet.write_table(table, tmp_path / "n.parquet")
        header, values = ",".join(names), ["1", "secret draft", "no fever"]
        (tmp_path / "n.csv").write_text(f"{header}\n{','.join(values)}\n")
        pairs = ", ".join(f'"{name}": "{value}"' for name, value in zip(names, values, strict=True))
        (tmp_path / "n.jsonl").write_text(f"{{{pairs}}}\n")
        for name in ("n.parquet", "n.csv", "n.jsonl"):
            assert "secret" not in fails(tmp_path / name, match)


def test_two_columns_that_are_not_asked_for_may_share_a_name(tmp_path):
    columns = [pyarrow.array([n]) for n in (1, "fever", 3, 4)]
    table = pyarrow.Table.from_arrays(columns, names=["id", "text", "x", "x"])
    pyarrow.parquet.write_table(table, tmp_path / "n.parquet")
    assert read(tmp_path / "n.parquet") == [(1, "fever")]
    (tmp_path / "n.jsonl").write_text('{"id": 1, "text": "fever", "x": {"y": 1, "y": 2}, "x": 2}')
    assert read(tmp_path / "n.jsonl") == [(1, "fever")]


@pytest.mark.parametrize(
    "kind", ["large_string", "string_view", "binary", "large_binary", "binary_view", "dictionary"]
)
@pytest.mark.parametrize("column", ["id", "text"])
def test_strings_of_any_type_are_read(column, kind, tmp_path):
    texts = ["no fever", "café", "no fever" if column == "text" else "well"]
    values = pyarrow.array(texts)
    if kind == "dictionary":
        values = values.dictionary_encode()
    else:
        values = values.cast(getattr(pyarrow, kind)())
    table = {"id": ["a", "b", "c"], "text": ["a", "b", "c"], column: values}
    pyarrow.parquet.write_table(pyarrow.table(table), tmp_path / "n.parquet")
    ids, found = zip(*read(tmp_path / "n.parquet"), strict=True)
    assert list(ids if column == "id" else found) == texts


def test_bytes_that_are_not_utf_8_cost_their_own_note_only(tmp_path):
    table = pyarrow.table({"id": [1, 2], "text": ["café".encode("latin-1"), b"fever"]})
    pyarrow.parquet.write_table(table, tmp_path / "n.parquet")
    assert read(tmp_path / "n.parquet") == [(1, None), (2, "fever")]


@pytest.mark.parametrize(
    "values",
    [
        pyarrow.array([1.0, 2.0, -3.0]),
        pyarrow.array([1.0, 2.0, -3.0], pyarrow.float32()),
        pyarrow.array([Decimal(1), Decimal(2), Decimal(-3)], pyarrow.decimal128(38, 0)),
        pyarrow.array([Decimal(1), Decimal(2), Decimal(-3)], pyarrow.decimal256(60, 5)),
        pyarrow.array([1, 2, -3]).dictionary_encode(),
        pyarrow.array([1, 2, -3], pyarrow.int8()),
    ],
)
def test_ids_that_are_whole_numbers_are_numbers_whatever_holds_them(values, tmp_path):
    pyarrow.parquet.write_table(
        pyarrow.table({"id": values, "text": TEXTS}), tmp_path / "n.parquet"
    )
    assert [note.id for note in read_notes(tmp_path / "n.parquet")] == [1, 2, -3]
    assert {type(note.id) for note in read_notes(tmp_path / "n.parquet")} == {int}


@pytest.mark.parametrize(
    "value", [1.5, 2.0**53, float("nan"), float("inf"), Decimal("1.50"), Decimal(2**70)]
)
def test_a_number_that_another_id_may_have_become_is_refused(value, tmp_path):
    pyarrow.parquet.write_table(
        pyarrow.table({"id": [value], "text": ["x"]}), tmp_path / "n.parquet"
    )
    fails(tmp_path / "n.parquet", "row 1: ('id' is a (float|Decimal)|the id .* 64-bit)")


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
        return scan(path).fingerprint

    assert fingerprint(changed) != fingerprint([("a", "fever"), ("b", "")])
