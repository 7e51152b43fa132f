"""The line ends of a note, and which of them an entity may continue across.

Many systems wrap notes at some width, so that mentions run over the end of a line. In other notes
a line is an item of a list. A line is taken for wrapped if it is full: its next word would not fit.
"""

import re
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from spacy.attrs import IDX, IS_SPACE
from spacy.tokens import Doc

LINE_END = re.compile(r"\r\n|[\n\r\v\f\x85\u2028\u2029]")
# A form feed ends a page, and \u2029 a paragraph: as an empty line does.
PARAGRAPH_END = re.compile(r"[\f\u2029]")

# A line is full if its next word would make it longer than this share of the note's lines.
SHARE = 0.9
# Notes are wrapped at something between these, in characters. A longer line is not wrapped; a
# shorter one may be full all the same.
SHORT, LONG = 40, 132

# What lies between a token and the one before that is not white space.
SAME_LINE, FULL_LINE, OTHER_LINE, PARAGRAPH = range(4)


class Lines(NamedTuple):
    """The W tokens of a doc that are not white space.

    words (int64 [W]): Their places in the doc.
    breaks (int8 [W]): What lies before each: `SAME_LINE`, `FULL_LINE` or `OTHER_LINE` (one line
        end, behind a line that is full or is not), or `PARAGRAPH` (several of them, the end of a
        page, or the beginning of the doc).
    short (bool [W]): Whether its line has fewer than `SHORT` characters.
    """

    words: NDArray[np.int64]
    breaks: NDArray[np.int8]
    short: NDArray[np.bool_]


def white_space(doc: Doc) -> NDArray[np.bool_]:
    """Which tokens are white space: bool [T]."""
    return doc.to_array(IS_SPACE).astype(bool)


def read_lines(doc: Doc) -> Lines:
    """The lines of a doc."""
    text = doc.text
    words = np.flatnonzero(~white_space(doc))
    offsets = doc.to_array(IDX).astype("int64")[words]
    ends = list(LINE_END.finditer(text))
    starts = [0, *(end.end() for end in ends)]
    lines = [
        text[start:end].rstrip()
        for start, end in zip(starts, [*(end.start() for end in ends), len(text)], strict=True)
    ]
    lengths = np.array([len(line) for line in lines])
    width = np.quantile(lengths[lengths > 0], SHARE) if lengths.any() else 0
    of_word = np.searchsorted(starts, offsets, side="right") - 1
    breaks = np.full(len(words), SAME_LINE, dtype="int8")
    for i in np.flatnonzero(np.diff(of_word, prepend=-1)).tolist():
        line, before = of_word[i], of_word[i - 1]
        if not i or line > before + 1 or PARAGRAPH_END.match(ends[before].group()):
            breaks[i] = PARAGRAPH
        else:
            first, *_ = lines[line].split(maxsplit=1) or [""]
            length = lengths[before] + 1 + len(first)
            full = length > width and lengths[before] <= LONG
            breaks[i] = FULL_LINE if full else OTHER_LINE
    return Lines(words, breaks, lengths[of_word] < SHORT)
