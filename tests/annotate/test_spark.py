"""The Spark engine on a cluster of two executors, against the local engine."""

import json
import math
import os
import shutil
import sys

import pyarrow.parquet
import pytest
import spacy
import torch
from threadpoolctl import threadpool_info
from typer.testing import CliRunner

from spacy_btl.annotate.annotate import Options
from spacy_btl.annotate.annotate import annotate_file as annotate_here
from spacy_btl.cli import btl
from spacy_btl.context.assertions import Assertions
from spacy_btl.errors import AnnotateError, BtlError
from spacy_btl.notes.loading import Source
from spacy_btl.notes.notes import read_notes
from tests.annotate.conftest import write_notes
from tests.conftest import SENTENCES

pytest.importorskip("pyspark", reason="pip install '.[spark]' to test it")
if shutil.which("java") is None:
    pytest.skip("Spark needs Java 17 or later", allow_module_level=True)

from pyspark.sql import SparkSession

from spacy_btl.annotate import spark as module

pytestmark = pytest.mark.slow  # Spark

CLUSTER = "local-cluster[2,1,2048]"
TEXTS = [text for text, _ in SENTENCES]
NOTES = [(number, f"{TEXTS[number % 4]} . {TEXTS[number // 4 % 4]}") for number in range(400)]
# As the command reads them.
COMPLETE, SCHEMA = [(*note, None) for note in NOTES], "id int, text string, missing string"


@pytest.fixture(scope="module")
def session():
    """Two executors of a core each, as processes of this machine."""
    os.environ["PYSPARK_PYTHON"] = sys.executable
    session = (
        SparkSession.builder.master(CLUSTER)
        .appName("spacy-btl-tests")
        .config("spark.ui.enabled", "false")
        .config("spark.sql.shuffle.partitions", "4")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .getOrCreate()
    )
    yield session
    session.stop()


def by_place(rows):
    return {(row["note_id"], row["start"], row["end"], row["label"]): row for row in rows}


def test_entities_are_those_of_the_local_engine(session, calibrated_path, tmp_path):
    notes = write_notes(tmp_path / "notes.parquet", NOTES)
    options = Options(with_text=True)
    annotate_here(str(calibrated_path), notes, tmp_path / "here.parquet", options)
    here = by_place(pyarrow.parquet.read_table(tmp_path / "here.parquet").to_pylist())
    df = session.read.parquet(str(notes)).repartition(8)
    found = module.annotate_dataframe(df, str(calibrated_path), with_text=True).collect()
    there = by_place(row.asDict() for row in found)
    assert len(found) == len(there), "an entity was doubled"
    assert len(here.keys() ^ there.keys()) <= len(here) * 1e-4
    for place in here.keys() & there.keys():
        mine, other = here[place], there[place]
        assert math.isclose(mine["confidence"], other["confidence"], abs_tol=1e-4)
        assert mine["text"] == other["text"]
        assert other["error"] is None


def test_both_executors_load_the_pipeline_once_and_use_their_core(session, calibrated_path):
    # Of the tests before this one none uses another pipeline.
    df = session.createDataFrame(COMPLETE, SCHEMA).repartition(8)

    def workers(batches):
        import pyarrow

        for batch in batches:
            list(module._annotate_batches(iter([batch]), source=source, stamp=stamp, batch_size=8))
        loads = module._load.cache_info().misses
        pools = [pool["num_threads"] for pool in threadpool_info()]
        threads = max([torch.get_num_threads(), *pools])
        row = {"pid": [os.getpid()], "loads": [loads], "threads": [threads]}
        yield pyarrow.RecordBatch.from_pydict(row)

    source, stamp = Source(str(calibrated_path)), module.Stamp("", "", "", True, False)
    rows = df.mapInArrow(workers, "pid bigint, loads bigint, threads bigint").collect()
    assert len(rows) == 8
    assert len({row["pid"] for row in rows}) == 2
    assert {row["loads"] for row in rows} == {1}
    assert {row["threads"] for row in rows} == {1}, "the workers of a machine fight for its cores"


def test_assertions_are_those_of_the_local_engine(session, asserted_path, tmp_path):
    notes = write_notes(tmp_path / "notes.jsonl", NOTES[:40])
    annotate_here(str(asserted_path), notes, tmp_path / "here.parquet")
    here = by_place(pyarrow.parquet.read_table(tmp_path / "here.parquet").to_pylist())
    df = session.createDataFrame(COMPLETE[:40], SCHEMA).drop("missing").repartition(2)
    found = module.annotate_dataframe(df, str(asserted_path))
    assert found.columns[-6:] == [*Assertions._fields, "error"]
    there = by_place(row.asDict() for row in found.collect())
    assert here.keys() == there.keys()
    for place, row in here.items():
        names = Assertions._fields
        assert [row[name] for name in names] == [there[place][name] for name in names]
    assert {row["negated"] for row in here.values()} == {True, False}


def test_a_task_that_fails_is_repeated_and_doubles_nothing(session, calibrated_path, tmp_path):
    df = session.createDataFrame(COMPLETE[:40], SCHEMA).repartition(4)
    marker, model = tmp_path / "failed-once", str(calibrated_path)
    stamp = module.Stamp("", "", "", True, False)

    def fail_once(batches):
        from pyspark import TaskContext

        yield from module._annotate_batches(
            batches, source=Source(model), stamp=stamp, batch_size=8
        )
        if TaskContext.get().partitionId() == 1 and not marker.exists():
            marker.touch()
            os._exit(1)  # as the kernel ends a worker that needs too much memory

    plain = module.annotate_dataframe(df, model)
    found = df.mapInArrow(fail_once, plain.schema)
    assert sorted(found.collect()) == sorted(plain.collect())
    assert marker.exists()


def test_notes_that_fail_have_a_row_with_the_reason(session, calibrated_path):
    df = session.createDataFrame([("a", None), ("b", TEXTS[0])], "id string, text string")
    found = module.annotate_dataframe(df, str(calibrated_path)).collect()
    failed = [row.asDict() for row in found if row["error"] is not None]
    assert [(row["note_id"], row["label"], row["error"]) for row in failed] == [
        ("a", None, "no text")
    ]
    assert {row["note_id"] for row in found} == {"a", "b"}


@pytest.mark.parametrize(
    "schema", ["key int, text string", "id int, text int", "id double, text string"]
)
def test_columns_that_will_not_do_are_refused_before_the_work(session, schema):
    with pytest.raises(AnnotateError, match="olumn '"):
        module.annotate_dataframe(session.createDataFrame([], schema), "absent")


@pytest.mark.parametrize(
    "name", ["notes.csv", "notes.jsonl", "notes.parquet", "a folder+ü", "[a] {folder}*", "hive"]
)
def test_every_form_is_read_by_the_local_engine_s_readers(name, session, tmp_path):
    texts = [("a", 'fever, "cough"\n\npain'), ("b", "x"), ("c ü+%20", "crp was 84")]
    path = tmp_path / name
    if name == "hive":
        ids, values = zip(*texts, strict=True)
        table = pyarrow.table({"id": ids, "text": values, "year": [2019, 2019, 2020]})
        pyarrow.parquet.write_to_dataset(table, path, partition_cols=["year"])
    else:
        write_notes(path, texts)
    df, n_notes, integer_ids = module._read(session, path, Options())
    here = {(note.id, note.text) for note in read_notes(path)}
    assert {(row["id"], row["text"]) for row in df.collect()} == here == set(texts)
    assert (n_notes, integer_ids) == (3, False)


def test_ids_that_are_numbers_and_notes_that_are_not_text(session, calibrated_path, tmp_path):
    path = tmp_path / "notes.csv"
    path.write_bytes("id;text\n1;café\n2;fever\n".encode("latin-1"))
    output = tmp_path / "out.jsonl"
    counts = module.annotate_file(str(calibrated_path), path, output, Options(), session)
    assert (counts.notes, counts.failed) == (2, 1)
    (error,) = (tmp_path / "out.jsonl.errors.jsonl").glob("part-*")
    assert json.loads(error.read_text()) == {"note_id": "1", "reason": "the text is not UTF-8"}
    pyarrow.parquet.write_table(
        pyarrow.table({"id": [1.0], "text": [b"x"]}), tmp_path / "n.parquet"
    )
    df, _, integer_ids = module._read(session, tmp_path / "n.parquet", Options())
    assert integer_ids
    assert df.dtypes[0] == ("id", "bigint")


@pytest.mark.parametrize(
    ("name", "content", "match"),
    [
        ("n.jsonl", '{"id": 1, "text": "secret"\n', "line 1: broken JSON"),
        ("n.csv", "id,text\na,fever\nb,secret fever,and more\n", "line 3: 3 fields"),
        ("n.csv", "id,text\na,fever\nsecret\n", "line 3: 1 fields"),
        ("n.csv", "id,text,text\n1,secret,secret\n", "two columns are called 'text'"),
        ("n.jsonl", '{"id": 1, "text": "x"}\n{"id": "a", "text": "secret"}', "some .* are strings"),
        ("n.jsonl", "", r"n\.jsonl: no notes"),
    ],
)
def test_what_is_broken_is_named_and_not_quoted(name, content, match, session, tmp_path, capfd):
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(AnnotateError, match=match) as error:
        module._read(session, path, Options())
    assert "secret" not in str(error.value)
    assert "secret" not in "".join(capfd.readouterr())


def test_two_kinds_in_a_folder_are_refused(session, tmp_path):
    write_notes(tmp_path / "n.parquet", [("a", "x")])
    (tmp_path / "n1.txt").write_text("x")
    with pytest.raises(BtlError, match=r"holds Parquet \(n\.parquet\) and text files"):
        module._read(session, tmp_path, Options())


@pytest.mark.parametrize(
    ("notes", "match"),
    [([(1, "x"), (1, "y")], "'id' is used twice"), ([(1, None), (2, None)], "2 of 2 .*: no text")],
)
def test_what_does_not_do_leaves_nothing(notes, match, session, calibrated_path, tmp_path):
    path = write_notes(tmp_path / "n.jsonl", notes)
    output = tmp_path / "out.parquet"
    with pytest.raises(AnnotateError, match=match):
        module.annotate_file(str(calibrated_path), path, output, Options(), session)
    assert {path.name for path in tmp_path.iterdir()} == {"n.jsonl"}


@pytest.mark.parametrize("name", ["note_nlp.parquet", "note_nlp.csv", "brat"])
def test_outputs_of_the_local_engine_alone_are_refused(name, tmp_path):
    with pytest.raises(AnnotateError, match=r"writes \.parquet or \.jsonl only"):
        module.annotate_file("absent", tmp_path, tmp_path / name, Options(), None)


def test_one_file_is_refused(tmp_path):
    with pytest.raises(AnnotateError, match="--one-file: the Spark engine writes a folder"):
        module.annotate_file(
            "absent", tmp_path, tmp_path / "a.parquet", Options(one_file=True), None
        )


def test_a_pipeline_that_is_not_there_is_refused_before_the_work(tmp_path):
    with pytest.raises(BtlError, match="Cannot load the pipeline"):
        module.annotate_file("absent", tmp_path, tmp_path / "out.parquet", Options(), None)


def test_notes_that_are_unlike_are_told(session, mapped_path, tmp_path):
    texts = ["xq zv 9 9 9 kj 7 7 qq ww"[i % 6 :] * 2 for i in range(20)]
    notes = write_notes(tmp_path / "notes.jsonl", list(enumerate(texts)))
    here = annotate_here(str(mapped_path), notes, tmp_path / "here.parquet", Options())
    output = tmp_path / "there.parquet"
    there = module.annotate_file(str(mapped_path), notes, output, Options(), session)
    assert there.unlike.startswith("The 20 notes are unlike")
    # The rows are permuted in the order in which they come, for p.
    assert there.unlike.split("p = ")[0] == here.unlike.split("p = ")[0]
    assert there.unlike.split("):")[-1] == here.unlike.split("):")[-1]
    rows = session.read.parquet(str(output))
    assert "facts" not in rows.columns
    assert rows.filter("note_id IS NULL").count() == 0


def test_the_command(session, calibrated_path, tmp_path):
    notes = write_notes(tmp_path / "notes.jsonl", [*NOTES[:20], (999, None)])
    output = tmp_path / "out.jsonl"
    arguments = ["annotate", str(calibrated_path), str(notes), str(output), "--engine", "spark"]
    result = CliRunner().invoke(btl, arguments)
    assert result.exit_code == 3, result.output
    assert "21 notes, 20 annotated, 1 failed" in result.output
    rows = [json.loads(line) for file in output.glob("part-*") for line in file.open()]
    nlp = spacy.load(calibrated_path)
    expected = {
        (note_id, ent.start_char, ent.end_char, ent.label_)
        for note_id, text in NOTES[:20]
        for ent in nlp(text).ents
    }
    assert set(by_place(rows)) == expected
    errors = [
        json.loads(line)
        for file in (tmp_path / "out.jsonl.errors.jsonl").glob("part-*")
        for line in file.open()
    ]
    assert errors == [{"note_id": 999, "reason": "no text"}]
    assert not (tmp_path / "out.jsonl.spark").exists()
    again = CliRunner().invoke(btl, arguments)
    assert again.exit_code == 1
    assert "exists" in again.output
