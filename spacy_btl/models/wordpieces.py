"""From text to wordpieces: how many there are, where they are, and which each token is made of.

Tokenizers that mark the start of a word (`▁fever`, `Ġfever`) often say that the piece begins at the
blank before it, which belongs to the token before: white space at the ends of a piece is left out.
"""

from collections.abc import Iterable
from threading import Lock
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from spacy.attrs import IDX, LENGTH
from spacy.tokens import Doc, Span
from spacy_transformers.align import get_alignment_via_offset_mapping
from spacy_transformers.data_classes import WordpieceBatch
from thinc.types import Ints2d, Ragged
from transformers.tokenization_utils_fast import PreTrainedTokenizerFast

# A fast tokenizer fails where two threads use it at once.
TOKENIZING = Lock()

# All of Unicode's white space lies below: one more entry stands for all that is above.
_N_CODES = 0x3002
# White space that is a control character, save tab and line ends: a form feed, for one.
_CONTROLS = str.maketrans(dict.fromkeys("\x0b\x0c\x1c\x1d\x1e\x1f\x85", " "))
WHITE_SPACE = np.array([chr(code).isspace() for code in range(_N_CODES)])


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


def tokenize_windows(
    windows: Iterable[Span],
    tokenizer: PreTrainedTokenizerFast,
    *,
    limit: int,
    with_types: bool,
) -> tuple[WordpieceBatch, Ragged]:
    """Tokenize windows as spacy-transformers does, but cut an overlong token.

    spacy-transformers pads every window to that token's length first, which can take gigabytes.

    limit (int): How many wordpieces the encoder reads at most.
    with_types (bool): Whether the encoder reads token types, if the tokenizer has them.
    RETURNS (Tuple[WordpieceBatch, Ragged]): The wordpieces of each window, and those of each token.
    """
    windows = list(windows)
    texts = [readable(window.text) for window in windows]
    settings: dict[str, Any] = {
        "truncation": True,
        "return_attention_mask": True,
        "return_offsets_mapping": True,
        "return_tensors": "np",
        "return_token_type_ids": None if with_types else False,  # None: if the tokenizer has them
    }
    with TOKENIZING:
        encoding = tokenizer(texts, padding="longest", max_length=limit, **settings)
        if not encoding["input_ids"].size:  # no special tokens, and nothing else that it knows
            encoding = tokenizer(texts, padding="max_length", max_length=1, **settings)
    encoding["input_texts"] = [
        tokenizer.convert_ids_to_tokens(ids) for ids in encoding["input_ids"]
    ]
    encoding["pad_token"] = tokenizer.pad_token
    offsets = [
        trim_offsets(in_window, text)
        for in_window, text in zip(encoding["offset_mapping"], texts, strict=True)
    ]
    # The library's annotation names one array; it wants one for each window.
    align = get_alignment_via_offset_mapping(windows, cast(Ints2d, offsets))
    return WordpieceBatch.from_batch_encoding(encoding), align


def readable(text: str) -> str:
    """Replace control characters by blanks; the length stays. BERT's tokenizer deletes them, which
    joins the words on both sides of a form feed."""
    return text.translate(_CONTROLS)


def trim_offsets(offsets: NDArray[np.integer], text: str) -> NDArray[np.integer]:
    """Move the offsets of wordpieces past white space, at both ends.

    offsets (int [N, 2]): The first character of each wordpiece and the one after its last; of a
        special token or of padding the two are equal.
    text (str): What the tokenizer read.
    RETURNS (int [N, 2]): The new offsets. A wordpiece of white space alone becomes empty.
    """
    codes = np.frombuffer(text.encode("utf-32-le"), dtype="<u4")
    blank = WHITE_SPACE[np.minimum(codes, _N_CODES - 1)]
    starts, ends = offsets.T
    filled = ends > starts
    if not (blank[starts[filled]].any() or blank[ends[filled] - 1].any()):
        return offsets
    places = np.arange(len(codes) + 1)
    visible = np.where(blank, len(codes), places[:-1])
    next_visible = np.minimum.accumulate(np.append(visible, len(codes))[::-1])[::-1]
    last_end = np.maximum.accumulate(np.append(0, np.where(blank, 0, places[1:])))
    new_starts, new_ends = next_visible[starts], last_end[ends]
    kept = filled & (new_starts < new_ends)
    return np.where(kept, [new_starts, new_ends], starts).T
