"""Which documents belong together: those of one patient, and the copies of one text.

They resemble one another, so no split may part them.
"""

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from spacy.tokens import Doc

from spacy_btl.corpora.patients import patient_numbers
from spacy_btl.errors import BtlWarning


def text_key(text: str) -> str:
    """What copies of a text share, whatever their capitals and white space; "" without a word."""
    return " ".join(text.casefold().split())


def text_numbers(docs: Sequence[Doc]) -> NDArray[np.int64]:
    """A number for each doc [D], from 0 in their order: the same for copies of one text. A doc
    without a word is a copy of none."""
    keys = [text_key(doc.text) or number for number, doc in enumerate(docs)]
    numbers = {key: number for number, key in enumerate(dict.fromkeys(keys))}
    return np.array([numbers[key] for key in keys], dtype="int64")


def group_numbers(docs: Sequence[Doc]) -> NDArray[np.int64]:
    """A number for each doc [D], from 0 in their order: the same for docs of one patient, for
    copies of one text, and for docs that others of their group tie together.

    RAISES: CorpusError, for a patient that is neither a string nor a whole number.
    """
    patients, texts = patient_numbers(docs), text_numbers(docs)
    if not len(docs):
        return patients
    n_patients = int(patients.max()) + 1
    ties = np.ones(len(docs)), (patients, n_patients + texts)
    size = n_patients + int(texts.max()) + 1
    _, groups = connected_components(coo_array(ties, shape=(size, size)), directed=False)
    _, first, groups = np.unique(groups[patients], return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[groups]


def warn_of_copies(docs: Sequence[Doc], corpus: Path) -> None:
    """Warn if docs that are about to be divided share their text."""
    counts = np.bincount(text_numbers(docs), minlength=1)
    copies = int(counts[counts > 1].sum())
    if copies:
        warnings.warn(
            f"{corpus}: {copies:,} of {len(docs):,} documents share their text with another. "
            "Copies of one text stay in one part.",
            BtlWarning,
            stacklevel=3,
        )
