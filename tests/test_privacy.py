"""No error, warning or log line of ours holds text of a note: a planted word never shows."""

import json
import logging
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import spacy
from spacy.cli._util import app
from spacy.language import Language
from spacy.tokens import Doc, DocBin
from spacy.training import Example
from typer.testing import CliRunner

import spacy_btl.cli  # noqa: F401  (adds the commands)
from tests.conftest import SENTENCES, make_examples

MARKER = "zyxwvut"
BLANK = spacy.blank("en")
NOTE = f"{MARKER} had severe fever and cough"
RECORD = {"text": NOTE, "ents": [[19, 24, "Sign"]]}


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Callable[[Callable[[], Any]], str]:
    """Call something; return the errors, with their causes, the warnings and the log lines."""

    def listen(action: Callable[[], Any]) -> str:
        heard = []
        with warnings.catch_warnings(record=True) as caught, caplog.at_level(logging.DEBUG):
            warnings.simplefilter("always")
            try:
                action()
            except Exception as error:
                heard += traceback.format_exception(error)
        heard += [str(warning.message) for warning in caught]
        heard += [f"{record.getMessage()} {record.exc_text}" for record in caplog.records]
        return "\n".join(heard)

    return listen


@pytest.fixture
def command(said) -> Callable[..., str]:
    """Run a command; return all that it prints, warns of and logs, white space normalised."""

    def run(*args: str | Path) -> str:
        results = []
        heard = said(lambda: results.append(CliRunner().invoke(app, ["btl", *map(str, args)])))
        (result,) = results
        assert result.exception is None or isinstance(result.exception, SystemExit)
        return " ".join(f"exit {result.exit_code} {result.output} {heard}".split())

    return run


def save(path: Path, *docs: Doc) -> Path:
    DocBin(docs=docs, store_user_data=True).to_disk(path)
    return path


def annotated(*entities: tuple[int, int, str], text: str = NOTE) -> Doc:
    doc = BLANK(text)
    doc.ents = [doc.char_span(*entity) for entity in entities]
    return doc


BRAT = {
    "mention offsets outside the text": (NOTE, f"T1\tSign 19 999\t{MARKER}\n"),
    "mention text unlike": (NOTE, f"T1\tSign 19 24\t{MARKER}\n"),
    "line": (NOTE, f"{MARKER} {NOTE}\n"),
    "no .ann": (NOTE, None),
    "no .txt": (None, f"T1\tSign 0 7\t{MARKER}\n"),
    "UTF-8": (NOTE.encode() + b"\xff", f"T1\tSign 0 7\t{MARKER}\n"),
}


@pytest.mark.parametrize("problem", BRAT)
def test_broken_brat(command, tmp_path, problem):
    text, annotation = BRAT[problem]
    folder = tmp_path / "brat"
    folder.mkdir()
    for content, suffix in ((text, ".txt"), (annotation, ".ann")):
        if content is not None:
            data = content if isinstance(content, bytes) else content.encode()
            (folder / f"a{suffix}").write_bytes(data)
    (folder / "b.txt").write_text(f"{NOTE}, well")
    (folder / "b.ann").write_text("T1\tSign 19 24\tfever\n")
    heard = command("convert", folder, tmp_path / "c.spacy")
    assert "exit 1" in heard
    assert f"{folder}/a" in heard
    assert MARKER not in heard
    heard = command("convert", folder, tmp_path / "c.spacy", "--skip-invalid")
    assert "exit 0" in heard
    assert "skipped" in heard
    assert MARKER not in heard


JSON_LINES = [
    '{"text": "' + NOTE,
    NOTE,
    json.dumps([NOTE]),
    json.dumps({"txt": NOTE}),
    json.dumps({"text": [NOTE], "ents": []}),
    json.dumps({**RECORD, "ents": NOTE}),
    json.dumps({**RECORD, "ents": [[NOTE, 3, "Sign"]]}),
    json.dumps({**RECORD, "ents": [[24, 19, "Sign"]]}),
    json.dumps({**RECORD, "ents": [[0, 999, "Sign"]]}),
    json.dumps({"text": NOTE, "spans": [{"start": 0, "label": "Sign", "text": MARKER}]}),
]


@pytest.mark.parametrize("line", JSON_LINES, ids=range(len(JSON_LINES)))
def test_broken_json_lines(command, tmp_path, line):
    file = tmp_path / "notes.jsonl"
    file.write_text(f"{json.dumps(RECORD)}\n{line}\n")
    heard = command("convert", file, tmp_path / "c.spacy")
    assert "exit 1" in heard
    assert "line 2" in heard
    assert MARKER not in heard
    heard = command("convert", file, tmp_path / "c.spacy", "--skip-invalid")
    assert "exit 0" in heard
    assert MARKER not in heard


@pytest.fixture
def broken(tmp_path) -> dict[str, Path]:
    """`.spacy` files of the planted note that something is wrong with."""
    whole = save(tmp_path / "whole.spacy", annotated((19, 24, "Sign")))
    (tmp_path / "cut.spacy").write_bytes(whole.read_bytes()[:-9])
    (tmp_path / "text.spacy").write_text(NOTE)
    return {
        "one note": whole,
        "cut": tmp_path / "cut.spacy",
        "text": tmp_path / "text.spacy",
        "no entity": save(tmp_path / "plain.spacy", annotated()),
        "no annotation": save(tmp_path / "missing.spacy", BLANK(NOTE)),
        "unknown type": save(tmp_path / "unknown.spacy", annotated((0, 7, "Person"))),
    }


@pytest.mark.parametrize(
    ("args", "corpus", "expected"),
    [
        (["stats"], "cut", "not a .spacy file"),
        (["stats"], "text", "not a .spacy file"),
        (["stats"], "no annotation", "no token has entity annotation"),
        (["stats"], "one note", "Sign"),
        (["split"], "cut", "not a .spacy file"),
        (["split"], "one note", "Too few documents"),
        (["calibrate"], "cut", "not a .spacy file"),
        (["calibrate"], "no entity", "no entity"),
        (["calibrate"], "unknown type", "'Person', which this model does not know"),
        (["calibrate"], "one note", "annotated tokens to search"),
        (["evaluate"], "cut", "not a .spacy file"),
        (["evaluate"], "no entity", "has no entity"),
        (["evaluate"], "unknown type", "'Person'"),
    ],
)
def test_commands_over_broken_corpora(
    command, broken, trained_path, tmp_path, args, corpus, expected
):
    model = [trained_path] if args[0] in ("calibrate", "evaluate") else []
    out = [tmp_path / "out"] if args[0] in ("calibrate", "split") else []
    heard = command(*args, *model, broken[corpus], *out)
    assert expected in heard
    assert MARKER not in heard


def test_commands_over_a_damaged_calibrator(command, trained_path, tmp_path):
    nlp = spacy.load(trained_path)
    nlp.add_pipe("knn_calibrator").fit(make_examples(nlp))
    nlp.to_disk(tmp_path / "model")
    (tmp_path / "model" / "knn_calibrator" / "datastore.safetensors").write_text(NOTE)
    corpus = save(tmp_path / "c.spacy", annotated((19, 24, "Sign")))
    for args in (["evaluate"], ["calibrate"]):
        out = [tmp_path / "out"] if args == ["calibrate"] else []
        heard = command(*args, tmp_path / "model", corpus, *out)
        assert "datastore.safetensors: it is damaged" in heard
        assert MARKER not in heard


@pytest.fixture
def nlp(trained_path) -> Language:
    """transformer > ner > knn_calibrator, unfitted."""
    nlp = spacy.load(trained_path)
    nlp.add_pipe("knn_calibrator")
    return nlp


@Language.component("tests_spoil")
def spoil(doc: Doc) -> Doc:
    doc._.token_logits = None
    return doc


def test_a_note_that_fails_in_the_calibrator(said, nlp):
    nlp.get_pipe("knn_calibrator").fit(make_examples(nlp))
    nlp.add_pipe("tests_spoil", before="knn_calibrator")
    for action in (lambda: nlp(NOTE), lambda: list(nlp.pipe([NOTE, NOTE]))):
        heard = said(action)
        assert "without token logits" in heard
        assert MARKER not in heard


def test_a_note_that_fails_in_ner(said, nlp):
    nlp.get_pipe("ner").cfg["labels"].clear()  # the network has more tags than the pipe
    heard = said(lambda: list(nlp.pipe([NOTE])))
    assert "has not the 1 outputs that its types need" in heard
    assert MARKER not in heard


def test_warnings_about_notes(said, nlp):
    heard = said(lambda: nlp(f"{NOTE} \u200b"))
    assert "no wordpiece for 1 of 7 tokens" in heard
    assert "is not fitted" in heard
    assert MARKER not in heard


def test_training_on_notes_that_do_not_fit(said, nlp):
    doc = nlp.make_doc(NOTE)
    unknown = Example.from_dict(doc, {"entities": [(0, 7, "Person")]})
    plain = Example.from_dict(doc, {"entities": []})
    fresh = spacy.blank("en")
    fresh.add_pipe("btl_ner")
    for action, expected in (
        (lambda: nlp.update([unknown]), "'Person', which this model does not know"),
        (lambda: nlp.get_pipe("knn_calibrator").fit([unknown]), "'Person', which this model"),
        (lambda: nlp.get_pipe("knn_calibrator").fit([plain]), "has no entity"),
        (lambda: nlp.evaluate([unknown]), "'Person'"),
        (lambda: fresh.initialize(lambda: [plain]), "found no entity type"),
    ):
        heard = said(action)
        assert expected in heard
        assert MARKER not in heard


def test_ordinary_use_says_nothing_of_the_notes(said, command, nlp, tmp_path):
    """At the DEBUG level of every logger, from corpus to entities."""
    records = [{**RECORD, "text": f"{NOTE} {number}"} for number in range(6)]
    (tmp_path / "notes.jsonl").write_text("\n".join(map(json.dumps, records)))
    corpus, model, out = tmp_path / "c.spacy", tmp_path / "model", tmp_path / "out"
    nlp.remove_pipe("knn_calibrator")
    nlp.to_disk(model)
    for args in (
        ["convert", tmp_path / "notes.jsonl", corpus],
        ["stats", corpus],
        ["split", corpus, tmp_path / "parts"],
        ["calibrate", model, corpus, out],
        ["evaluate", out, corpus, "--versus", model, "--output", tmp_path / "metrics"],
    ):
        heard = command(*args)
        assert "exit 0" in heard
        assert MARKER not in heard
    for name in ("metrics.json", "report.html"):
        assert MARKER not in (tmp_path / "metrics" / name).read_text("utf-8")
    calibrated = spacy.load(out)
    assert MARKER not in said(lambda: list(calibrated.pipe([NOTE, SENTENCES[0][0]] * 3)))


def test_a_saved_calibrator_holds_no_text_and_no_note_id(nlp, tmp_path):
    docs = [annotated((19, 24, "Sign")) for _ in range(6)]
    for number, doc in enumerate(docs):
        doc.user_data["note_id"] = f"patient-{MARKER}-{number}"
    pipe = nlp.get_pipe("knn_calibrator")
    pipe.fit(Example(nlp.make_doc(doc.text), doc) for doc in docs)
    pipe.to_disk(tmp_path)
    assert MARKER.encode() not in (tmp_path / "datastore.safetensors").read_bytes()
