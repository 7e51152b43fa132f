"""Cut docs into windows that fit the encoder, counted in wordpieces.

A window that is counted in tokens can overflow the encoder, which then drops its end silently.
"""

from collections.abc import Iterable
from threading import Lock

import numpy as np
from numpy.typing import NDArray
from spacy.attrs import IDX, LENGTH
from spacy.tokens import Doc, Span
from transformers.tokenization_utils_fast import PreTrainedTokenizerFast

from spacy_btl.errors import PipelineError
from spacy_btl.lines import OTHER_LINE, read_lines
from spacy_btl.models.alignment import readable, trim_offsets
from spacy_btl.models.generator import new_generator
from spacy_btl.models.supported import NO_LIMIT

# Where a window cuts through a word, its pieces change: a few more of them at either end.
CUT_WORD_MARGIN = 8

SENTENCE_ENDS = (".", "!", "?")
# A sentence or a line may end a window that holds at least this share of what it could.
FULL_ENOUGH = 0.5

# The shortest first window of training with random windows, as a share of what it could hold.
SHORTEST_FIRST = 0.25

# A fast tokenizer fails where two threads use it at once.
TOKENIZING = Lock()


def wordpiece_counts(doc: Doc, tokenizer: PreTrainedTokenizerFast) -> NDArray[np.int64]:
    """Count the wordpieces that start in each token: int64 [T].

    Unseen tokens have none. White space that the tokenizer reads counts too; a blank between two
    tokens counts for the second.
    """
    if not len(doc):
        return np.zeros(0, dtype=np.int64)
    text = readable(doc.text)
    with TOKENIZING:
        encoding = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    offsets = np.array(encoding["offset_mapping"], dtype=np.int64).reshape(-1, 2)
    starts = trim_offsets(offsets, text)[:, 0]
    token_ends = doc.to_array([IDX, LENGTH]).astype("int64").sum(axis=1)
    tokens = np.searchsorted(token_ends, starts, side="right")
    return np.bincount(np.minimum(tokens, len(doc) - 1), minlength=len(doc))


def natural_ends(doc: Doc) -> NDArray[np.bool_]:
    """Which tokens end a sentence or a line, judged without a parser: bool [T]. A full line goes on
    in the next one."""
    orths = np.array([doc.vocab.strings[end] for end in SENTENCE_ENDS], dtype="uint64")
    ends = np.isin(doc.to_array("ORTH"), orths)
    words, breaks, _ = read_lines(doc)
    begins = words[breaks >= OTHER_LINE]
    ends[begins[begins > 0] - 1] = True
    return ends


def window_borders(
    counts: NDArray[np.integer],
    budget: int,
    overlap: int,
    ends: NDArray[np.bool_] | None = None,
    first: int | None = None,
) -> Iterable[tuple[int, int]]:
    """Cover T tokens with windows of at most `budget` wordpieces.

    Only a token that is longer than the budget by itself makes a window longer than that.

    counts (int [T]): Wordpieces per token.
    overlap (int): Wordpieces that neighbours share, about.
    ends (Optional[bool [T]]): Where a window may end without sharing anything: it then ends at the
        last such token that leaves it full enough, and at its budget where there is none.
    first (Optional[int]): The budget of the first window, if it is smaller.
    YIELDS (Tuple[int, int]): First token of a window, and the one after its last.
    """
    before = np.concatenate([[0], np.cumsum(counts)])
    n_tokens = len(counts)
    start = end = 0
    while end < n_tokens:
        size = budget if first is None or end else first
        fitting = int(np.searchsorted(before, before[start] + size, side="right")) - 1
        end = max(fitting, end + 1)
        if ends is not None and end < n_tokens:
            full = int(np.searchsorted(before, before[start] + FULL_ENOUGH * size))
            natural = np.flatnonzero(ends[full:end])
            end = full + int(natural[-1]) + 1 if len(natural) else end
        yield start, end
        # Step back for context, but not so far that the next token would not fit.
        room = before[min(end + 1, n_tokens)] - budget
        back = max(before[end] - overlap, room)
        start = min(int(np.searchsorted(before, back, side="left")), end)


class WordpieceWindows:
    """The span getter of an encoder: windows that never overflow it.

    window (int): Wordpieces per window, special tokens included.
    overlap (int): Wordpieces that neighbouring windows share, so that the tokens at a border are
        read with context on both sides (spacy-transformers averages the two readings). With 0,
        windows end where a sentence or a line does, and nothing is read twice.
    random (bool): Whether training samples the size of the first window of a note that has several,
        so that the windows begin elsewhere each time.
    RAISES: PipelineError, for an overlap of half a window or more, or below 0.
    """

    def __init__(self, window: int, overlap: int, random: bool = False) -> None:
        if not 0 <= overlap < window / 2:
            raise PipelineError(
                f"The encoder's overlap ({overlap}) must be at least 0 and less than half of its "
                f"window ({window})."
            )
        self.window = window
        self.overlap = overlap
        self.random = random

    def __call__(
        self, docs: Iterable[Doc], tokenizer: PreTrainedTokenizerFast, is_train: bool = False
    ) -> list[list[Span]]:
        """Cut docs into windows.

        tokenizer (PreTrainedTokenizerFast): That of the encoder.
        RETURNS (List[List[Span]]): The windows of each doc.
        RAISES: PipelineError, as `check`.
        """
        budget = self.check(tokenizer)
        return [self._windows(doc, tokenizer, budget, is_train) for doc in docs]

    def limit(self, tokenizer: PreTrainedTokenizerFast) -> int:
        """How many wordpieces the encoder reads at most. If it reads any number, its window."""
        limit = tokenizer.model_max_length
        return limit if limit < NO_LIMIT else self.window

    def check(self, tokenizer: PreTrainedTokenizerFast) -> int:
        """Check that the encoder can read a window.

        RETURNS (int): The wordpieces of the text that a window may hold.
        RAISES: PipelineError, for a window of more wordpieces than the encoder reads.
        """
        limit = self.limit(tokenizer)
        if self.window > limit:
            raise PipelineError(
                f"The encoder reads at most {limit} wordpieces, fewer than its window of "
                f"{self.window}. Set a smaller window."
            )
        return min(self.window, limit - CUT_WORD_MARGIN) - tokenizer.num_special_tokens_to_add()

    def _windows(
        self, doc: Doc, tokenizer: PreTrainedTokenizerFast, budget: int, is_train: bool
    ) -> list[Span]:
        counts = wordpiece_counts(doc, tokenizer)
        ends = None if self.overlap else natural_ends(doc)
        first = None
        if self.random and is_train and counts.sum() > budget:
            shortest = max(1, int(SHORTEST_FIRST * budget))
            first = int(new_generator().integers(shortest, budget + 1))
        borders = window_borders(counts, budget, self.overlap, ends, first)
        return [doc[start:end] for start, end in borders]
