"""The units that offsets count: characters, or what makes the mentions' own texts agree."""

from collections.abc import Iterator
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spacy_btl.corpora.note import Fragments

# The name of an encoding, and how many units a character takes from each code point on.
ENCODINGS = {
    "": {0: 1},
    "UTF-16 code units": {0: 1, 0x10000: 2},
    "UTF-8 bytes": {0: 1, 0x80: 2, 0x800: 3, 0x10000: 4},
}
# A tool may count offsets before another one rewrites the line ends.
CRLF_AS_ONE, LF_AS_TWO = "CRLF as one", "LF as two"
BYTE_ORDER_MARK = "the byte order mark"


class OffsetUnit(NamedTuple):
    """One way to count offsets into a text.

    name (str): What the offsets count; empty for the characters of the text.
    starts (int64 [characters + 1]): The offset of each character, and of the end.
    """

    name: str
    starts: NDArray[np.int64]

    def to_characters(self, fragments: Fragments) -> Fragments | None:
        """Return the fragments in characters; None if an offset is not that of a character."""
        ends = [offset for fragment in fragments for offset in fragment]
        if min(ends) < 0 or max(ends) > self.starts[-1]:
            return None
        places = np.searchsorted(self.starts, fragments)
        if (self.starts[places] != fragments).any():  # within a character
            return None
        return tuple((int(start), int(end)) for start, end in places)


def offset_units(text: str, before: str = "") -> Iterator[OffsetUnit]:
    """Yield the ways to count offsets into a text, from the most usual one, characters.

    before (str): What stands before the text in its file and may be counted: a byte order mark.
    """
    ways = product(ENCODINGS, ("", CRLF_AS_ONE, LF_AS_TWO), ("", BYTE_ORDER_MARK))
    codes, codes_before = _codes(text), _codes(before)
    seen: list[NDArray[np.int64]] = []
    for encoding, line_ends, mark in sorted(ways, key=lambda way: way[1] == LF_AS_TWO):
        first = _widths(codes_before, encoding).sum() if mark else 0
        widths = _widths(codes, encoding) + _corrections(codes, line_ends)
        starts = np.cumsum([first, *widths], dtype="int64")
        if not any(np.array_equal(starts, other) for other in seen):
            seen.append(starts)
            yield OffsetUnit(", ".join(filter(None, (encoding, line_ends, mark))), starts)


def length(text: str, encoding: str) -> int:
    """The length of a text in units of an encoding. encoding (str): A key of `ENCODINGS`."""
    return int(_widths(_codes(text), encoding).sum())


def _codes(text: str) -> NDArray[np.int64]:
    return np.array([ord(character) for character in text], dtype="int64")


def _widths(codes: NDArray[np.int64], encoding: str) -> NDArray[np.int64]:
    """The units that each character takes: int64 [characters]."""
    firsts, widths = zip(*ENCODINGS[encoding].items(), strict=True)
    return np.array(widths)[np.searchsorted(firsts, codes, side="right") - 1]


def _corrections(codes: NDArray[np.int64], line_ends: str) -> NDArray[np.int64]:
    """What to add to the widths if line ends are counted otherwise: int64 [characters]."""
    returns, feeds = codes == ord("\r"), codes == ord("\n")
    if line_ends == CRLF_AS_ONE:
        return -(returns & np.append(feeds[1:], False)).astype("int64")
    if line_ends == LF_AS_TWO:
        return (feeds & ~np.append(False, returns[:-1])).astype("int64")
    return np.zeros(len(codes), dtype="int64")


def same_words(first: str, second: str) -> bool:
    """Whether two texts differ in white space alone, which each tool writes in its own way."""
    return first.split() == second.split()


def same_length_and_alike(first: str, second: str) -> bool:
    """Whether two texts have one length and at most half of their characters differ.

    Only pairs of ASCII characters count as different: others are lost or replaced by some tools.
    """
    differing = sum(a != b and (a + b).isascii() for a, b in zip(first, second, strict=False))
    return len(first) == len(second) and 2 * differing <= len(first)
