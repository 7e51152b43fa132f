"""The table is checked against the DDL of the OMOP Common Data Model, version 5.4."""

import csv
import re
from datetime import date, datetime
from io import BytesIO, StringIO

import pyarrow.parquet
import pytest

from spacy_btl.annotate.annotate import Options, annotate_file
from spacy_btl.context.assertions import Assertions
from spacy_btl.errors import AnnotateError
from spacy_btl.notes.entities import Entity
from spacy_btl.outputs.concepts import read_concepts
from spacy_btl.outputs.formats import csv_lines
from spacy_btl.outputs.omop import NOTE_NLP, note_nlp_parquet, note_nlp_rows
from spacy_btl.outputs.stamp import Stamp
from tests.annotate.conftest import write_notes

DDL = """
note_nlp_id integer NOT NULL
note_id integer NOT NULL
section_concept_id integer NULL
snippet varchar(250) NULL
offset varchar(50) NULL
lexical_variant varchar(250) NOT NULL
note_nlp_concept_id integer NULL
note_nlp_source_concept_id integer NULL
nlp_system varchar(250) NULL
nlp_date date NOT NULL
nlp_datetime datetime NULL
term_exists varchar(1) NULL
term_temporal varchar(50) NULL
term_modifiers varchar(2000) NULL
"""
ARROW = {
    "integer": "int64",
    "varchar": "string",
    "date": "date32[day]",
    "datetime": "timestamp[us]",
}
ENTITIES = [
    Entity(7, 3, 9, "severe", "Severity", 0.93125),
    Entity(8, 0, 300, "x" * 300, "Sign", None),
]


def columns():
    """(name, SQL type, length, required) of the DDL."""
    pattern = r"(\w+) (\w+)(?:\((\d+)\))? (NOT )?NULL"
    for name, kind, length, required in re.findall(pattern, DDL):
        yield name, kind, int(length) if length else None, bool(required)


STAMP = Stamp("en_model", "1.0", "2026-01-02T03:04:05", True, True)


def as_csv(entities, stamp, first_id):
    found = note_nlp_rows(entities, stamp, first_id)
    return csv_lines([field.name for field in NOTE_NLP], found, header=True)


def rows():
    data = note_nlp_parquet(note_nlp_rows(ENTITIES, STAMP, 11))
    return pyarrow.parquet.read_table(BytesIO(data))


def test_columns_are_those_of_the_data_model():
    expected = list(columns())
    assert [(field.name, field.length, field.required) for field in NOTE_NLP] == [
        (name, length, required) for name, _, length, required in expected
    ]
    for name, kind, _, required in expected:
        field = rows().schema.field(name)
        assert (str(field.type), field.nullable) == (ARROW[kind], not required), name


def test_rows_hold_the_mention_and_its_label_and_confidence():
    first, second = rows().to_pylist()
    assert {name: value for name, value in first.items() if value is not None} == {
        "note_nlp_id": 11,
        "note_id": 7,
        "offset": "3",
        "lexical_variant": "severe",
        "nlp_system": first["nlp_system"],
        "nlp_date": date(2026, 1, 2),
        "nlp_datetime": datetime(2026, 1, 2, 3, 4, 5),
        "term_modifiers": "label=Severity;end=9;confidence=0.9313",
    }
    assert first["nlp_system"].startswith("en_model 1.0, spacy-btl ")
    # A mention that is too long for the column is cut, and its end says so.
    assert second["lexical_variant"] == "x" * 250
    assert second["term_modifiers"] == "label=Sign;end=300"
    assert second["note_nlp_id"] == 12


def test_no_value_is_longer_than_its_column():
    label = "L" * 3000
    data = as_csv([Entity(1, 0, 999, "x" * 999, label, 1.0)], STAMP._replace(model="m" * 300), 1)
    (row,) = csv.DictReader(StringIO(data.decode()))
    for name, _, length, required in columns():
        assert length is None or len(row[name]) <= length
        assert row[name] or not required


def test_csv_and_parquet_hold_the_same():
    text = as_csv(ENTITIES, STAMP, 11).decode()
    for from_csv, row in zip(csv.DictReader(StringIO(text)), rows().to_pylist(), strict=True):
        for name, value in row.items():
            if isinstance(value, datetime):
                value = value.isoformat()
            assert from_csv[name] == ("" if value is None else str(value)), name


def write_concepts(folder, *lines, columns="concept_id,label,text"):
    path = folder / "concepts.csv"
    path.write_text("\n".join([columns, *lines]) + "\n", encoding="utf-8")
    return path


def test_a_concept_is_that_of_type_and_text_then_of_the_text_then_of_the_type(tmp_path):
    lines = ("1,Sign,Fever", "2,,fever", "3,Sign,", "4,,dry  cough")
    concepts = read_concepts(write_concepts(tmp_path, *lines))
    found = [
        concepts.of(*mention)
        for mention in (
            ("Sign", "FEVER"),
            ("Drug", "fever"),
            ("Sign", "pain"),
            ("Sign", "dry\ncough"),
            ("Drug", "aspirin"),
        )
    ]
    assert found == [1, 2, 3, 4, 0]
    data = as_csv(ENTITIES, STAMP._replace(concepts=concepts), 1)
    table = list(csv.DictReader(StringIO(data.decode("utf-8"))))
    assert [row["note_nlp_concept_id"] for row in table] == ["0", "3"]


def test_an_id_of_a_linker_that_is_a_number_is_a_concept():
    linked = [Entity(1, 0, 5, "fever", "Sign", None, kb_id=kb_id) for kb_id in ("7", "C01", None)]
    found = list(note_nlp_rows(linked, STAMP._replace(links=True), 1))
    assert [row["note_nlp_concept_id"] for row in found] == [7, 0, 0]


def test_the_concept_of_a_section_is_that_of_its_heading(tmp_path):
    sections = read_concepts(write_concepts(tmp_path, "5,Past History", columns="concept_id,text"))
    found = [
        next(note_nlp_rows([entity], STAMP._replace(section_concepts=sections), 1))
        for entity in (
            Entity(1, 0, 5, "fever", "Sign", None, section=section)
            for section in ("past history", "plan", None)
        )
    ]
    assert [row["section_concept_id"] for row in found] == [5, 0, 0]
    assert next(note_nlp_rows(ENTITIES, STAMP, 1))["section_concept_id"] is None


@pytest.mark.parametrize(
    ("columns", "lines", "message"),
    [
        ("concept,label", ["1,Sign"], "needs the columns concept_id"),
        ("concept_id,label", ["x,Sign"], "line 2: needs a concept_id"),
        ("concept_id,label", ["1,"], "line 2: needs a concept_id"),
        ("concept_id,label", ["1,Sign", "2,Sign"], "line 3: an earlier line has another"),
    ],
)
def test_a_table_of_concepts_that_says_something_else_is_refused(columns, lines, message, tmp_path):
    path = write_concepts(tmp_path, *lines, columns=columns)
    with pytest.raises(AnnotateError, match=message):
        read_concepts(path)


@pytest.mark.parametrize("name", ["note_nlp.csv", "note_nlp.parquet"])
def test_duckdb_loads_the_table(name, calibrated_path, tmp_path):
    duckdb = pytest.importorskip("duckdb")
    notes = write_notes(tmp_path / "notes.jsonl", [(7, "severe fever"), (8, "cough")])
    concepts = write_concepts(tmp_path, "437663,Sign,")
    output = tmp_path / name
    annotate_file(str(calibrated_path), notes, output, Options(concepts=concepts))
    files = output if output.is_file() else output / "*.parquet"
    columns = DDL.replace("offset", '"offset"').strip().splitlines()
    with duckdb.connect() as database:
        database.execute(f"CREATE TABLE note_nlp ({', '.join(columns)})")
        database.execute(f"INSERT INTO note_nlp SELECT * FROM '{files}'")
        found = database.execute(
            "SELECT note_id, note_nlp_concept_id, term_modifiers FROM note_nlp ORDER BY note_nlp_id"
        ).fetchall()
    assert {row[0] for row in found} == {7, 8}
    expected = [437663 if row[2].startswith("label=Sign;") else 0 for row in found]
    assert [row[1] for row in found] == expected
    assert any(expected)


# What the conventions of NOTE_NLP say of each modifier:
# https://ohdsi.github.io/CommonDataModel/cdm54.html#note_nlp
@pytest.mark.parametrize(
    ("kinds", "exists", "temporal"),
    [
        ([], "Y", "present"),
        (["negated"], "N", "present"),
        (["other"], "N", "present"),
        (["hypothetical"], "N", "present"),  # Conditional = true
        (["uncertain"], "Y", "present"),  # true or low; only a very low certainty makes it false
        (["historical"], "Y", "past"),
        (["negated", "historical"], "N", "past"),
    ],
)
def test_the_conventions_of_the_table_decide_by_modifiers(kinds, exists, temporal):
    entity = Entity(1, 0, 5, "fever", "Sign", None, Assertions.of(kinds))
    (row,) = note_nlp_rows([entity], STAMP, 1)
    assert (row["term_exists"], row["term_temporal"]) == (exists, temporal)
    modifiers = dict(pair.split("=") for pair in row["term_modifiers"].split(";"))
    assert modifiers == {
        "label": "Sign",
        "end": "5",
        "negation": str("negated" in kinds).lower(),
        "subject": "other" if "other" in kinds else "patient",
        "conditional": str("hypothetical" in kinds).lower(),
        "uncertain": str("uncertain" in kinds).lower(),
        "history": str("historical" in kinds).lower(),
    }
