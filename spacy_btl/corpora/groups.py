"""Groups of documents that a split keeps together: of one patient, and copies of one text."""

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
    """Return a text without capitals and with single spaces: the same for all its copies."""
    return " ".join(text.casefold().split())


def text_numbers(docs: Sequence[Doc]) -> NDArray[np.int64]:
    """Number the texts of docs from 0, in their order: int64 [D].

    Copies of one text share a number. A doc without a word is no copy.
    """
    keys = [text_key(doc.text) or number for number, doc in enumerate(docs)]
    numbers = {key: number for number, key in enumerate(dict.fromkeys(keys))}
    return np.array([numbers[key] for key in keys], dtype="int64")


def group_numbers(docs: Sequence[Doc]) -> NDArray[np.int64]:
    """Number groups of docs from 0, in their order: int64 [D].

    Docs of one patient are in one group, and so are copies of one text. Groups that share a doc
    are one.

    RAISES: CorpusError, for a patient that is neither a string nor a whole number.
    """
    patients, texts = patient_numbers(docs), text_numbers(docs)
    if not len(docs):
        return patients
    n_patients = int(patients.max()) + 1
    edges = np.ones(len(docs)), (patients, n_patients + texts)
    size = n_patients + int(texts.max()) + 1
    _, groups = connected_components(coo_array(edges, shape=(size, size)), directed=False)
    _, first, groups = np.unique(groups[patients], return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[groups]


def warn_of_copies(docs: Sequence[Doc], corpus: Path) -> None:
    """Warn if docs that are to be divided share their text."""
    counts = np.bincount(text_numbers(docs), minlength=1)
    copies = int(counts[counts > 1].sum())
    if copies:
        warnings.warn(
            f"{corpus}: {copies:,} of {len(docs):,} documents share their text with another. "
            "Copies are kept in one part.",
            BtlWarning,
            stacklevel=3,
        )
