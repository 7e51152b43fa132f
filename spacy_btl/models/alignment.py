"""The text that a tokenizer gets, and where each wordpiece lies in it.

Tokenizers that mark the start of a word (`▁fever`, `Ġfever`) often count the blank before it to the
wordpiece. That blank belongs to the token before.
"""

import numpy as np
from numpy.typing import NDArray

# All of Unicode's white space lies below: one more entry stands for all that is above.
_N_CODES = 0x3002
# White space that is a control character, save tab and line ends: a form feed, for one.
_CONTROLS = str.maketrans(dict.fromkeys("\x0b\x0c\x1c\x1d\x1e\x1f\x85", " "))
WHITE_SPACE = np.array([chr(code).isspace() for code in range(_N_CODES)])


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
