"""Cutting a doc into windows that fit the encoder, counted in wordpieces.

A window that is counted in tokens can overflow the encoder, which then drops its end in silence.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from spacy.tokens import Doc, Span
from transformers import PreTrainedTokenizerFast

from spacy_btl.errors import PipelineError

# Where a window cuts through a word, its pieces change: a few more of them at either end.
CUT_WORD_MARGIN = 8

# What transformers logs, once, about a text longer than the encoder's limit.
TOO_LONG = "sequence-length-is-longer-than-the-specified-maximum"


def wordpiece_counts(doc: Doc, tokenizer: PreTrainedTokenizerFast) -> NDArray[np.int64]:
    """The wordpieces of each token, by where they start: int64 [T]. Unseen tokens have none."""
    encoding = tokenizer(doc.text, add_special_tokens=False, return_offsets_mapping=True)
    starts = np.array([start for start, _ in encoding["offset_mapping"]], dtype=np.int64)
    tokens = np.searchsorted([token.idx for token in doc], starts, side="right") - 1
    return np.bincount(tokens, minlength=len(doc))


def window_borders(
    counts: NDArray[np.integer], budget: int, overlap: int
) -> Iterable[tuple[int, int]]:
    """Cover T tokens with windows of at most `budget` wordpieces that overlap by about `overlap`.

    Only a token that is longer than the budget by itself makes a window longer than that.

    counts (int [T]): Wordpieces per token.
    YIELDS (Tuple[int, int]): First token of a window, and the one after its last.
    """
    before = np.concatenate([[0], np.cumsum(counts)])
    n_tokens = len(counts)
    start = end = 0
    while end < n_tokens:
        fitting = int(np.searchsorted(before, before[start] + budget, side="right")) - 1
        end = max(fitting, end + 1)
        yield start, end
        # Step back for context, but not so far that the next token would not fit.
        room = before[min(end + 1, n_tokens)] - budget
        back = max(before[end] - overlap, room)
        start = min(int(np.searchsorted(before, back, side="left")), end)


class WordpieceWindows:
    """A span getter for a spacy-transformers encoder: windows that never overflow it.

    encoder (TransformerModel): The encoder, whose tokenizer counts.
    window (int): Wordpieces per window, special tokens included.
    overlap (int): Wordpieces that neighbouring windows share, so that the tokens at a border are
        read with context on both sides (spacy-transformers averages the two readings).
    """

    def __init__(self, encoder, window: int, overlap: int):
        if not 0 <= overlap < window / 2:
            raise PipelineError(
                f"The encoder's overlap ({overlap}) must be at least 0 and less than half of its "
                f"window ({window})."
            )
        self.encoder = encoder
        self.window = window
        self.overlap = overlap

    def __call__(self, docs: Iterable[Doc]) -> list[list[Span]]:
        tokenizer = self.encoder.tokenizer
        budget = self._budget(tokenizer)
        return [
            [
                doc[start:end]
                for start, end in window_borders(
                    wordpiece_counts(doc, tokenizer), budget, self.overlap
                )
            ]
            for doc in docs
        ]

    def _budget(self, tokenizer: PreTrainedTokenizerFast) -> int:
        if not tokenizer.is_fast:
            raise PipelineError(
                "The encoder's tokenizer gives no character offsets. "
                'Set tokenizer_config = {"use_fast": true}.'
            )
        config = self.encoder.transformer.config
        limit = min(tokenizer.model_max_length, config.max_position_embeddings)
        if self.window > limit:
            raise PipelineError(
                f"The encoder reads at most {limit} wordpieces, fewer than its window of "
                f"{self.window}. Set a smaller window."
            )
        # Tokenizers saved without a limit (BioBERT's) would let one overlong token crash the
        # encoder.
        tokenizer.model_max_length = limit
        tokenizer.deprecation_warnings[TOO_LONG] = True  # notes are long, and windows fit
        return min(self.window, limit - CUT_WORD_MARGIN) - tokenizer.num_special_tokens_to_add()
