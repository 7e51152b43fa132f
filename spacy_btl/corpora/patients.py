"""Which notes are of one patient.

They resemble one another, so they belong in one part of a split, and are drawn together where
chance is asked. A doc says whose it is in `doc.user_data["patient_id"]`.
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
    """A number for each doc [D], from 0 in their order: the same for the docs of one patient. A doc
    that does not say whose it is has one of its own.

    RAISES: CorpusError, for a patient that is neither a string nor a whole number.
    """
    owners = [_owner(doc, number) for number, doc in enumerate(docs, start=1)]
    numbers = {owner: number for number, owner in enumerate(dict.fromkeys(owners))}
    return np.array([numbers[owner] for owner in owners], dtype="int64")


def _owner(doc: Doc, number: int) -> tuple[str, str | int]:
    patient = doc.user_data.get(PATIENT)
    if patient is None or patient == "":
        return "nobody known", number
    if not isinstance(patient, str | int):
        raise CorpusError(
            f"The {PATIENT} of document {number} is neither a string nor a whole number. Leave it "
            "out where it is not known."
        )
    return "patient", patient


def read_patients(path: Path) -> dict[str, str]:
    """Read a CSV file with the columns note_id and patient_id, among others or not.

    RETURNS (Dict[str, str]): The patient of each note.
    RAISES: CorpusError, for a file that is none of that, or a note of two patients.
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
                raise CorpusError(f"{where}: a note_id or a patient_id is missing.")
            if patients.setdefault(note, patient) != patient:
                raise CorpusError(f"{where}: a note of another patient already.")
    except csv.Error:
        raise CorpusError(f"{path}, line {rows.line_num}: broken CSV.") from None
    return patients
