"""`python -m spacy btl explain`, as its user sees it."""

from pathlib import Path

import pytest
import spacy
from spacy.cli._util import app
from spacy.tokens import DocBin
from typer.testing import CliRunner

import spacy_btl.cli  # noqa: F401  (adds the commands)
from spacy_btl.cli.explain import SHOWN
from spacy_btl.corpora.docbin import write_docs
from spacy_btl.pipeline.explanation import top_neighbors
from spacy_btl.training.calibrate import calibrate
from tests.conftest import SENTENCES
from tests.pipeline.test_overlapping import NOTES as OVERLAPPING
from tests.pipeline.test_overlapping import reference

SETTINGS = {"n_neighbors": 7}
NOTE = SENTENCES[0][0]  # the patient had severe fever and cough


@pytest.fixture(scope="module")
def model(trained_path, corpus_path, tmp_path_factory) -> Path:
    """A calibrated pipeline, fitted to `corpus_path`."""
    output = tmp_path_factory.mktemp("calibrated") / "model"
    calibrate(str(trained_path), corpus_path, output, settings=SETTINGS)
    return output


@pytest.fixture
def note(tmp_path) -> Path:
    path = tmp_path / "note.txt"
    path.write_text(NOTE)
    return path


def run(*args: str | Path, columns: int = 120, stdin: str | None = None) -> tuple[int, str]:
    """The exit status and the output."""
    runner = CliRunner(env={"COLUMNS": str(columns)})
    result = runner.invoke(app, ["btl", "explain", *map(str, args)], input=stdin)
    return result.exit_code, result.output


def test_prints_each_entity_and_its_neighbours(model, note):
    status, output = run(model, note)
    assert status == 0, output
    nlp = spacy.load(model)
    rows = [" ".join(line.split()) for line in output.splitlines()]
    ents = nlp(NOTE).ents
    assert [(ent.text, ent.label_) for ent in ents] == [
        ("severe", "Severity"),
        ("fever", "Sign"),
        ("cough", "Sign"),
    ]
    for ent in ents:
        heading = f"{ent.text}: {ent.label_} ({ent.start_char}-{ent.end_char}), confidence "
        start = rows.index(f"{heading}{ent._.confidence:.2f}")
        assert rows[start + 1] == "label distance weight document offsets"
        for i, n in enumerate(top_neighbors(nlp.get_pipe("knn_calibrator").explain(ent), SHOWN)):
            label, distance, *others = rows[start + 2 + i].split()
            assert label == n.label
            assert float(distance) == pytest.approx(n.distance, abs=0.006)
            assert others == [f"{n.weight:.1%}", str(n.document), f"{n.start}-{n.end}"]
        assert rows[start + 2 + SHOWN] == ""


def test_mentions_that_overlap_are_explained_type_by_type(overlapping_path, tmp_path):
    nlp = spacy.load(overlapping_path)
    corpus = tmp_path / "corpus.spacy"
    write_docs(corpus, [reference(nlp, *each) for each in OVERLAPPING * 3])
    calibrate(str(overlapping_path), corpus, tmp_path / "model", settings=SETTINGS)
    file = tmp_path / "note.txt"
    file.write_text("severe pain in chest")
    status, output = run(tmp_path / "model", file)
    assert status == 0, output
    lines = output.splitlines()
    headings = [line for line in lines if "confidence" in line]
    assert [line.split(" (")[0] for line in headings] == [
        "severe: Severity",
        "severe pain: Sign",
        "chest: Place",
    ]
    of_severity = lines[lines.index(headings[0]) + 2 : lines.index(headings[1])]
    assert {line.split()[0] for line in of_severity if line.strip()} <= {"Severity", "O"}


def test_quotes_the_corpus_where_it_is_given(model, note, corpus_path):
    status, output = run(model, note, "--corpus", corpus_path)
    assert status == 0, output
    lines = [line for line in output.splitlines() if "16-22" in line and "Severity" in line]
    assert any("the patient had [severe] fever and cough" in line for line in lines)
    _, output = run(model, note)
    assert "[severe]" not in output


def test_one_type_or_several(model, note):
    _, output = run(model, note, "--label", "Severity")
    assert "severe: Severity" in output
    assert "fever: Sign" not in output
    _, output = run(model, note, "--label", "Severity", "--label", "Sign")
    assert "severe: Severity" in output
    assert "fever: Sign" in output
    status, output = run(model, note, "--label", "Value", "--label", "Test")
    assert status == 0
    assert "No entity of the type Value or Test was found" in output


def test_reads_standard_input(model, note):
    _, expected = run(model, note)
    status, output = run(model, "-", stdin=NOTE)
    assert status == 0
    assert output == expected


def test_a_note_without_entities(model):
    for text in ("", "  \n", "given aspirin daily"):
        status, output = run(model, "-", stdin=text)
        assert status == 0, output
        assert "No entity was found" in output


def test_an_entity_of_another_pipe_has_no_confidence(model, note, tmp_path):
    nlp = spacy.load(model)
    ruler = nlp.add_pipe("entity_ruler", first=True)
    ruler.add_patterns([{"label": "[bold]Person", "pattern": "patient"}])
    nlp.to_disk(tmp_path / "ruled")
    _, output = run(tmp_path / "ruled", note)
    assert "patient: [bold]Person (4-11)\n" in output
    assert "severe: Severity (16-22), confidence" in output


def test_nothing_in_a_note_is_markup(model, tmp_path):
    nlp = spacy.load(model)
    ruler = nlp.add_pipe("entity_ruler", first=True)
    ruler.add_patterns([{"label": "X", "pattern": [{"ORTH": c} for c in ("[", "red", "]")]}])
    ruler.add_patterns([{"label": "X", "pattern": [{"ORTH": c} for c in (":", "pill", ":")]}])
    nlp.to_disk(tmp_path / "ruled")
    _, output = run(tmp_path / "ruled", "-", stdin="given [red] and :pill: daily")
    assert "[red]: X (6-11)" in output
    assert ":pill:: X (16-22)" in output


def test_errors_are_told_in_a_line(model, trained_path, note, corpus_path, tmp_path):
    nlp = spacy.load(trained_path)
    nlp.add_pipe("knn_calibrator")
    nlp.to_disk(tmp_path / "unfitted")
    blank = spacy.blank("en")
    DocBin(docs=[blank("fever")]).to_disk(tmp_path / "other.spacy")
    (tmp_path / "latin.txt").write_bytes("Größe".encode("latin-1"))
    for args, message in (
        (("en_gone", note), "Cannot load the pipeline 'en_gone'"),
        ((trained_path, note), "has no fitted knn_calibrator"),
        ((tmp_path / "unfitted", note), "has no fitted knn_calibrator"),
        ((model, tmp_path / "latin.txt"), "latin.txt: not UTF-8"),
        ((model, note, "--corpus", tmp_path / "gone.spacy"), "gone.spacy: no such file"),
        ((model, note, "--corpus", tmp_path / "other.spacy"), "other.spacy: not the corpus that"),
    ):
        status, output = run(*args)
        assert status == 1, output
        assert message in output
        assert "Traceback" not in output
        assert "fever" not in output
    status, output = run(model, tmp_path / "gone.txt")
    assert status == 2
    assert "No such file" in " ".join(output.split())
