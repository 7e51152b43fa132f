"""The command, and where else a promise is shown: the summary of `annotate` and the page."""

import json
from pathlib import Path

import pytest
import spacy
from spacy.cli._util import app
from typer.testing import CliRunner

import spacy_btl.cli  # noqa: F401  (adds the commands)
from spacy_btl.corpora.docbin import write_docs
from spacy_btl.guarantee.promises import META, Promise, forget_promises
from spacy_btl.web.session import opened
from tests.conftest import make_corpus

TOLD = "recall of Sign at least 80.0%, with probability 95.0%: by 40 documents of unseen.spacy with"


def run(*args: str | Path) -> tuple[int, str]:
    """The exit status, and the output with its white space normalised."""
    result = CliRunner().invoke(app, ["btl", *map(str, args)])
    return result.exit_code, " ".join(result.output.split())


@pytest.fixture(scope="module")
def notes(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("notes") / "unseen.spacy"
    write_docs(path, make_corpus(spacy.blank("en"), repeat=20, ending=" note"))
    return path


@pytest.fixture(scope="module")
def promised(calibrated_path, notes, tmp_path_factory) -> tuple[Path, str]:
    """A pipeline with a promise, and what the command printed."""
    path = tmp_path_factory.mktemp("promised") / "out"
    status, output = run("guarantee", calibrated_path, notes, path, "--recall", "Sign=0.8")
    assert status == 0, output
    return path, output


def test_the_command_says_what_is_promised_and_what_it_costs(promised):
    path, output = promised
    assert "Sign recall 80.0%" in output
    assert "Each promise is kept with probability 95.0%" in output
    assert f"Saved to {path}" in output


def test_an_error_is_one_line_and_leaves_nothing(calibrated_path, notes, tmp_path, promised):
    status, output = run("guarantee", calibrated_path, notes, tmp_path / "a", "--recall", "Sign=1")
    assert status == 1
    assert output.startswith("✘ Sign: 1 is not between 0 and 1, both excluded. 90% is 0.9. ")
    twice = ["--precision", "Sign=0.5", "--precision", "Sign=0.6"]
    status, output = run("guarantee", calibrated_path, notes, tmp_path / "a", *twice)
    assert status == 1
    assert "Sign is there twice" in output
    assert not (tmp_path / "a").exists()
    status, output = run("guarantee", calibrated_path, notes, promised[0], "--recall", "Sign=0.5")
    assert status == 1
    assert "exists" in output


def test_annotate_repeats_it(promised, calibrated_path, tmp_path):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "one.txt").write_text("the patient had severe fever and cough")
    status, output = run("annotate", promised[0], tmp_path / "notes", tmp_path / "a.jsonl")
    assert status == 0, output
    assert f"Promised, for notes like those that it rests on: {TOLD}" in output
    rows = [json.loads(line) for line in (tmp_path / "a.jsonl").open()]
    covered = {row["promise"] for row in rows if row["label"] == "Sign"}
    assert covered == {"recall 0.8, risk 0.05, overlap"}
    assert {row["promise"] for row in rows if row["label"] != "Sign"} <= {None}
    arguments = (promised[0], tmp_path / "notes", tmp_path / "c.jsonl", "--min-confidence", "0.1")
    assert run("annotate", *arguments)[0] == 0
    assert "promise" not in json.loads((tmp_path / "c.jsonl").open().readline())
    _, output = run("annotate", calibrated_path, tmp_path / "notes", tmp_path / "b.jsonl")
    assert "Promised" not in output


def test_the_page_has_it(promised, calibrated_path):
    (told,) = opened(spacy.load(promised[0])).promises
    assert told.startswith(TOLD)
    assert opened(spacy.load(calibrated_path)).promises == ()


def test_a_pipeline_with_another_encoder_forgets_it(promised):
    nlp = spacy.load(promised[0])
    forget_promises(nlp)
    assert META not in nlp.meta
    forget_promises(nlp)


def test_a_promise_in_words():
    promise = Promise(
        label="Outcome",
        kind="precision",
        level=0.9,
        risk=0.01,
        match="strict",
        documents=1234,
        seen=0.95,
        corpus="ward.spacy",
        date="2026-01-02",
    )
    assert str(promise) == (
        "precision of Outcome at least 90.0%, with probability 99.0%: by 1,234 documents of "
        "ward.spacy with predicted mentions (95.0% seen), 2026-01-02; a mention counts if it has "
        "the boundaries of one of its type"
    )
