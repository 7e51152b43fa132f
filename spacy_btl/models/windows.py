"""Cut docs into windows that fit the encoder, counted in wordpieces, and lay these out as arrays.

A window that is counted in tokens can overflow the encoder, which then drops its end silently.
A window is cut between two tokens, and never inside of a wordpiece that spans several: all windows
have the wordpieces of the doc, as it is tokenized as a whole.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from spacy.tokens import Doc

from spacy_btl.errors import PipelineError
from spacy_btl.lines import OTHER_LINE, read_lines
from spacy_btl.models.wordpieces import Pieces, WordpieceTokenizer

SENTENCE_ENDS = (".", "!", "?")
# A sentence or a line may end a window that holds at least this share of what it could.
FULL_ENOUGH = 0.5

# The shortest first window of training with random windows, as a share of what it could hold.
SHORTEST_FIRST = 0.25


def natural_ends(doc: Doc) -> NDArray[np.bool_]:
    """Which tokens end a sentence or a line, judged without a parser: bool [T]. A full line goes on
    in the next one."""
    orths = np.array([doc.vocab.strings[end] for end in SENTENCE_ENDS], dtype="uint64")
    ends = np.isin(doc.to_array("ORTH"), orths)
    words, breaks, _ = read_lines(doc)
    begins = words[breaks >= OTHER_LINE]
    ends[begins[begins > 0] - 1] = True
    return ends


def wordpiece_counts(pieces: Pieces) -> NDArray[np.int64]:
    """The wordpieces that start in each token: int64 [T]. Unseen tokens have none; white space that
    the tokenizer reads counts too."""
    return np.bincount(pieces.firsts, minlength=pieces.n_tokens)


def window_begins(pieces: Pieces) -> NDArray[np.int64]:
    """The tokens before which a window may be cut: no wordpiece spans the border. int64 [U]."""
    spanning = pieces.lasts > pieces.firsts
    changes = np.bincount(pieces.firsts[spanning] + 1, minlength=pieces.n_tokens + 1)
    changes -= np.bincount(pieces.lasts[spanning] + 1, minlength=pieces.n_tokens + 1)
    return np.flatnonzero(np.cumsum(changes)[: pieces.n_tokens] == 0)


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
        self,
        docs: Sequence[Doc],
        pieces: Sequence[Pieces],
        tokenizer: WordpieceTokenizer,
        new_generator: Callable[[], np.random.Generator] | None = None,
    ) -> "WindowBatch":
        """Cut docs into windows.

        pieces (Sequence[Pieces]): Their wordpieces.
        tokenizer (WordpieceTokenizer): That of the encoder, which made them.
        new_generator (Optional[Callable[[], Generator]]): In training, makes the random numbers of
            a doc.
        RAISES: PipelineError, as `check`.
        """
        budget = self.check(tokenizer)
        borders = [
            self._borders(doc, of_doc, budget, new_generator)
            for doc, of_doc in zip(docs, pieces, strict=True)
        ]
        return lay_out(pieces, borders, tokenizer, self.limit(tokenizer))

    def limit(self, tokenizer: WordpieceTokenizer) -> int:
        """How many wordpieces the encoder reads at most. If it reads any number, its window."""
        return self.window if tokenizer.limit is None else tokenizer.limit

    def check(self, tokenizer: WordpieceTokenizer) -> int:
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
        return self.window - tokenizer.frame.size

    def _borders(
        self,
        doc: Doc,
        pieces: Pieces,
        budget: int,
        new_generator: Callable[[], np.random.Generator] | None,
    ) -> list[tuple[int, int]]:
        """The first token of each window, and the one after its last."""
        if not len(doc):
            return []
        begins = window_begins(pieces)
        counts = np.add.reduceat(wordpiece_counts(pieces), begins)
        begins = np.append(begins, len(doc))
        ends = None if self.overlap else natural_ends(doc)[begins[1:] - 1]
        first = None
        if self.random and new_generator is not None and counts.sum() > budget:
            shortest = max(1, int(SHORTEST_FIRST * budget))
            first = int(new_generator().integers(shortest, budget + 1))
        borders = window_borders(counts, budget, self.overlap, ends, first)
        return [(int(begins[start]), int(begins[end])) for start, end in borders]


class WindowBatch(NamedTuple):
    """W windows of at most L wordpieces, of docs that have T tokens together.

    borders (List[List[Tuple[int, int]]]): For each doc, the first token of each of its windows and
        the one after its last.
    ids (int64 [W, L]): Numbers of wordpieces, special tokens and padding included.
    mask (float32 [W, L]): 1, and 0 on padding.
    types (Optional[int64 [W, L]]): Token types, if the encoder reads them.
    places (int32 [A]): For each token, the places of its wordpieces in all W L, in their order.
    lengths (int32 [T]): How many of these each token has: more where windows overlap, and none for
        a token that is unseen.
    """

    borders: list[list[tuple[int, int]]]
    ids: NDArray[np.int64]
    mask: NDArray[np.float32]
    types: NDArray[np.int64] | None
    places: NDArray[np.int32]
    lengths: NDArray[np.int32]


def lay_out(
    pieces: Sequence[Pieces],
    borders: list[list[tuple[int, int]]],
    tokenizer: WordpieceTokenizer,
    limit: int,
) -> WindowBatch:
    """Put the wordpieces of docs into windows, between the special tokens.

    borders: See `WindowBatch`.
    limit (int): Wordpieces of the longest window. What an overlong token has beyond is cut off.
    """
    frame = tokenizer.frame
    n_special = frame.size
    sizes = [of_doc.n_tokens for of_doc in pieces]
    token_starts = np.cumsum([0, *sizes])[:-1]
    ids = _joined(of_doc.ids for of_doc in pieces)
    n_tokens = _joined(of_doc.lasts - of_doc.firsts + 1 for of_doc in pieces)
    firsts = _joined(
        of_doc.firsts + start for of_doc, start in zip(pieces, token_starts, strict=True)
    )
    before = np.append(0, np.cumsum(np.bincount(firsts, minlength=sum(sizes))))
    windows = _joined(
        np.array(of_doc, dtype="int64").reshape(-1, 2) + start
        for of_doc, start in zip(borders, token_starts, strict=True)
    ).reshape(-1, 2)
    begins = before[windows[:, 0]]
    held = np.minimum(before[windows[:, 1]] - begins, limit - n_special)

    width = max(1, int(held.max(initial=0)) + n_special)
    rows = np.repeat(np.arange(len(windows)), held)
    columns = len(frame.before) + _ranges(np.zeros_like(held), held)
    read = _ranges(begins, held)
    mask = np.arange(width) < (held + n_special)[:, None]
    ends = (len(frame.before) + held)[:, None] + np.arange(len(frame.after))

    def framed(padding: int, head: object, text: object, tail: object) -> NDArray[np.int64]:
        array = np.full(mask.shape, padding, dtype="int64")
        array[:, : len(frame.before)] = head
        array[rows, columns] = text
        array[np.arange(len(windows))[:, None], ends] = tail
        return array

    types = None
    if tokenizer.with_types:
        types = framed(tokenizer.pad_type, frame.types_before, frame.type, frame.types_after)
    tokens = _ranges(firsts[read], n_tokens[read])
    places = np.repeat(rows * width + columns, n_tokens[read])
    return WindowBatch(
        borders,
        framed(tokenizer.pad_id, frame.before, ids[read], frame.after),
        mask.astype("float32"),
        types,
        places[np.argsort(tokens, kind="stable")].astype("int32"),
        np.bincount(tokens, minlength=sum(sizes)).astype("int32"),
    )


def _joined(arrays: Iterable[NDArray[np.int64]]) -> NDArray[np.int64]:
    return np.concatenate([np.zeros(0, dtype="int64"), *(array.ravel() for array in arrays)])


def _ranges(starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """`start, start + 1, ...` of each range, end to end."""
    return np.repeat(starts - np.cumsum(lengths) + lengths, lengths) + np.arange(lengths.sum())
