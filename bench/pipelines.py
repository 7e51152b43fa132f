"""A pipeline that reads notes: its encoder, how much it reads, and how the page describes it."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

import spacy
import torch
from spacy.language import Language
from spacy.tokens import Doc

CALIBRATOR = "knn_calibrator"


def encoder_name(nlp: Language) -> str:
    """The size of a pipeline's encoder."""
    config = encoder_of(nlp).config
    return f"encoder of {config.num_hidden_layers} layers of {config.hidden_size}"


def encoder_of(nlp: Language) -> torch.nn.Module:
    """The torch module of a pipeline's `transformer`."""
    return nlp.get_pipe("transformer").model.transformer


@contextmanager
def seen_precision(nlp: Language) -> Iterator[Callable[[], torch.dtype]]:
    """What the encoder's linear layers compute in meanwhile; a function to ask for it."""
    seen: list[torch.dtype] = []
    layers = [part for part in encoder_of(nlp).modules() if isinstance(part, torch.nn.Linear)]
    hook = layers[0].register_forward_hook(lambda _, __, output: seen.append(output.dtype))
    try:
        yield lambda: seen[-1]
    finally:
        hook.remove()


def window_of(nlp: Language) -> int:
    """Wordpieces per window, special tokens included."""
    return nlp.config["components"]["transformer"]["model"]["window"]


def count_words(docs: Sequence[Doc]) -> int:
    """Tokens that are not white space."""
    return sum(not token.is_space for doc in docs for token in doc)


def words_of(texts: Sequence[str]) -> int:
    """Tokens of texts that are not white space."""
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
