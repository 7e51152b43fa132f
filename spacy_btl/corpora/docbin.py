"""Read and write `.spacy` files."""

import gc
import warnings
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from spacy.attrs import DEP, ENT_ID, ENT_KB_ID, ENT_TYPE, LEMMA, NORM, ORTH, TAG
from spacy.tokens import Doc, DocBin
from spacy.vocab import Vocab

from spacy_btl.errors import BtlWarning, CorpusError, counted
from spacy_btl.files import write_file
from spacy_btl.tags import trim_entities

# The attributes that spaCy stores as hashes of strings.
STRINGS = [ORTH, NORM, LEMMA, TAG, DEP, ENT_TYPE, ENT_KB_ID, ENT_ID]


def read_docs(path: Path, vocab: Vocab) -> list[Doc]:
    """Read the docs of a `.spacy` file.

    Entities are trimmed of white space, which no pipe predicts at their ends. Entities of white
    space only are dropped, with a warning.

    vocab (Vocab): The vocab to read them into. Give a pipeline's own if it is to process the docs.
    RAISES: CorpusError, for a file that is missing, truncated, corrupt or without docs.
    """
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "no such file"
        raise CorpusError(f"{path}: {what}. Give a .spacy file.")
    try:
        docs = list(DocBin().from_disk(path).get_docs(vocab))
        for doc in docs:
            _check(doc)
    except Exception:  # noqa: BLE001 - zlib, msgpack, numpy and spaCy raise their own
        gc.enable()  # srsly leaves it disabled if msgpack fails
        raise CorpusError(
            f"{path}: not a .spacy file, or a damaged one. Write it again, for example "
            "with `python -m spacy btl convert`."
        ) from None
    if not docs:
        raise CorpusError(f"{path}: contains no document.")
    dropped = sum(trim_entities(doc) for doc in docs)
    if dropped:
        warnings.warn(
            f"{path}: {counted(dropped, 'entity')} of white space only left out.",
            BtlWarning,
            stacklevel=2,
        )
    return docs


def _check(doc: Doc) -> None:
    """Read the spans and look up the strings of a doc.

    spaCy accepts spans outside of the doc and hashes of missing strings, and fails on use.

    RAISES: Exception, of any kind, for a damaged doc.
    """
    spans = [*doc.ents, *(span for group in doc.spans.values() for span in group)]
    strings = {span.label for span in spans} | {span.id for span in doc.spans.get("mentions", ())}
    for string in strings.union(np.unique(doc.to_array(STRINGS)).tolist()):
        doc.vocab.strings[string]


def write_docs(path: Path, docs: Iterable[Doc]) -> None:
    """Write docs, their user data and spans included, to a `.spacy` file.

    RAISES: CorpusError, if they are too many for one file; FileError, if it cannot be written.
    """
    doc_bin = DocBin(docs=docs, store_user_data=True)
    try:
        data = doc_bin.to_bytes()
    except ValueError:
        raise CorpusError(
            f"{path}: too large for one .spacy file (4 GB of tokens). Split the corpus."
        ) from None
    write_file(path, data)
