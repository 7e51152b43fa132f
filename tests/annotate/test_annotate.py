"""Whole jobs, in this process: what is written, and what is refused."""

import errno
import json
import math
import shutil
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet
import pytest
import spacy

from spacy_btl.annotate import annotate as module
from spacy_btl.annotate.annotate import Options, annotate_file
from spacy_btl.annotate.progress import Meter, Progress
from spacy_btl.corpora.docbin import read_docs
from spacy_btl.errors import BtlError
from spacy_btl.formats.convert import convert
from spacy_btl.notes import loading
from spacy_btl.notes.notes import Note
from tests.annotate.conftest import POISON, write_notes
from tests.conftest import SENTENCES

TEXTS = [text for text, _ in SENTENCES] * 3
SMALL = Options(part_size=5, batch_size=2)


@pytest.fixture
def notes(tmp_path):
    return write_notes(tmp_path / "notes.jsonl", list(enumerate(TEXTS, start=1)))


def rows(output):
    if output.suffix == ".parquet":
        return pyarrow.parquet.read_table(output).to_pylist()
    return [json.loads(line) for line in output.read_text(encoding="utf-8").splitlines()]


def tree(folder):
    """All files of a folder with their bytes."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


@pytest.mark.parametrize("name", ["out.jsonl", "out.parquet"])
def test_every_entity_of_every_note_is_written_in_their_order(
    name, calibrated_path, calibrated, notes, tmp_path
):
    output = tmp_path / name
    counts = annotate_file(str(calibrated_path), notes, output, SMALL)
    expected = [
        (note_id, ent.start_char, ent.end_char, ent.label_)
        for note_id, text in enumerate(TEXTS, start=1)
        for ent in calibrated(text).ents
    ]
    found = rows(output)
    assert [(row["note_id"], row["start"], row["end"], row["label"]) for row in found] == expected
    assert {row["model"] for row in found} == {"en_pipeline"}
    assert (counts.notes, counts.failed) == (len(TEXTS), 0)
    assert counts.entities.total() == len(expected)
    beside = {path.name for path in tmp_path.iterdir()}
    assert beside == {notes.name, name, f"{name}.errors.jsonl", f"{name}.manifest.json"}


def test_parquet_is_one_file_if_asked_for(calibrated_path, notes, tmp_path):
    names = ("note_nlp.parquet", "parts.parquet")
    for name in names:
        annotate_file(str(calibrated_path), notes, tmp_path / name, SMALL)
        alone = tmp_path / f"one-{name}"
        annotate_file(str(calibrated_path), notes, alone, replace(SMALL, one_file=True))
        assert alone.is_file()
        assert pyarrow.parquet.ParquetFile(alone).num_row_groups > 1
        clock = {"nlp_datetime": None}  # when each job began
        expected = [{**row, **clock} for row in rows(tmp_path / name)]
        assert [{**row, **clock} for row in rows(alone)] == expected
    with pytest.raises(BtlError, match="started with another one file"):
        annotate_file(
            str(calibrated_path), notes, tmp_path / names[0], replace(SMALL, one_file=True)
        )
    with pytest.raises(BtlError, match="--one-file is for"):
        annotate_file(str(calibrated_path), notes, tmp_path / "a.csv", Options(one_file=True))


def test_brat_and_the_omop_table(calibrated_path, notes, tmp_path):
    for name in ("brat", "note_nlp.csv", "note_nlp.parquet"):
        annotate_file(str(calibrated_path), notes, tmp_path / name, SMALL)
    (tmp_path / "brat/annotation.conf").read_text().index("Severity")
    assert len(list((tmp_path / "brat").glob("*.ann"))) == len(TEXTS)
    table = pyarrow.parquet.read_table(tmp_path / "note_nlp.parquet").to_pylist()
    assert [row["note_nlp_id"] for row in table] == list(range(1, len(table) + 1))
    lines = (tmp_path / "note_nlp.csv").read_text().splitlines()
    assert len(lines) == len(table) + 1
    assert lines[0].startswith("note_nlp_id,note_id,")


def test_a_job_that_is_cut_goes_on_to_the_same_output(
    calibrated_path, notes, tmp_path, monkeypatch
):
    whole, cut = tmp_path / "whole.parquet", tmp_path / "cut.parquet"
    annotate_file(str(calibrated_path), notes, whole, SMALL)
    annotate_notes, calls = module.annotate_notes, []

    def interrupted(nlp, chunk, **settings):
        calls.append([note.id for note in chunk])
        if len(calls) == 2:
            raise KeyboardInterrupt
        return annotate_notes(nlp, chunk, **settings)

    monkeypatch.setattr(module, "annotate_notes", interrupted)
    with pytest.raises(KeyboardInterrupt):
        annotate_file(str(calibrated_path), notes, cut, SMALL)
    assert not cut.exists()
    annotate_file(str(calibrated_path), notes, cut, SMALL)
    # The part that was done is not done again.
    assert calls == [[1, 2, 3, 4, 5], [6, 7, 8, 9, 10], [6, 7, 8, 9, 10], [11, 12]]
    assert tree(cut) == tree(whole)


def test_a_finished_job_is_left_alone(calibrated_path, notes, tmp_path, monkeypatch):
    output = tmp_path / "out.jsonl"
    first = annotate_file(str(calibrated_path), notes, output, SMALL)
    before = output.stat()
    monkeypatch.setattr(module, "annotate_notes", None)
    assert annotate_file(str(calibrated_path), notes, output, SMALL) == first
    assert output.stat() == before


@pytest.mark.parametrize("finished", [True, False])
@pytest.mark.parametrize("changed", ["input", "model files", "batch size", "with text"])
def test_a_job_of_another_input_model_or_option_is_refused(
    changed, finished, calibrated_path, notes, tmp_path, monkeypatch
):
    output, model, options = tmp_path / "out.jsonl", calibrated_path, SMALL

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, suppress(KeyboardInterrupt):
        if not finished:
            patch.setattr("spacy_btl.annotate.job.Job.finish", killed)
        annotate_file(str(model), notes, output, options)
    assert output.exists() is finished
    before = output.read_bytes() if finished else None
    if changed == "input":
        notes.write_text(notes.read_text().replace("severe", "mild"))
    elif changed == "model files":
        model = tmp_path / "model"
        shutil.copytree(calibrated_path, model)
        with (model / "ner/model").open("ab") as file:
            file.write(b"\0")
        monkeypatch.setattr(loading, "load_pipeline", lambda path: spacy.load(calibrated_path))
        monkeypatch.setattr(module, "fingerprint", lambda _, of=module.fingerprint: of(model))
    else:
        other = {"batch size": {"batch_size": 3}, "with text": {"with_text": True}}[changed]
        options = Options(**{**vars(SMALL), **other})
    with pytest.raises(BtlError, match=f"started with another {changed}"):
        annotate_file(str(model), notes, output, options)
    assert (output.read_bytes() if finished else None) == before


def test_an_output_of_somebody_else_is_not_overwritten(calibrated_path, notes, tmp_path):
    output = tmp_path / "out.jsonl"
    output.write_text("mine")
    with pytest.raises(BtlError, match="exists"):
        annotate_file(str(calibrated_path), notes, output)
    assert output.read_text() == "mine"
    assert {path.name for path in tmp_path.iterdir()} == {notes.name, output.name}


@pytest.mark.parametrize("name", ["out.jsonl.errors.jsonl", "out.jsonl.manifest.json"])
def test_what_is_written_beside_the_output_is_not_overwritten_either(
    name, calibrated_path, notes, tmp_path
):
    (tmp_path / name).write_text("[1, 2]")
    before = tree(tmp_path)
    with pytest.raises(BtlError, match=f"{name} exists, and would be overwritten"):
        annotate_file(str(calibrated_path), notes, tmp_path / "out.jsonl", SMALL)
    assert tree(tmp_path) == before


def test_a_folder_that_is_called_like_the_parts_is_not_removed(calibrated_path, notes, tmp_path):
    output, parts = tmp_path / "out.jsonl", tmp_path / "out.jsonl.parts"
    (parts / "rows").mkdir(parents=True)
    (parts / "mine.txt").write_text("mine")
    with pytest.raises(BtlError, match=r"out\.jsonl\.parts exists, and would be overwritten"):
        annotate_file(str(calibrated_path), notes, output, SMALL)
    parts.rename(tmp_path / "elsewhere")
    annotate_file(str(calibrated_path), notes, output, SMALL)
    (tmp_path / "elsewhere").rename(parts)
    annotate_file(str(calibrated_path), notes, output, SMALL)
    assert (parts / "mine.txt").read_text() == "mine"


def test_an_output_that_was_deleted_is_made_again(calibrated_path, notes, tmp_path):
    output = tmp_path / "out.jsonl"
    first = annotate_file(str(calibrated_path), notes, output, SMALL)
    output.unlink()
    assert annotate_file(str(calibrated_path), notes, output, SMALL) == first
    assert output.exists()


def test_a_pipeline_that_is_in_no_folder_is_refused(notes, tmp_path):
    with pytest.raises(BtlError, match="is not saved"):
        annotate_file("blank:en", notes, tmp_path / "out.jsonl", SMALL)
    assert {path.name for path in tmp_path.iterdir()} == {notes.name}


def test_an_output_inside_of_the_input_is_refused(calibrated_path, tmp_path):
    folder = write_notes(tmp_path / "notes", [("a", "fever")])
    with pytest.raises(BtlError, match="inside the input"):
        annotate_file(str(calibrated_path), folder, folder / "brat")


def test_what_a_kill_at_the_very_end_leaves_is_removed(calibrated_path, notes, tmp_path):
    output, parts = tmp_path / "out.jsonl", tmp_path / "out.jsonl.parts"
    first = annotate_file(str(calibrated_path), notes, output, SMALL)
    parts.mkdir()
    assert annotate_file(str(calibrated_path), notes, output, SMALL) == first
    assert not parts.exists()


def test_two_processes_do_not_work_on_one_job(calibrated_path, notes, tmp_path, monkeypatch):
    output = tmp_path / "out.jsonl"

    def meanwhile(progress):
        if progress.of_notes is None:
            return
        monkeypatch.undo()
        with pytest.raises(BtlError, match="another process"):
            annotate_file(str(calibrated_path), notes, output, SMALL)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        annotate_file(str(calibrated_path), notes, output, SMALL, on_progress=meanwhile)
    assert annotate_file(str(calibrated_path), notes, output, SMALL).notes == len(TEXTS)


RULERS = {
    "zh": ({"肺炎": "疾病", "青霉素": "药物"}, "诊断为肺炎，给予青霉素。"),
    "fr": ({"fièvre": "Signe/clé", "douleur": "Signe:clé"}, "fièvre et douleur"),
    "en": ({"fever": "-u2F-", "cough": "/", "pain": "---"}, "fever, cough, pain"),
}


@pytest.mark.parametrize("lang", RULERS)
def test_labels_come_back_from_brat_as_they_were(lang, tmp_path):
    rules, text = RULERS[lang]
    nlp = spacy.blank(lang)
    patterns = [{"label": label, "pattern": pattern} for pattern, label in rules.items()]
    nlp.add_pipe("entity_ruler").add_patterns(patterns)
    nlp.to_disk(tmp_path / "ruler")
    notes = write_notes(tmp_path / "notes.jsonl", [("ward-a/1", text), ("2", f"{text} .")])
    annotate_file(str(tmp_path / "ruler"), notes, tmp_path / "brat")
    types = (tmp_path / "brat/annotation.conf").read_text("ascii").split("\n\n")[0].splitlines()
    assert len(set(types)) == len(types) == len(rules) + 1
    shown = (tmp_path / "brat/visual.conf").read_text("utf-8")
    assert all(f" | {label}\n" in shown for label in rules.values())
    convert(tmp_path / "brat", tmp_path / "brat.spacy", lang=lang)
    docs = read_docs(tmp_path / "brat.spacy", spacy.blank(lang).vocab)
    assert [doc.user_data["note_id"] for doc in docs] == ["2", "ward-a/1"]
    assert [{ent.text: ent.label_ for ent in doc.ents} for doc in docs] == [rules] * 2


@pytest.mark.parametrize("name", ["out.jsonl", "brat"])
def test_if_every_note_fails_nothing_is_written(name, calibrated_path, tmp_path):
    notes = write_notes(tmp_path / "notes.jsonl", [(n, None) for n in range(12)])
    match = r"Of 12 notes none .*notes\.jsonl, line 1: no text\. Nothing is written"
    with pytest.raises(BtlError, match=match):
        annotate_file(str(calibrated_path), notes, tmp_path / name, SMALL)
    assert {path.name for path in tmp_path.iterdir()} == {notes.name}


@pytest.fixture
def poisoned_notes(tmp_path):
    texts = [*TEXTS[:4], f"given {POISON}", None, "x" * 1_000_001, *TEXTS[4:]]
    return write_notes(tmp_path / "notes.jsonl", list(enumerate(texts, start=1)))


@pytest.fixture
def poisoned_path(poisoned, tmp_path):
    poisoned.to_disk(tmp_path / "model")
    return str(tmp_path / "model")


def test_notes_that_fail_are_listed_without_their_text(poisoned_path, poisoned_notes, tmp_path):
    output = tmp_path / "out.jsonl"
    counts = annotate_file(poisoned_path, poisoned_notes, output, SMALL)
    assert (counts.notes, counts.failed) == (len(TEXTS) + 3, 3)
    errors = (tmp_path / "out.jsonl.errors.jsonl").read_text()
    assert [json.loads(line)["note_id"] for line in errors.splitlines()] == [5, 6, 7]
    assert POISON not in errors
    assert {row["note_id"] for row in rows(output)}.isdisjoint({5, 6, 7})


def test_strict_stops_at_the_first_and_goes_on_without(poisoned_path, poisoned_notes, tmp_path):
    output = tmp_path / "out.jsonl"
    strict = Options(**{**vars(SMALL), "strict": True})
    with pytest.raises(BtlError, match="line 5"):
        annotate_file(poisoned_path, poisoned_notes, output, strict)
    assert not output.exists()
    assert annotate_file(poisoned_path, poisoned_notes, output, SMALL).failed == 3
    with pytest.raises(BtlError, match=r"3 notes failed in an earlier run.*out\.jsonl"):
        annotate_file(poisoned_path, poisoned_notes, output, strict)


def test_a_full_disk_costs_nothing_that_is_done(calibrated_path, notes, tmp_path, monkeypatch):
    output = tmp_path / "out.jsonl"
    open_file = Path.open

    def full(self, mode="r", *args, **kwargs):
        if "000001" in self.name and mode == "wb":
            raise OSError(errno.ENOSPC, "No space left on device")
        return open_file(self, mode, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", full)
        with pytest.raises(BtlError, match="No space left on device"):
            annotate_file(str(calibrated_path), notes, output, SMALL)
    assert not output.exists()
    assert not list(tmp_path.rglob("*.tmp"))
    assert annotate_file(str(calibrated_path), notes, output, SMALL).notes == len(TEXTS)


def test_an_input_that_grows_meanwhile_is_refused(calibrated_path, notes, tmp_path):
    def grow(progress):
        if progress.of_notes is None:
            return
        with notes.open("a") as file:
            file.write('{"id": 99, "text": "fever"}\n')

    with pytest.raises(BtlError, match="changed while it was read"):
        annotate_file(str(calibrated_path), notes, tmp_path / "out.jsonl", SMALL, on_progress=grow)


def test_every_batch_is_told_with_the_speed_and_the_time_left(calibrated_path, notes, tmp_path):
    found = []
    annotate_file(
        str(calibrated_path), notes, tmp_path / "out.jsonl", SMALL, on_progress=found.append
    )
    batches = [one for one in found if one.words_per_second is not None]
    n_parts, rest = divmod(len(TEXTS), SMALL.part_size)
    of_part = math.ceil(SMALL.part_size / SMALL.batch_size)
    assert len(batches) == n_parts * of_part + math.ceil(rest / SMALL.batch_size)
    assert [one.notes for one in batches] == sorted({one.notes for one in batches})
    assert batches[-1].notes == batches[-1].of_notes == len(TEXTS)
    assert batches[-1].seconds_left == 0


def test_while_the_input_is_counted_the_notes_read_are_told(calibrated_path, notes, tmp_path):
    found = []
    annotate_file(
        str(calibrated_path), notes, tmp_path / "out.jsonl", SMALL, on_progress=found.append
    )
    reading = [one.notes for one in found if one.of_notes is None]
    assert reading == list(range(1, len(TEXTS) + 1))


def test_the_time_left_after_a_resume_is_of_what_this_run_did(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    found = []
    meter = Meter(10, 1000, found.append)
    earlier, batch = ([Note(i, "x" * 100, "") for i in range(n)] for n in (6, 2))
    now[0] = 50.0  # finished parts are read again
    meter.pass_over(earlier)
    now[0] = 60.0
    meter.annotated(batch, 40)
    assert found == [Progress(8, 10, 4.0, 10.0)]


def test_a_job_counts_its_words_and_keeps_them(calibrated_path, notes, tmp_path):
    output = tmp_path / "out.jsonl"
    counts = annotate_file(str(calibrated_path), notes, output, SMALL)
    nlp = spacy.load(calibrated_path)
    assert counts.words == sum(len(nlp.make_doc(text)) for text in TEXTS)
    assert counts.seconds > 0
    assert annotate_file(str(calibrated_path), notes, output, SMALL) == counts
