"""The one rule for folders of notes: what is read, passed over and refused."""

import os
from pathlib import Path

import pytest

from spacy_btl.errors import FileError
from spacy_btl.folders import files_below
from spacy_btl.notes.notes import note_files

BRAT = {".txt": "brat", ".ann": "brat"}
NOTES = {".txt": "text files", ".parquet": "Parquet", ".csv": "CSV", ".csv.gz": "CSV"}


def make(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def found(folder: Path, kinds: dict[str, str] = NOTES) -> list[tuple[str, str]]:
    return [(file.id, file.suffix) for file in files_below(folder, kinds, beside=[".ann"])]


def fails(folder: Path, match: str, kinds: dict[str, str] = NOTES) -> None:
    with pytest.raises(FileError, match=match):
        files_below(folder, kinds)


def test_sub_folders_are_read_in_the_order_of_ids_and_suffixes_in_any_case(tmp_path):
    names = ["ward-b/n1.TXT", "ward-a/n.v2.txt", "ward-a/n1.txt", "ward/n1.txt", "top.Txt"]
    make(tmp_path, *names)
    ids = ["top", "ward-a/n.v2", "ward-a/n1", "ward-b/n1", "ward/n1"]
    assert found(tmp_path) == [(name, ".txt") for name in ids]
    assert next(file.path.name for file in files_below(tmp_path, NOTES)) == "top.Txt"


def test_suffixes_of_one_kind_are_read_together(tmp_path):
    make(tmp_path, "n1.ann", "n1.txt", "sub/n2.ANN")
    pairs = [(file.id, file.suffix) for file in files_below(tmp_path, BRAT)]
    assert pairs == [("n1", ".ann"), ("n1", ".txt"), ("sub/n2", ".ann")]
    assert found(make(tmp_path / "csv", "a.csv.gz", "b.csv")) == [("a", ".csv.gz"), ("b", ".csv")]


def test_partitions_are_read_and_what_spark_writes_beside_them_is_not(tmp_path):
    make(tmp_path, "year=2019/part-0.parquet", "year=2020/part-0.PARQUET", "part-1.parquet")
    make(tmp_path, "_SUCCESS", "_temporary/0/part-0.parquet", "_metadata", ".part-1.parquet.crc")
    ids = ["part-1", "year=2019/part-0", "year=2020/part-0"]
    assert found(tmp_path) == [(name, ".parquet") for name in ids]


def test_hidden_files_and_what_is_no_note_are_passed_over(tmp_path):
    make(tmp_path, "._n1.txt", ".git/n1.txt", ".DS_Store", "sub/.hidden.txt", "__MACOSX/n1.txt")
    make(tmp_path, "README.md", "LICENSE", "annotation.conf", "visual.conf", "n1.ann")
    assert found(tmp_path) == []
    assert found(make(tmp_path, "_n1.txt")) == [("_n1", ".txt")]


@pytest.mark.parametrize("other", ["n2.docx", "n2", "n2.txt.gz", "n2.txt~", "a/n2.json", "x.pdf"])
def test_a_file_that_may_be_a_note_is_not_left_out(other, tmp_path):
    fails(make(tmp_path, "n1.txt", other), f"{Path(other).name}: a file of another kind than .txt")


@pytest.mark.parametrize("other", ["index.parquet", "year=2020/part-0.parquet", "notes.CSV"])
def test_kinds_are_not_mixed(other, tmp_path):
    match = rf"holds (CSV|Parquet) \({other}\) and text files \(n1\.txt\)"
    fails(make(tmp_path, "n1.txt", other), match)


def test_two_files_of_one_id_are_refused(tmp_path):
    fails(make(tmp_path, "a/n1.txt", "a/n1.TXT"), r"n1\.txt: n1\.TXT beside it has the same id")


@pytest.mark.parametrize(
    ("sign", "kind"),
    [
        ("_delta_log/0.json", "Delta"),
        (".hoodie/hoodie.properties", "Hudi"),
        ("metadata/v1.metadata.json", "Iceberg"),
        ("db/notes/_delta_log/0.json", "Delta"),
    ],
)
def test_a_table_that_keeps_a_log_is_refused(sign, kind, tmp_path):
    fails(make(tmp_path, "part-0.parquet", sign), f"a table of {kind}, .*Export it")


@pytest.mark.parametrize("sign", ["t/_delta_log/0.json", "t/metadata/v1.metadata.json"])
def test_a_part_of_such_a_table_is_refused(sign, tmp_path):
    part = make(tmp_path, sign, "t/data/year=2020/part-0.parquet") / "t/data/year=2020"
    for notes in (part, part / "part-0.parquet"):
        with pytest.raises(FileError, match="t: a table of"):
            note_files(notes)


def test_links_are_read_and_do_not_lead_in_circles(tmp_path):
    ward = make(tmp_path / "elsewhere", "n1.txt")
    folder = make(tmp_path / "notes", "a/n0.txt")
    (folder / "b").symlink_to(ward)
    (folder / "a/n2.txt").symlink_to(ward / "n1.txt")
    assert [name for name, _ in found(folder)] == ["a/n0", "a/n2", "b/n1"]
    back = folder / "a/back"
    back.symlink_to(folder)
    fails(folder, "back: a link to a folder that it lies in")
    back.unlink()
    back.symlink_to(back)
    fails(folder, "back: neither a file nor a folder")
    back.unlink()
    (folder / "a/n3.txt").symlink_to(tmp_path / "absent.txt")
    fails(folder, "n3.txt: neither a file nor a folder, or a broken link")


def test_what_is_neither_file_nor_folder_or_absent_is_refused(tmp_path):
    fails(tmp_path / "absent", "absent: cannot be read")
    os.mkfifo(tmp_path / "n1.txt")
    fails(tmp_path, "neither a file nor a folder")


def test_a_name_that_is_not_utf_8_can_be_reported(tmp_path):
    with open(os.path.join(os.fsencode(tmp_path), b"\xe9.doc"), "w"):
        pass
    with pytest.raises(FileError, match="another kind") as error:
        files_below(tmp_path, NOTES)
    assert str(error.value).encode("utf-8")
