"""What `annotate` writes of a pipeline with assertions."""

import csv
import json
import subprocess
import sys

import pyarrow.parquet
import pytest
import spacy
from typer.testing import CliRunner

from spacy_btl.annotate.annotate import Options, annotate_file
from spacy_btl.cli import btl
from spacy_btl.context.assertions import Assertions
from spacy_btl.corpora.report import ConversionReport
from spacy_btl.errors import PipelineError
from spacy_btl.formats.brat import read_brat
from tests.annotate.conftest import write_notes

TEXTS = [(1, "pain in the left arm , no fever"), (2, "the patient had severe fever and cough")]
FIELDS = ["negated", "uncertain", "historical", "hypothetical", "experiencer"]


@pytest.fixture
def annotated(asserted_path, tmp_path):
    """Annotates the notes to an output of a name, and returns its path."""
    notes = write_notes(tmp_path / "notes.jsonl", TEXTS)

    def annotate(name: str):
        annotate_file(str(asserted_path), notes, tmp_path / name, Options(with_text=True))
        return tmp_path / name

    return annotate


def test_rows_have_a_column_for_each(annotated):
    table = pyarrow.parquet.read_table(annotated("out.parquet"))
    assert table.schema.names[-5:] == FIELDS
    assert [str(table.schema.field(name).type) for name in FIELDS] == 4 * ["bool"] + ["string"]
    lines = annotated("out.jsonl").read_text("utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    assert rows == table.to_pylist()
    found = {(row["note_id"], row["text"]): [row[name] for name in FIELDS] for row in rows}
    no = [False, False, False, "patient"]
    assert found[1, "fever"] == [True, *no]
    assert found[1, "pain"] == found[2, "fever"] == [False, *no]


def test_a_pipeline_without_has_no_columns(calibrated_path, tmp_path):
    notes = write_notes(tmp_path / "notes.jsonl", TEXTS)
    annotate_file(str(calibrated_path), notes, tmp_path / "out.parquet")
    assert not set(pyarrow.parquet.read_table(tmp_path / "out.parquet").schema.names) & set(FIELDS)
    annotate_file(str(calibrated_path), notes, tmp_path / "brat")
    assert "Negated" not in (tmp_path / "brat" / "annotation.conf").read_text()


def test_brat_has_attributes_that_convert_reads(annotated):
    folder = annotated("brat")
    assert "\nNegated\tArg:<ENTITY>\n" in (folder / "annotation.conf").read_text()
    report = ConversionReport()
    found = {
        note.text[slice(*mention.enclosing_span)]: mention.assertions
        for note in read_brat(folder, report=report)
        if note.id == "1"
        for mention in note.mentions
    }
    assert found == {"pain": (), "fever": ("negated",)}
    assert not report.remarks


def test_note_nlp_says_what_the_patient_has(annotated):
    with annotated("note_nlp.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    found = {(row["note_id"], row["lexical_variant"]): row for row in rows}
    assert found["1", "fever"]["term_exists"] == "N"
    assert found["1", "pain"]["term_exists"] == "Y"
    assert found["1", "fever"]["term_temporal"] == "present"
    assert found["1", "fever"]["term_modifiers"].endswith(
        ";negation=true;subject=patient;conditional=false;uncertain=false;history=false"
    )


def test_types_without_assertions_have_nulls(asserted_path, tmp_path):
    nlp = spacy.load(asserted_path)
    nlp.remove_pipe("btl_context")
    nlp.add_pipe("btl_context", config={"types": ["Other"]})
    nlp.to_disk(tmp_path / "model")
    notes = write_notes(tmp_path / "notes.jsonl", TEXTS)
    for name in ("out.parquet", "note_nlp.csv"):
        annotate_file(str(tmp_path / "model"), notes, tmp_path / name)
    rows = pyarrow.parquet.read_table(tmp_path / "out.parquet").to_pylist()
    assert {row[name] for row in rows for name in FIELDS} == {None}
    assert "negation=" not in (tmp_path / "note_nlp.csv").read_text()


CODE = """
from spacy.language import Language

@Language.component("theirs_of_a_file")
def theirs(doc):
    return doc
"""


@pytest.mark.slow
def test_pipes_of_others_are_registered_by_code(calibrated_path, tmp_path):
    (tmp_path / "code.py").write_text(CODE)
    (tmp_path / "broken.py").write_text("import no_such_module")
    make = (
        "import spacy, sys; from spacy.util import import_file; import_file('c', sys.argv[1]);"
        "nlp = spacy.load(sys.argv[2]); nlp.add_pipe('theirs_of_a_file'); nlp.to_disk(sys.argv[3])"
    )
    model, notes = tmp_path / "model", write_notes(tmp_path / "notes.jsonl", TEXTS)
    command = [sys.executable, "-c", make, str(tmp_path / "code.py"), str(calibrated_path)]
    subprocess.run([*command, str(model)], check=True)
    arguments = ["annotate", str(model), str(notes), str(tmp_path / "out.jsonl")]
    result = CliRunner().invoke(btl, arguments)
    assert "not installed" in " ".join(result.output.split())
    with pytest.raises(PipelineError, match=r"broken\.py"):
        annotate_file(
            str(model), notes, tmp_path / "out.jsonl", Options(code=tmp_path / "broken.py")
        )
    result = CliRunner().invoke(btl, [*arguments, "--code", str(tmp_path / "code.py")])
    assert result.exit_code == 0, result.output


def test_the_fields_are_those_of_assertions():
    assert list(Assertions._fields) == FIELDS
