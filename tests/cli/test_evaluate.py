"""`python -m spacy btl evaluate`, as its user sees it."""

import json
from pathlib import Path

import pytest
import spacy
from spacy.cli._util import app
from spacy.vocab import Vocab
from typer.testing import CliRunner

import spacy_btl.cli  # noqa: F401  (adds the commands)
from spacy_btl.corpora.docbin import read_docs, write_docs
from spacy_btl.evaluation.evaluate import evaluate
from spacy_btl.metrics.measures import MEASURES, headline
from tests.conftest import make_examples


def run(*args: str | Path, columns: int = 80) -> tuple[int, str]:
    """The exit status and the output."""
    runner = CliRunner(env={"COLUMNS": str(columns)})
    result = runner.invoke(app, ["btl", "evaluate", *map(str, args)])
    return result.exit_code, result.output


def words(output: str) -> list[list[str]]:
    return [line.split() for line in output.splitlines()]


def percent(value: float) -> str:
    return f"{100 * value:.1f}%"


@pytest.fixture(scope="module")
def calibrated(trained_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    nlp = spacy.load(trained_path)
    nlp.add_pipe("knn_calibrator", config={"n_neighbors": 3}).fit(make_examples(nlp))
    path = tmp_path_factory.mktemp("calibrated")
    nlp.to_disk(path)
    return path


def test_prints_how_many_patients_there_are(calibrated, corpus_path, tmp_path):
    docs = read_docs(corpus_path, Vocab())
    for number, doc in enumerate(docs):
        doc.user_data["patient_id"] = number // 2
    write_docs(tmp_path / "corpus.spacy", docs)
    status, output = run(calibrated, tmp_path / "corpus.spacy")
    assert status == 0, output
    assert "14 mentions in 8 documents of 4 patients" in output


@pytest.mark.parametrize("columns", [80, 120])
def test_prints_a_row_per_type_and_the_headline(calibrated, corpus_path, columns):
    status, output = run(calibrated, corpus_path, columns=columns)
    assert status == 0, output
    metrics = evaluate(str(calibrated), corpus_path)
    rows = words(output)
    start = rows.index(["type", "mentions", "precision", "recall", "F1"])
    assert rows[start + 1 : start + 5] == [
        [
            label,
            str(row["support"]),
            *(percent(row[key]["value"]) for key in ("ents_p", "ents_r", "ents_f")),
        ]
        for label, row in metrics["types"].items()
    ]
    assert "14 mentions in 8 documents" in output
    for name, measure in headline(metrics["scores"]).items():
        row = metrics["scores"][name]
        figures = [percent(row["value"]), percent(row["low"]), "to", percent(row["high"])]
        assert [*measure.title.split(), *figures] in rows
    assert max(map(len, output.splitlines())) <= max(columns, len(str(corpus_path)))


def test_writes_figures_and_a_page_without_text(trained_path, corpus_path, tmp_path):
    folder = tmp_path / "new" / "metrics"
    status, output = run(trained_path, corpus_path, "--output", folder, "--seed", "3")
    assert status == 0, output
    assert "Wrote" in output
    written = json.loads((folder / "metrics.json").read_text())
    expected = evaluate(str(trained_path), corpus_path, seed=3)
    assert written == expected
    assert list(written["types"]) == list(expected["types"])
    page = (folder / "report.html").read_text("utf-8")
    assert expected["model"] in page
    assert "aspirin daily" not in page
    assert sorted(path.name for path in folder.iterdir()) == ["metrics.json", "report.html"]


@pytest.mark.filterwarnings("ignore:The evaluation data holds")
def test_text_goes_into_the_page_alone_and_only_if_asked(tmp_path, corpus_path):
    nlp = spacy.blank("en")
    nlp.add_pipe("entity_ruler").add_patterns([{"label": "Test", "pattern": "aspirin"}])
    nlp.to_disk(tmp_path / "model")
    args = (tmp_path / "model", corpus_path, "--output", tmp_path / "out")
    for asked in (False, True):
        status, output = run(*args, *(["--with-text", "--force"] if asked else []))
        assert status == 0, output
        assert "daily" not in output
        assert "daily" not in (tmp_path / "out" / "metrics.json").read_text()
        assert ("daily" in (tmp_path / "out" / "report.html").read_text("utf-8")) == asked


def test_shows_the_differences_to_another_model(calibrated, trained_path, corpus_path, tmp_path):
    status, output = run(calibrated, corpus_path, "--versus", trained_path, "--output", tmp_path)
    assert status == 0, output
    versus = json.loads((tmp_path / "metrics.json").read_text())["versus"]
    assert versus["model"] in output
    rows = words(output)
    for name, row in versus["scores"].items():
        difference, low, high = (f"{100 * row[key]:+.1f}" for key in ("difference", "low", "high"))
        figures = [difference, low, "to", high, f"{row['p_holm']:.4f}"]
        assert [*MEASURES[name].title.split(), *figures] in rows


@pytest.mark.filterwarnings("ignore:The evaluation data holds")
def test_a_pipeline_of_other_pipes_shows_the_figures_that_it_has(corpus_path, tmp_path):
    nlp = spacy.blank("en")
    nlp.add_pipe("entity_ruler").add_patterns([{"label": "[Test]", "pattern": "crp"}])
    nlp.to_disk(tmp_path)
    status, output = run(tmp_path, corpus_path)
    assert status == 0, output
    assert words(output).count(["[Test]", "0", *["0.0%"] * 3]) == 1
    assert "entity micro F1" in output
    assert "ECE" not in output


def test_errors_are_told_in_a_line(trained_path, corpus_path, tmp_path):
    gone = tmp_path / "gone.spacy"
    (tmp_path / "file").write_text("")
    for args, message in (
        (("en_gone", corpus_path), "Cannot load the pipeline 'en_gone'"),
        ((trained_path, gone), "gone.spacy: no such file"),
        ((trained_path, corpus_path, "--output", tmp_path / "file"), "cannot be written"),
        ((trained_path, corpus_path, "--with-text"), "--output DIR"),
        ((trained_path, corpus_path, "--versus", "en_gone"), "pipeline 'en_gone'"),
    ):
        status, output = run(*args)
        assert status == 1
        assert message in output
        assert "Traceback" not in output
