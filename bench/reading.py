"""A pipeline that reads notes: how much it reads, and how that is said on the page."""

from collections import deque
from collections.abc import Iterable, Sequence

import spacy
from spacy.language import Language
from spacy.tokens import Doc

from bench.encoders import encoder_name

CALIBRATOR = "knn_calibrator"


def count_words(docs: Sequence[Doc]) -> int:
    """Tokens that are not white space."""
    return sum(not token.is_space for doc in docs for token in doc)


def words_of(texts: Sequence[str]) -> int:
    """The number of words in texts."""
    nlp = spacy.blank("en")
    nlp.max_length = max(map(len, texts)) + 1
    return count_words([nlp.make_doc(text) for text in texts])


def run(nlp: Language, texts: Iterable[str], n_process: int = 1) -> None:
    """Annotate and forget."""
    deque(nlp.pipe(texts, n_process=n_process), maxlen=0)


def read_by(nlp: Language, texts: Sequence[str]) -> str:
    """What reads how much, for the page."""
    return f"{encoder_name(nlp)}, {len(texts)} notes of {words_of(texts):,} words"


def store_of(nlp: Language) -> str:
    """What a calibrator searches and how, for the page."""
    search = nlp.config["components"][CALIBRATOR]["search"]["@misc"]
    return f"{len(nlp.get_pipe(CALIBRATOR).calibrator.datastore.tags):,} labelled rows, {search}"
