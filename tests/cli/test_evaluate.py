"""`python -m spacy btl evaluate`, as its user sees it."""

import json
from pathlib import Path

import pytest
import spacy
from spacy.cli._util import app
from typer.testing import CliRunner

import spacy_btl.cli  # noqa: F401  (adds the commands)
from spacy_btl.evaluation.scores import evaluate


def run(*args: str | Path, columns: int = 80) -> tuple[int, str]:
    """The exit status and the output."""
    runner = CliRunner(env={"COLUMNS": str(columns)})
    result = runner.invoke(app, ["btl", "evaluate", *map(str, args)])
    return result.exit_code, result.output


def percent(value: float) -> str:
    return f"{100 * value:.1f}%"


@pytest.mark.parametrize("columns", [80, 120])
def test_prints_a_row_per_type_and_the_headline(trained_path, corpus_path, columns):
    status, output = run(trained_path, corpus_path, columns=columns)
    assert status == 0, output
    scores = evaluate(str(trained_path), corpus_path)
    rows = [line.split() for line in output.splitlines()]
    start = rows.index(["type", "mentions", "precision", "recall", "F1"])
    assert rows[start + 1 : start + 5] == [
        [label, str(row["support"]), percent(row["p"]), percent(row["r"]), percent(row["f"])]
        for label, row in scores["ents_per_type"].items()
    ]
    assert "14 mentions in 8 documents" in output
    for meaning, key in (
        ("entity precision", "ents_p"),
        ("entity recall", "ents_r"),
        ("entity F1, all mentions (micro)", "ents_f"),
        ("entity F1, mean of the types (macro)", "ents_macro_f"),
        ("token recall, mean of the classes (UAR)", "tag_uar"),
        ("token F1, mean of the classes", "tag_macro_f"),
    ):
        assert [*meaning.split(), percent(scores[key])] in rows
    assert max(map(len, output.splitlines())) <= max(columns, len(str(corpus_path)))


def test_writes_the_figures(trained_path, corpus_path, tmp_path):
    file = tmp_path / "new" / "metrics.json"
    status, output = run(trained_path, corpus_path, "--output", file)
    assert status == 0, output
    assert "Wrote" in output
    written = json.loads(file.read_text())
    expected = evaluate(str(trained_path), corpus_path)
    assert {**written, "speed": 0} == {**expected, "speed": 0}
    assert list(written["ents_per_type"]) == list(expected["ents_per_type"])


def test_a_pipeline_of_other_pipes_shows_the_figures_that_it_has(corpus_path, tmp_path):
    nlp = spacy.blank("en")
    nlp.add_pipe("entity_ruler").add_patterns([{"label": "[Test]", "pattern": "crp"}])
    nlp.to_disk(tmp_path)
    status, output = run(tmp_path, corpus_path)
    assert status == 0, output
    assert [line.split() for line in output.splitlines()].count(["[Test]", "0", *["0.0%"] * 3]) == 1
    assert "entity F1, all mentions (micro)" in output
    assert "UAR" not in output


def test_errors_are_told_in_a_line(trained_path, corpus_path, tmp_path):
    gone = tmp_path / "gone.spacy"
    (tmp_path / "file").write_text("")
    for args, message in (
        (("en_gone", corpus_path), "Cannot load the pipeline 'en_gone'"),
        ((trained_path, gone), "gone.spacy: no such file"),
        ((trained_path, corpus_path, "--output", tmp_path / "file" / "x"), "cannot be written"),
    ):
        status, output = run(*args)
        assert status == 1
        assert message in output
        assert "Traceback" not in output
