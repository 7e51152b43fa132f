"""Checks that an encoder can serve, before it reads a note.

The vectors of a note must not depend on the notes in its batch or before it, but some encoders
read padding or sample at random. Each encoder is tried on two texts; there is no list of kinds.
"""

import inspect
import warnings
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import torch
from transformers import PretrainedConfig, PreTrainedModel
from transformers.tokenization_utils_fast import PreTrainedTokenizerFast

from spacy_btl.errors import BtlWarning, PipelineError

# Kinds whose attention masks with a number that neither bfloat16 nor float16 has.
SINGLE_PRECISION = frozenset({"deberta"})

# What transformers logs, once, about a text longer than the encoder's limit.
TOO_LONG = "sequence-length-is-longer-than-the-specified-maximum"

# The wordpieces of the texts that an encoder is tried on, if its window is not shorter. Some kinds
# of sparse attention begin at 64.
TRIED = 128
# As a share of the largest value: rounding is a hundred times smaller, reading padding far larger.
SAME = 1e-3


def settle_config(config: PretrainedConfig, name: str) -> None:
    """Refuse the kinds of encoder that are known not to work, before their weights are read.

    BigBird gets full attention: its sparse attention samples which wordpieces attend to which, and
    a short note turns it off for all that come after.

    RAISES: PipelineError, for an encoder with a decoder, or a config that names code.
    """
    refuse_kernels(config, name)
    if config.is_encoder_decoder:
        raise PipelineError(
            f"'{name}' is an encoder with a decoder ({config.model_type}), whose output is not that"
            " of the text's wordpieces. Choose an encoder, as BERT, RoBERTa or DeBERTa are."
        )
    if config.model_type == "big_bird":
        config.attention_type = "original_full"


def refuse_kernels(config: PretrainedConfig, name: str) -> None:
    """RAISES: PipelineError, for a config whose attention is a repository of the Hugging Face hub.

    With the package `kernels`, transformers would download and import it without
    `trust_remote_code` (CVE-2026-4372).
    """
    parts = [getattr(config, key, None) for key in config.sub_configs]
    for part in (config, *parts):
        attention = getattr(part, "_attn_implementation", None)
        named = attention.values() if isinstance(attention, dict) else [attention]
        if any("/" in str(each) for each in named):
            raise PipelineError(
                f"The config of '{name}' names code of the Hugging Face hub as its attention, and "
                "code of a checkpoint is never run. Get the encoder from where you trust."
            )


def prepare(tokenizer: PreTrainedTokenizerFast, transformer: PreTrainedModel) -> None:
    """Set a tokenizer up for its encoder, whatever settings it was saved with: padding goes to the
    right, and an overlong token is cut where the encoder's positions end."""
    tokenizer.padding_side = tokenizer.truncation_side = "right"
    # Tokenizers saved without a limit (BioBERT's) would let one overlong token crash the encoder.
    limit = positions(transformer)
    if limit is not None:
        tokenizer.model_max_length = min(tokenizer.model_max_length, limit)
    tokenizer.deprecation_warnings[TOO_LONG] = True  # notes are long, and windows fit


def positions(transformer: PreTrainedModel) -> int | None:
    """How many wordpieces an encoder has a position for; None if there is no limit, as with
    relative positions. RoBERTa never uses its first positions, up to that of its padding."""
    limits = [getattr(transformer.config, "max_position_embeddings", None)]
    for name, module in transformer.named_modules():
        weight = getattr(module, "weight", None)
        if name.split(".")[-1] == "position_embeddings" and weight is not None:
            padding = getattr(module, "padding_idx", None)
            limits.append(len(weight) - (0 if padding is None else padding + 1))
    return min((limit for limit in limits if limit is not None and limit > 0), default=None)


@cache
def arguments(forward: Callable[..., Any]) -> frozenset[str]:
    """The names of the arguments of an encoder's forward pass."""
    return frozenset(inspect.signature(forward).parameters)


def check_tokenizer(
    tokenizer: PreTrainedTokenizerFast, config: PretrainedConfig, name: str
) -> None:
    """Check that a tokenizer can serve.

    RAISES: PipelineError, for one without character offsets or padding.
    """
    if not tokenizer.is_fast:
        raise PipelineError(
            f"The tokenizer of '{name}' gives no character offsets: {type(tokenizer).__name__} is "
            "not a fast one. If tokenizer_config says use_fast = false, take that out; if there is "
            "no fast one of this kind, choose another encoder."
        )
    if tokenizer.pad_token is None:
        raise PipelineError(
            f"The tokenizer of '{name}' has no padding token. Name one of its special tokens in "
            f'tokenizer_config, as {{"pad_token": "{tokenizer.eos_token or "[PAD]"}"}}.'
        )
    if tokenizer.pad_token_id >= config.vocab_size:
        raise PipelineError(
            f"The tokenizer of '{name}' has a padding token ({tokenizer.pad_token}, number "
            f"{tokenizer.pad_token_id}) that the encoder does not know: it has "
            f"{config.vocab_size} wordpieces. Name another one in tokenizer_config."
        )


def check_encoder(
    tokenizer: PreTrainedTokenizerFast, transformer: PreTrainedModel, name: str, window: int
) -> None:
    """Try an encoder on two texts.

    window (int): The wordpieces that it will read at once.
    RAISES: PipelineError, if it fails, or if the vectors of a text depend on other texts, or on
        nothing but the wordpiece itself.
    """
    kind = transformer.config.model_type
    if "attention_mask" not in arguments(type(transformer).forward):
        raise PipelineError(
            f"'{name}' ({kind}) takes no attention mask: its vectors of a note depend on how long "
            "the notes beside it are. Choose another encoder."
        )
    try:
        alone, others, changed = _try(tokenizer, transformer, min(window, TRIED))
    except Exception as error:  # of torch and of the encoder, each its own
        raise PipelineError(
            f"'{name}' ({kind}) cannot read wordpieces alone ({type(error).__name__}). Choose "
            "another encoder."
        ) from error
    if alone.shape[-1] != transformer.config.hidden_size:
        raise PipelineError(
            f"'{name}' ({kind}) has vectors of another width than its config says "
            f"({alone.shape[-1]}, not {transformer.config.hidden_size}). Choose another encoder."
        )
    if not all(_same(other, vectors) for other, vectors in others):
        raise PipelineError(
            f"'{name}' ({kind}) reads padding or draws at random: its vectors of a note depend on "
            "the notes beside it or before it. Choose another encoder."
        )
    last_changed, first_changed = changed
    reads_right = bool((last_changed[:-1] != alone[:-1]).any())
    reads_left = bool((first_changed[1:] != alone[1:]).any())
    if not reads_left and not reads_right:
        raise PipelineError(
            f"'{name}' ({kind}) reads each wordpiece by itself here, without the others. Choose "
            "another encoder."
        )
    if not (reads_left and reads_right):
        _warn(
            f"'{name}' ({kind}) reads each wordpiece with what is on one side of it alone. An "
            "encoder that reads both sides finds more."
        )
    own_window = getattr(transformer.config, "attention_window", None)
    if own_window and window < np.max(own_window):
        _warn(
            f"'{name}' ({kind}) pads each window of {window} wordpieces to {np.max(own_window)}, "
            "those of its own attention, and takes the time of these: set window to that, or "
            "attention_window in transformer_config to less."
        )


def _warn(problem: str) -> None:
    warnings.warn(problem, BtlWarning, stacklevel=3)


def _same(vectors: torch.Tensor, others: torch.Tensor) -> bool:
    return bool((vectors - others).abs().max() <= SAME * vectors.abs().max())  # nan is not


Pair = tuple[torch.Tensor, torch.Tensor]


def _try(
    tokenizer: PreTrainedTokenizerFast, transformer: PreTrainedModel, length: int
) -> tuple[torch.Tensor, list[Pair], torch.Tensor]:
    """Vectors of a short text; pairs that must be equal, of this text and one twice as long, alone
    and beside each other; and of the short one with another last, and another first, wordpiece."""
    special = set(tokenizer.all_special_ids)
    plain = [number for number in range(transformer.config.vocab_size) if number not in special]
    long = torch.tensor(np.resize(plain[:length], length), device=transformer.device)
    half = -(-length // 2)
    short = long[:half].flip(0)
    padded = torch.full_like(long, tokenizer.pad_token_id)
    padded[:half] = short
    mask = torch.ones(2, length, device=long.device)
    mask[0, half:] = 0
    changed = short.repeat(2, 1)
    other = dict(zip(plain, [*plain[1:], plain[0]], strict=True))
    changed[0, -1], changed[1, 0] = other[int(short[-1])], other[int(short[0])]

    def vectors(ids: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        mask = torch.ones_like(ids, dtype=torch.float32) if mask is None else mask
        hidden = transformer(input_ids=ids, attention_mask=mask).last_hidden_state
        if hidden.shape[:2] != ids.shape:
            raise ValueError("not one vector per wordpiece")
        return hidden

    transformer.eval()
    with torch.no_grad():
        alone, long_alone = vectors(short[None])[0], vectors(long[None])[0]
        beside, long_beside = vectors(torch.stack([padded, long]), mask)
        again = vectors(short[None])[0]
        pairs = [(alone, beside[:half]), (alone, again), (long_alone, long_beside)]
        return alone, pairs, vectors(changed)
