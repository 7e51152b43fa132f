"""`python -m spacy btl convert`, as its user sees it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from spacy.cli._util import app
from spacy.vocab import Vocab
from typer.testing import CliRunner

import spacy_btl.cli  # noqa: F401  (adds the commands)
from spacy_btl.corpora.docbin import read_docs

SECRET = "Zyxwvut"  # stands for what must never be printed


@pytest.fixture
def src(tmp_path: Path) -> Path:
    records = [
        {"text": f"{SECRET} has fever", "ents": [[12, 17, "Sign"], [7, 8, "Sign"]]},
        {"text": f"{SECRET} is old", "ents": [[11, 14, "[Age]"]]},
        {"text": SECRET, "ents": [[0, 99, "Sign"]]},
        {"text": SECRET, "spans": [], "answer": "reject"},
    ]
    path = tmp_path / "notes.jsonl"
    path.write_text("\n".join(json.dumps(record) for record in records) + "\n{broken")
    return path


def run(*args: str | Path) -> tuple[int, str]:
    """The exit status, and the output with its white space normalised."""
    result = CliRunner().invoke(app, ["btl", "convert", *map(str, args)])
    return result.exit_code, " ".join(result.output.split())


def test_prints_a_report(src: Path, tmp_path: Path) -> None:
    out = tmp_path / "corpus.spacy"
    status, output = run(src, out, "--skip-invalid")
    assert status == 0, output
    assert out.is_file()
    assert json.loads((tmp_path / "corpus.report.json").read_text())["mentions"]["kept"] == 2
    assert SECRET not in (tmp_path / "corpus.report.json").read_text()
    for line in (
        "notes read 5",
        "- skipped: mention offsets outside the text 1",
        "- skipped: answer: reject 1",
        "- skipped: broken JSON 1",
        "= notes written 2",
        "mentions read 3 3",
        "- skipped: mention of white space only 1 1",
        "= mentions kept 2 2",
        "types kept 2",
        "types dropped 0",
        "tokens 6",
        "of these without annotation, not trained on or scored 0",
        "type read kept spans_key dropped overlap skipped",
        "Sign 2 1 1 0 0 1",
        "[Age] 1 1 1 0 0 0",
        "of their mentions, with one label per token, as overlapping or invalid: Sign 50% of 2.",
    ):
        assert line in output
    assert SECRET not in output


def test_names_the_types_it_drops(src: Path, tmp_path: Path) -> None:
    _, output = run(src, tmp_path / "c.spacy", "--skip-invalid", "--drop-types", "Sign")
    assert "- dropped: type excluded 1 1" in output
    assert "Sign 2 0 0 1 0 1" in output
    lines = [{"text": "fever, old", "ents": [[0, 5, "Sign"], [7, 10, "[Age]"]]}] * 2
    lines.append({"text": "fever, ill", "ents": [[0, 5, "Sign"]]})
    src.write_text("\n".join(json.dumps(line) for line in lines))
    _, output = run(src, tmp_path / "c.spacy", "--min-mentions", "2", "--force")
    assert "- dropped: type too rare 1 1" in output
    assert "dropped for having fewer than 2 mentions: [Age] (1)" in output
    assert "- skipped: copy of another note, with the same annotation 1" in output


def test_chooses_types_and_which_of_two_mentions_stays(tmp_path: Path) -> None:
    path, out = tmp_path / "notes.jsonl", tmp_path / "corpus.spacy"
    ents = [[0, 16, "Sign"], [7, 16, "Site"], [18, 21, "Age"]]
    path.write_text(json.dumps({"text": "pain of the knee, old", "ents": ents}))

    def entities(*options: str) -> list[str]:
        status, output = run(path, out, *options, "--force")
        assert status == 0, output
        return [ent.label_ for ent in read_docs(out, Vocab())[0].ents]

    assert entities() == ["Sign", "Age"]
    assert entities("--overlaps", "inner") == ["Site", "Age"]
    assert entities("--drop-types", "Sign, Age") == ["Site"]
    assert entities("--types", "Sign,Age") == ["Sign", "Age"]
    status, output = run(path, out, "--force", "--types", "None")
    assert status == 1
    assert "No mention is of type None. The types are: Age, Sign, Site." in output


def test_says_in_what_units_offsets_are_and_warns_of_a_corpus_without_mentions(
    tmp_path: Path,
) -> None:
    path = tmp_path / "notes.jsonl"
    span = {"start": 3, "end": 8, "label": "Sign", "text": "fever"}
    path.write_text(json.dumps({"text": "\U0001f912 fever", "spans": [span]}))
    _, output = run(path, tmp_path / "c.spacy")
    assert "notes whose offsets count UTF-16 code units 1" in output
    path.write_text(json.dumps({"text": "well", "ents": []}))
    status, output = run(path, tmp_path / "c.spacy", "--force")
    assert status == 0
    assert "No note has a mention" in output


def test_says_whose_notes_it_converts(src: Path, tmp_path: Path) -> None:
    out, file = tmp_path / "corpus.spacy", tmp_path / "patients.csv"
    file.write_text("note_id,patient_id\nline-000002,p2\nline-000001,p1\n")
    status, output = run(src, out, "--skip-invalid", "--patients", file)
    assert status == 0, output
    docs = read_docs(out, Vocab())
    assert [doc.user_data["patient_id"] for doc in docs] == ["p1", "p2"]
    file.write_text("note_id,patient_id\nline-000001,p1\n")
    status, output = run(src, tmp_path / "other.spacy", "--skip-invalid", "--patients", file)
    assert status == 1
    assert "no patient for 1 of 2 notes. The first is note 2 of" in output
    assert not (tmp_path / "other.spacy").exists()


def test_the_report_of_another_conversion_is_kept_unless_forced(src: Path, tmp_path: Path) -> None:
    report = tmp_path / "corpus.report.json"
    report.write_text("{}")
    status, output = run(src, tmp_path / "corpus.spacy", "--skip-invalid")
    assert status == 1
    assert "corpus.report.json exists: give another name, or --force" in output
    assert report.read_text() == "{}"
    assert run(src, tmp_path / "corpus.spacy", "--skip-invalid", "--force")[0] == 0
    assert json.loads(report.read_text())["notes_read"] == 5


def test_an_error_is_one_line_and_leaves_nothing(src: Path, tmp_path: Path) -> None:
    status, output = run(src, tmp_path / "corpus.spacy")
    assert status == 1
    assert "line 1, mention 2: mention of white space only." in output
    assert SECRET not in output
    assert list(tmp_path.iterdir()) == [src]


@pytest.mark.slow
def test_loading_the_commands_loads_nothing_heavy() -> None:
    code = (
        "import sys, spacy.cli; before = set(sys.modules); import spacy_btl.cli; "
        "new = set(sys.modules) - before; heavy = ('torch', 'sklearn', 'spacy_btl.corpora'); "
        "print('new' if 'spacy_btl.cli' in new else 'old', [n for n in new if n.startswith(heavy)])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout == "new []\n", result.stderr


def test_several_annotators_and_their_agreement(tmp_path: Path) -> None:
    task = {"text": "No fever.", "_input_hash": 7, "_view_id": "ner_manual", "answer": "accept"}
    span = {"start": 3, "end": 8, "label": "Sign"}
    tasks = [
        {**task, "spans": [span], "_annotator_id": "ann"},
        {**task, "spans": [span, {**span, "label": "Sick"}], "_annotator_id": "bob"},
    ]
    src, out = tmp_path / "notes.jsonl", tmp_path / "corpus.spacy"
    src.write_text("\n".join(map(json.dumps, tasks)))
    status, output = run(src, out, "--annotator", "bob")
    assert status == 0, output
    for line in (
        "Read as JSON records.",
        "- skipped: annotation of another annotator of the same document 1",
        "Agreement of annotators: ann (1), bob (1)",
        "Sick 0.000 0 1",
        "Sign 1.000 1 0",
    ):
        assert line in output
    report = json.loads((tmp_path / "corpus.report.json").read_text())
    assert report["agreement"]["Sign"] == {"f1": 1.0, "same": 1, "different": 0, "pairs": 1}
    assert report["annotators"] == {"ann": 1, "bob": 1}
    status, output = run(src, out, "--annotator", "eve", "--force")
    assert status == 1
    assert "No note is annotated by eve. The annotators are: ann, bob." in output


def test_of_many_types_the_most_frequent_are_printed(tmp_path: Path) -> None:
    """Long names are printed whole, since they differ at their ends."""
    types = [f"an_ontology_with_rather_long_names_{i:03}" for i in range(300)]
    ents = [[0, 5, label] for i, label in enumerate(types) for _ in range(2 if i < 40 else 1)]
    lines = ({"text": f"fever {i}", "ents": [one]} for i, one in enumerate(ents))
    src = tmp_path / "notes.jsonl"
    src.write_text("".join(json.dumps(line) + "\n" for line in lines))
    status, output = run(src, tmp_path / "c.spacy", "--min-mentions", "2")
    assert status == 0, output
    assert "…" not in output
    printed = output.replace(" ", "")
    assert "and260rarertypes,inthereport" in printed
    assert "names_051(1)and248more" in printed  # of the types that are dropped
    assert len(json.loads((tmp_path / "c.report.json").read_text())["types"]) == 300
