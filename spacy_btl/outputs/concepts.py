"""OMOP concepts of entities, from a user's table."""

import csv
from pathlib import Path
from typing import NamedTuple

from spacy_btl.errors import AnnotateError

COLUMNS = ("concept_id", "label", "text")
NO_CONCEPT = 0  # what OMOP writes where no concept matches

# The type and the text, one of them empty if the row is for all.
Key = tuple[str, str]


class Concepts(NamedTuple):
    """The concept of a mention: that of its type and text, else of its text, else of its type.

    by_key (Dict[Tuple[str, str], int]): Texts in lower case, with single spaces.
    """

    by_key: dict[Key, int]

    def of(self, label: str, text: str) -> int:
        """The concept of a mention; 0 if there is none."""
        text = _plain(text)
        keys = ((label, text), ("", text), (label, ""))
        return next((self.by_key[key] for key in keys if key in self.by_key), NO_CONCEPT)


def read_concepts(path: Path) -> Concepts:
    """Read a CSV file with the columns concept_id, and label or text or both.

    RAISES: AnnotateError, for another file, a row without a concept or without both others, or two
        concepts of the same.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return _read(csv.DictReader(file, strict=True), path)
    except UnicodeDecodeError:
        raise AnnotateError(f"{path}: not UTF-8.") from None
    except csv.Error as error:
        raise AnnotateError(f"{path}: no CSV file ({error}).") from None
    except OSError as error:
        raise AnnotateError(f"{path}: cannot be read ({error.strerror}).") from error


def _read(rows: "csv.DictReader[str]", path: Path) -> Concepts:
    columns = rows.fieldnames or []
    if COLUMNS[0] not in columns or not {*COLUMNS[1:]} & {*columns}:
        raise AnnotateError(f"{path}: needs the columns concept_id, and label or text or both.")
    by_key: dict[Key, int] = {}
    for row in rows:
        where = f"{path}, line {rows.line_num}"
        number = (row["concept_id"] or "").strip()
        key = ((row.get("label") or "").strip(), _plain(row.get("text") or ""))
        if not number.isdecimal() or not any(key):
            raise AnnotateError(
                f"{where}: needs a concept_id that is a whole number, and a label or a text."
            )
        if by_key.setdefault(key, int(number)) != int(number):
            raise AnnotateError(f"{where}: an earlier line has another concept for the same.")
    return Concepts(by_key)


def _plain(text: str) -> str:
    return " ".join(text.lower().split())
