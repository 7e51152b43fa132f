"""A calibrated tiny pipeline, a pipe that fails on some notes, and notes in every form."""

import csv
import json

import pyarrow
import pyarrow.parquet
import pytest
import spacy
from spacy.language import Language

POISON = "arsenic"


@Language.component("poison")
def poison(doc):
    """Fail on a note that holds the word, with a message that quotes it."""
    if POISON in doc.text:
        raise ValueError(f"cannot read {doc.text}")
    return doc


@pytest.fixture(scope="session")
def calibrated(calibrated_path):
    """The same, loaded. Shared: do not change it."""
    return spacy.load(calibrated_path)


@pytest.fixture
def poisoned(calibrated_path):
    """The same with a pipe that fails on some notes."""
    nlp = spacy.load(calibrated_path)
    nlp.add_pipe("poison", last=True)
    return nlp


def write_notes(path, notes):
    """Write (id, text) pairs to a file or folder, in the form that its name asks for."""
    if path.suffix == ".parquet":
        ids, texts = zip(*notes, strict=True)
        pyarrow.parquet.write_table(pyarrow.table({"id": ids, "text": texts}), path)
    elif path.suffix == ".csv":
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("id", "text"), *notes])
    elif path.suffix == ".jsonl":
        lines = (json.dumps({"id": note_id, "text": text}) + "\n" for note_id, text in notes)
        path.write_text("".join(lines), encoding="utf-8")
    else:
        for note_id, text in notes:
            file = path / f"{note_id}.txt"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(text.encode("utf-8"))
    return path
