"""The patients of notes, kept in `doc.user_data["patient_id"]`.

Notes of one patient resemble one another. A split keeps them in one part, and resampling draws them
together.
"""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from spacy.tokens import Doc

from spacy_btl.errors import CorpusError

PATIENT = "patient_id"  # in a doc's user data
COLUMNS = ("note_id", PATIENT)


def patient_numbers(docs: Sequence[Doc]) -> NDArray[np.int64]:
    """Number the patients of docs from 0, in their order: int64 [D].

    A doc without a patient has a number of its own.

    RAISES: CorpusError, for a patient that is neither a string nor a whole number.
    """
    keys = [_patient_key(doc, number) for number, doc in enumerate(docs, start=1)]
    numbers = {key: number for number, key in enumerate(dict.fromkeys(keys))}
    return np.array([numbers[key] for key in keys], dtype="int64")


def _patient_key(doc: Doc, number: int) -> tuple[str, str | int]:
    patient = doc.user_data.get(PATIENT)
    if patient is None or patient == "":
        return "unknown", number
    if not isinstance(patient, str | int):
        raise CorpusError(
            f"The {PATIENT} of document {number} is neither a string nor a whole number. Leave it "
            "out if it is unknown."
        )
    return "patient", patient


def read_patients(path: Path) -> dict[str, str]:
    """Read a CSV file that has the columns note_id and patient_id.

    RETURNS (Dict[str, str]): The patient of each note.
    RAISES: CorpusError, for another file, a row without one of the two, or a note of two patients.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return _read(csv.DictReader(file, strict=True), path)
    except UnicodeDecodeError:
        raise CorpusError(f"{path}: not UTF-8.") from None
    except OSError as error:
        raise CorpusError(f"{path}: cannot be read ({error.strerror}).") from error


def _read(rows: csv.DictReader, path: Path) -> dict[str, str]:
    patients: dict[str, str] = {}
    try:
        if not set(COLUMNS) <= set(rows.fieldnames or ()):
            raise CorpusError(f"{path}: its first line must name {' and '.join(COLUMNS)}.")
        for row in rows:
            where = f"{path}, line {rows.line_num}"
            note, patient = (row[column] for column in COLUMNS)
            if not note or not patient:
                raise CorpusError(f"{where}: note_id or patient_id is missing.")
            if patients.setdefault(note, patient) != patient:
                raise CorpusError(f"{where}: an earlier line gives this note another patient.")
    except csv.Error:
        raise CorpusError(f"{path}, line {rows.line_num}: broken CSV.") from None
    return patients
