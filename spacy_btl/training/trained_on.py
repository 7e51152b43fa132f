"""Which documents a pipeline had before: its network in training, or its datastore.

Figures and maps of such documents are too good. Two things tell, and neither needs a text in the
pipeline: the training corpus that the config names, where that file is still there; and the places
of the tokens in the datastore, which hardly any two notes share. Not noticed are documents that
were trained on from a file that is gone or renamed and are in no datastore, short ones in the
datastore, and copies in which a single word differs.
"""

import warnings
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from spacy.language import Language
from spacy.tokens import Doc
from spacy.vocab import Vocab

from spacy_btl.calibration.datastore import LabelledRows
from spacy_btl.corpora.docbin import read_docs
from spacy_btl.corpora.groups import text_key
from spacy_btl.errors import BtlWarning, CorpusError
from spacy_btl.lines import read_lines
from spacy_btl.pipeline.knn_calibrator import find_calibrator

# Notes of fewer tokens may have the same places by chance, or by a template.
MIN_TOKENS = 20


def warn_of_trained_on(nlp: Language, docs: Sequence[Doc], corpus: Path) -> None:
    """Warn if a pipeline had some of the docs that it is to be measured or tuned on.

    corpus (Path): Where they are from.
    """
    had = had_before(nlp, docs)
    if had.any():
        warnings.warn(
            f"{corpus}: {had.sum():,} of {len(docs):,} documents are among those that the pipeline "
            "was trained or fitted on. Figures on them are too good: give others.",
            BtlWarning,
            stacklevel=2,
        )


def had_before(nlp: Language, docs: Sequence[Doc]) -> NDArray[np.bool_]:
    """Which docs a pipeline's network or datastore had, as far as that can be told: bool [D]."""
    had = same_text(docs, training_docs(nlp))
    pipe = find_calibrator(nlp)
    if pipe is not None:
        had |= in_datastore(
            pipe.calibrator.fitted_datastore(), [nlp.make_doc(doc.text) for doc in docs]
        )
    return had


def training_docs(nlp: Language) -> list[Doc]:
    """The corpus that a pipeline's config names as that of its training, a file or a folder of
    files; nothing where none of it is there, or can be read."""
    path = nlp.config.get("paths", {}).get("train")
    docs: list[Doc] = []
    if isinstance(path, str):
        for file in sorted(Path(path).rglob("*.spacy")) or [Path(path)]:
            with suppress(CorpusError):
                docs += read_docs(file, Vocab())
    return docs


def same_text(docs: Sequence[Doc], others: Sequence[Doc]) -> NDArray[np.bool_]:
    """Which docs have the text of another doc, whatever its capitals and white space: bool [D]."""
    texts = {text_key(other.text) for other in others} - {""}
    return np.array([text_key(doc.text) in texts for doc in docs], dtype=bool)


def in_datastore(rows: LabelledRows, docs: Sequence[Doc]) -> NDArray[np.bool_]:
    """Which docs a datastore seems to hold, by the places of their tokens: bool [D].

    A document of the datastore is this one if its tokens, `MIN_TOKENS` or more of them, are all
    here, and are at least half of those here: tokens without annotation are in no datastore.

    docs (Sequence[Doc]): As the pipeline tokenizes them.
    """
    borders = np.flatnonzero(np.diff(rows.documents)) + 1
    by_last: defaultdict[int, list[NDArray[np.int64]]] = defaultdict(list)
    for places in np.split(_places(rows.starts, rows.ends), borders):
        if len(places) >= MIN_TOKENS:
            by_last[int(places[-1])].append(places)
    return np.array([_is_among(by_last, doc) for doc in docs], dtype=bool)


def _is_among(by_last: dict[int, list[NDArray[np.int64]]], doc: Doc) -> bool:
    tokens = [doc[i] for i in read_lines(doc).words.tolist()]
    starts = np.array([token.idx for token in tokens], dtype="int64")
    here = _places(starts, starts + np.array([len(token) for token in tokens], dtype="int64"))
    return any(
        2 * len(places) >= len(here) and np.isin(places, here).all()
        for last in here.tolist()
        for places in by_last.get(last, ())
    )


def _places(starts: NDArray[np.integer], ends: NDArray[np.integer]) -> NDArray[np.int64]:
    """Start and end of each token as one number."""
    return (starts.astype("int64") << 32) | ends.astype("int64")
