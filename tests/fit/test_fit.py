"""`fit`, from notes to a wheel: what it writes, and how it goes on."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import spacy
from filelock import FileLock

import spacy_btl.fit.run as run_module
import spacy_btl.fit.steps as steps_module
from spacy_btl.corpora.docbin import read_docs
from spacy_btl.errors import BtlError
from spacy_btl.fit.choices import Options
from spacy_btl.fit.fit import fit
from spacy_btl.fit.progress import Listener
from spacy_btl.pipelines import fingerprint
from tests.conftest import SENTENCES

ROOT = Path(__file__).parent.parent.parent
STEPS = [
    *("convert", "split", "encoder", "train btl", "train standard"),
    *("average", "calibrate", "evaluate", "card", "package"),
]


def write_notes(path: Path, n: int = 8, *, more: list[dict] | None = None) -> Path:
    """The sentences as JSON lines, none the copy of another, after another text's end."""
    records = [
        {"id": f"n-{i}-{j}", "text": text + i * " .", "ents": entities}
        for i in range(n)
        for j, (text, entities) in enumerate(SENTENCES)
    ]
    lines = (json.dumps(record) + "\n" for record in [*records, *(more or [])])
    path.write_text("".join(lines), "utf-8")
    return path


class Recorder(Listener):
    """Keeps what is told, and may interrupt a run at a step."""

    def __init__(self, stop_at: str = "") -> None:
        self.stop_at = stop_at
        self.steps: list[str] = []
        self.reasons: dict[str, str] = {}
        self.chosen: dict = {}
        self.cautions: list[str] = []
        self.progress: list[float] = []

    def on_step(self, name, why):
        if name == self.stop_at:
            raise KeyboardInterrupt
        self.steps.append(name)
        if why:
            self.reasons[name] = why

    def on_choices(self, chosen):
        self.chosen = chosen

    def on_caution(self, text):
        self.cautions.append(text)

    def on_progress(self, done, left):
        self.progress.append(done)


@pytest.fixture(autouse=True)
def quick_wheel(request, monkeypatch):
    """A wheel takes a process to build: a slow test builds one."""
    if not request.node.get_closest_marker("slow"):
        monkeypatch.setattr(run_module, "build_wheel", _copy_fingerprint)


def _copy_fingerprint(pipeline: Path, wheel: Path, log: Path) -> None:
    wheel.parent.mkdir(exist_ok=True)
    wheel.write_text(fingerprint(pipeline))


@pytest.fixture(scope="module")
def options(tiny_bert) -> Options:
    return Options(encoder=str(tiny_bert), max_steps=3, gpu=-1)


@pytest.fixture(scope="module")
def finished(options, tmp_path_factory):
    """Notes, the output of a run on them, and what it told and found. Copy it to change it."""
    folder = tmp_path_factory.mktemp("finished")
    notes, told = write_notes(folder / "my-notes.jsonl"), Recorder()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_module, "build_wheel", _copy_fingerprint)
        lines = fit(notes, folder / "out", options, told)
    return folder, told, lines


@pytest.fixture
def again(finished, tmp_path) -> Path:
    """A copy of the notes and the output, at a place of its own."""
    shutil.copytree(finished[0], tmp_path / "again")
    return tmp_path / "again"


def files(output: Path) -> set[str]:
    return {path.relative_to(output).as_posix() for path in output.iterdir()}


def test_writes_a_calibrated_pipeline_its_report_and_its_wheel(finished):
    folder, told, _ = finished
    output = folder / "out"
    assert files(output) == {".fit", "pipeline", "report.html", "packages"}
    nlp = spacy.load(output / "pipeline")
    assert nlp.pipe_names == ["transformer", "ner", "knn_calibrator", "doc_cleaner"]
    assert nlp.get_pipe("knn_calibrator").calibrator.maps is not None
    assert (nlp.meta["lang"], nlp.meta["name"]) == ("en", "my_notes")
    assert len(nlp.meta["averaged"]) == 2
    assert [path.name for path in (output / "packages").iterdir()] == [
        "en_my_notes-0.1.0-py3-none-any.whl"
    ]
    report = (output / "report.html").read_text("utf-8")
    assert "<title>en_my_notes 0.1.0 on test, " in report
    assert (output / "pipeline" / "README.md").is_file()
    assert told.steps == STEPS
    assert told.progress == sorted(told.progress)
    assert told.progress[-1] == pytest.approx(1)


def test_the_lines_say_what_was_found_and_what_to_do(finished):
    folder, _, lines = finished
    assert 9 <= len(lines) <= 11
    text = "\n".join(lines)
    metrics = json.loads((folder / "out" / ".fit" / "metrics.json").read_text("utf-8"))
    row = metrics["scores"]["ents_f"]
    assert f"F1 {row['value']:.1%} ({100 * row['low']:.1f} to {100 * row['high']:.1f})" in text
    assert lines[0].startswith("Learned 4 types from ")
    assert "Not to be trusted yet" in text
    assert "Next: " in text
    assert str(folder / "out" / "packages" / "en_my_notes-0.1.0-py3-none-any.whl") in lines[-2]
    assert lines[-1] == (
        'Load it: nlp = spacy.load("en_my_notes")  # without installing it: '
        f"spacy.load({str(folder / 'out' / 'pipeline')!r})"
    )
    assert not any(sentence in text for sentence, _ in SENTENCES)


def test_no_document_is_in_two_parts_and_the_figures_are_of_the_test_documents(finished):
    corpus = finished[0] / "out" / ".fit" / "corpus"
    texts = [
        {doc.text for doc in read_docs(corpus / f"{part}.spacy", spacy.blank("en").vocab)}
        for part in ("train", "dev", "test")
    ]
    assert sum(map(len, texts)) == len(set().union(*texts)) == 32
    metrics = json.loads((corpus.parent / "metrics.json").read_text("utf-8"))
    assert metrics["documents"] == len(texts[2])


def test_nothing_is_done_twice_also_where_the_output_was_moved(again, options):
    told = Recorder()
    before = fingerprint(again / "out" / "pipeline")
    lines = fit(again / "my-notes.jsonl", again / "out", options, told)
    assert told.steps == []
    assert told.progress[-1] == pytest.approx(1)
    assert len(lines) > 8
    assert fingerprint(again / "out" / "pipeline") == before


def test_an_interrupted_run_goes_on_and_ends_as_an_uninterrupted_one(
    finished, options, tmp_path, monkeypatch
):
    """It is stopped before each step, and before the record of each step is written."""
    folder = finished[0]
    notes, output = shutil.copy(folder / "my-notes.jsonl", tmp_path), tmp_path / "out"
    notes = Path(notes)
    write = steps_module.write_file
    for name in STEPS:
        with pytest.raises(KeyboardInterrupt):
            fit(notes, output, options, Recorder(stop_at=name))

        def stop(*_: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(steps_module, "write_file", stop)
        told = Recorder()
        with pytest.raises(KeyboardInterrupt):
            fit(notes, output, options, told)
        assert told.steps == [name]
        monkeypatch.setattr(steps_module, "write_file", write)
        told = Recorder(stop_at=STEPS[min(STEPS.index(name) + 1, len(STEPS) - 1)])
        if name != STEPS[-1]:
            with pytest.raises(KeyboardInterrupt):
                fit(notes, output, options, told)
            assert told.steps == [name]
    fit(notes, output, options)
    assert fingerprint(output / "pipeline") == fingerprint(folder / "out" / "pipeline")
    assert files(output) == files(folder / "out")
    assert files(output / ".fit") == files(folder / "out" / ".fit")


def test_a_training_that_is_stopped_leaves_nothing_half_written(options, tmp_path, monkeypatch):
    notes, output = write_notes(tmp_path / "notes.jsonl"), tmp_path / "out"

    class Stop(Recorder):
        def on_progress(self, done, left):
            if self.steps[-1] == "train btl":
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(notes, output, options, Stop())
    assert files(output) == {".fit"}
    assert not (output / ".fit" / "networks").exists()


def test_what_a_killed_run_was_writing_is_removed(again, options):
    output = again / "out"
    for path in (".fit/networks/.btl-x1", ".pipeline-x2", ".fit/package-x3"):
        (output / path / "new").mkdir(parents=True)
    (output / "packages" / ".en_my_notes.whl.7.tmp").write_text("half")
    fit(again / "my-notes.jsonl", output, options)
    assert files(output) == {".fit", "pipeline", "report.html", "packages"}
    assert files(output / ".fit" / "networks") == {"btl", "standard"}
    assert len(files(output / "packages")) == 1
    assert not (output / ".fit" / "package-x3").exists()


def test_a_changed_option_is_said_and_only_what_depends_on_it_is_done_again(again, options):
    notes, output = again / "my-notes.jsonl", again / "out"
    told = Recorder()
    fit(notes, output, replace(options, name="other", version="1.2.0"), told)
    assert told.steps == ["card", "package"]
    assert told.reasons["card"] == "changed: name, version"
    assert files(output / "packages") == {"en_other-1.2.0-py3-none-any.whl"}
    assert "<h1>en_other 1.2.0 on test</h1>" in (output / "report.html").read_text("utf-8")
    told = Recorder()
    fit(notes, output, replace(options, effort="small"), told)
    assert told.chosen["networks"].value == ["btl"]
    assert told.steps == ["calibrate", "evaluate", "card", "package"]
    told = Recorder()
    fit(notes, output, replace(options, max_steps=4), told)
    assert told.steps == STEPS[3:]
    assert "training.max_steps" in told.reasons["train btl"]
    assert told.reasons["average"] == "changed: network btl, network standard"


def test_assertions_are_added_if_asked_for_and_measured_with_the_rest(again, options):
    pytest.importorskip("negspacy", reason="pip install '.[context]' to test it")
    told = Recorder()
    asked = replace(options, sections=True, context=True)
    fit(again / "my-notes.jsonl", again / "out", asked, told)
    assert told.steps == ["sections", "context", "evaluate", "card", "package"]
    names = spacy.load(again / "out" / "pipeline").pipe_names
    assert names[-2:] == ["btl_sections", "btl_context"]
    told = Recorder()
    french = replace(options, context=True, lang="fr")
    with pytest.raises(BtlError, match="language is 'fr'"):
        fit(again / "my-notes.jsonl", again / "out", french, told)
    assert "train btl" not in told.steps


def test_changed_notes_are_noticed(again, options):
    told = Recorder()
    notes = write_notes(again / "my-notes.jsonl", 9)
    fit(notes, again / "out", options, told)
    assert told.steps == [step for step in STEPS if step != "encoder"]
    assert told.reasons["convert"] == "changed: notes"
    assert told.reasons["split"] == "changed: notes"


def test_output_that_was_changed_or_removed_is_made_again(again, options):
    notes, output = again / "my-notes.jsonl", again / "out"
    (output / "report.html").unlink()
    (output / "pipeline" / "meta.json").write_text("{}")
    told = Recorder()
    fit(notes, output, options, told)
    assert told.steps[0] == "card"
    assert told.reasons["card"] == f"{output / 'report.html'} is gone"
    spacy.load(output / "pipeline")


def test_a_card_of_the_author_is_used(again, options):
    card = again / "card.yml"
    text = (again / "out" / ".fit" / "card.yml").read_text("utf-8")
    card.write_text(text.replace("not stated", "A clinic"), "utf-8")
    told = Recorder()
    given = replace(options, card=card)
    fit(again / "my-notes.jsonl", again / "out", given, told)
    assert told.steps == ["card", "package"]
    assert spacy.load(again / "out" / "pipeline").meta["author"] == "A clinic"


def test_an_output_of_something_else_or_in_use_is_refused(options, tmp_path):
    notes, output = write_notes(tmp_path / "notes.jsonl"), tmp_path / "out"
    output.mkdir()
    (output / "thesis.txt").write_text("mine")
    with pytest.raises(BtlError, match="exists and is not of `btl fit`"):
        fit(notes, output, options)
    assert files(output) == {"thesis.txt"}
    with pytest.raises(BtlError, match="would be read as notes"):
        fit(tmp_path, tmp_path / "out", options)
    other = tmp_path / "other"
    (other / ".fit").mkdir(parents=True)
    with (
        FileLock(other / ".fit" / "lock"),
        pytest.raises(BtlError, match="another process is working on it"),
    ):
        fit(notes, other, options)


def test_what_cannot_be_used_is_said_before_anything_is_trained(options, tmp_path):
    notes, output = write_notes(tmp_path / "notes.jsonl"), tmp_path / "out"
    bare = tmp_path / "bare.jsonl"
    bare.write_text('{"text": "given aspirin daily", "ents": []}\n{"text": "no", "ents": []}\n')
    two = tmp_path / "two.jsonl"
    lines = [json.dumps({"text": text, "ents": ents}) for text, ents in SENTENCES[:2]]
    two.write_text("\n".join(lines))
    (tmp_path / "bad.yml").write_text("author: me")
    (tmp_path / "empty").mkdir()
    for path, changes, message in (
        (tmp_path / "gone", {}, "gone: no such file or folder"),
        (bare, {}, r"none of its 2 notes has a mention"),
        (two, {}, r"2 of 2 notes have a mention.*At least 3 are needed"),
        (notes, {"encoder": "./no-such-folder"}, "'./no-such-folder' is not a folder"),
        (notes, {"encoder": str(tmp_path / "empty")}, "config.json is missing"),
        (notes, {"min_mentions": 1000}, "of its 56 mentions none is left"),
        (notes, {"lang": "qq"}, "spaCy cannot tokenise the language 'qq'"),
        (notes, {"name": "my-notes"}, "A package cannot be called 'my-notes'"),
        (notes, {"version": "one"}, "'one' is no version"),
        (notes, {"card": tmp_path / "bad.yml"}, r"bad\.yml: "),
        (notes, {"patients": tmp_path / "gone.csv"}, r"gone\.csv"),
    ):
        with pytest.raises(BtlError, match=message) as error:
            fit(path, output, replace(options, **changes))
        assert "fever" not in str(error.value)
        assert not (output / ".fit" / "networks").exists()
        assert not (output / "pipeline").exists()


def test_few_documents_and_one_type_give_a_result_and_a_caution(options, tmp_path):
    notes = tmp_path / "few.jsonl"
    records = [{"text": "no fever today" + i * " .", "ents": [[3, 8, "Sign"]]} for i in range(5)]
    notes.write_text("\n".join(map(json.dumps, records)))
    told = Recorder()
    lines = fit(notes, tmp_path / "out", replace(options, effort="small"), told)
    assert lines[0].startswith("Learned 1 type from 3 documents")
    assert any("5 documents are too few" in text for text in told.cautions)
    assert spacy.load(tmp_path / "out" / "pipeline").get_pipe("ner").labels == ("Sign",)


def test_types_that_are_too_rare_or_in_one_part_only_are_named(options, tmp_path):
    """One has two mentions; one has six, in one document."""
    more = [
        {"id": "rare", "text": "arm arm", "ents": [[0, 3, "Rare"], [4, 7, "Rare"]]},
        {
            "id": "lump",
            "text": "left a left a left a left a left a left",
            "ents": [[start, start + 4, "Lump"] for start in range(0, 36, 7)],
        },
    ]
    notes = write_notes(tmp_path / "notes.jsonl", 5, more=more)
    told = Recorder()
    lines = fit(notes, tmp_path / "out", replace(options, effort="small"), told)
    cautions = " ".join(told.cautions)
    assert told.chosen["min-mentions"].value == 5
    assert "Not learned, with too few mentions: Rare (2)." in lines
    assert "since no" in cautions
    assert "Lump" in cautions
    assert "Rare" not in cautions


def test_mentions_that_overlap_choose_spans_key(options, tmp_path):
    text = "severe fever and cough"
    ents = [[0, 12, "Sign"], [0, 6, "Severity"], [17, 22, "Sign"]]
    records = [{"text": text + i * " .", "ents": ents} for i in range(8)]
    notes, told = tmp_path / "notes.jsonl", Recorder()
    notes.write_text("\n".join(map(json.dumps, records)))
    fit(notes, tmp_path / "out", options, told)
    assert told.chosen["overlapping"].value is True
    assert told.chosen["networks"].value == ["btl"]
    nlp = spacy.load(tmp_path / "out" / "pipeline")
    ner = nlp.get_pipe("ner")
    assert ner.spans_key == "btl"
    loss = nlp.config["components"]["ner"]["loss"]
    assert (loss["competition"], loss["class_weights"]) == ("pair", "fourth_root_odds")
    told = Recorder()
    flat = replace(options, overlapping=False, effort="small")
    fit(notes, tmp_path / "out", flat, told)
    assert told.steps[0] == "train btl"
    assert spacy.load(tmp_path / "out" / "pipeline").get_pipe("ner").spans_key is None


def test_two_hundred_types(options, tmp_path):
    """Many types, each in every document."""
    words = [f"{a}{b}" for a in "abcdefghijklmnopqrst" for b in "abcdefghij"]
    records = []
    for n in range(6):
        start = 2 * n  # the same places would be taken for the same note
        ents = [[start + 3 * i, start + 3 * i + 2, f"T{i}"] for i in range(len(words))]
        records.append({"text": n * ". " + " ".join(words), "ents": ents})
    notes = tmp_path / "many.jsonl"
    notes.write_text("\n".join(map(json.dumps, records)))
    lines = fit(notes, tmp_path / "out", replace(options, effort="small"))
    assert lines[0].startswith("Learned 200 types")
    assert len(lines) <= 12
    assert max(map(len, lines[:-3])) < 500


def test_the_same_seed_gives_the_same_pipeline_and_another_one_another(finished, options, tmp_path):
    folder = finished[0]
    fit(folder / "my-notes.jsonl", tmp_path / "a", options)
    assert fingerprint(tmp_path / "a" / "pipeline") == fingerprint(folder / "out" / "pipeline")
    fit(folder / "my-notes.jsonl", tmp_path / "a", replace(options, seed=1))
    assert fingerprint(tmp_path / "a" / "pipeline") != fingerprint(folder / "out" / "pipeline")


def test_no_path_of_this_machine_is_in_the_pipeline(finished):
    trace = str(finished[0]).encode()
    for path in (finished[0] / "out" / "pipeline").rglob("*"):
        assert path.is_dir() or trace not in path.read_bytes()
