"""What a pipeline's encoder is, and what it computes in."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from spacy.language import Language


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
