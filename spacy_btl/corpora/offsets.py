"""What offsets count: characters, or, where the mentions' own texts say so, other units."""

from collections.abc import Iterator
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spacy_btl.corpora.note import Fragments

# How to name a unit, and how many of it a character takes whose code point is at least the key.
UNITS = {
    "": {0: 1},
    "UTF-16 code units": {0: 1, 0x10000: 2},
    "UTF-8 bytes": {0: 1, 0x80: 2, 0x800: 3, 0x10000: 4},
}


class Reading(NamedTuple):
    """One way to read the offsets of a note.

    name (str): What the offsets count; empty for characters of the text, each as one.
    starts (int64 [characters + 1]): The offset of each character, and of the end.
    """

    name: str
    starts: NDArray[np.int64]

    def characters(self, fragments: Fragments) -> Fragments | None:
        """The fragments in characters of the text; None if they are not all within it."""
        ends = [offset for fragment in fragments for offset in fragment]
        if min(ends) < 0 or max(ends) > self.starts[-1]:
            return None
        places = np.searchsorted(self.starts, fragments)
        if (self.starts[places] != fragments).any():  # within a character
            return None
        return tuple((int(start), int(end)) for start, end in places)


def readings(text: str, before: str = "") -> Iterator[Reading]:
    """The ways to read offsets into a text, the usual one first.

    before (str): What stands before the text in its file, a byte order mark, and may be counted.
    """
    codes = np.array([ord(character) for character in text], dtype="int64")
    line_ends = (codes[:-1] == ord("\r")) & (codes[1:] == ord("\n"))
    seen: list[NDArray[np.int64]] = []
    for unit, as_one, counts_before in product(UNITS, (False, True), (False, True)):
        widths = _widths(codes, unit)
        if as_one:
            widths[:-1][line_ends] = 0
        start = len(before) and _widths(np.array([ord(c) for c in before]), unit).sum()
        starts = np.cumsum([start if counts_before else 0, *widths], dtype="int64")
        if any(np.array_equal(starts, other) for other in seen):
            continue
        seen.append(starts)
        names = (
            unit,
            "CRLF as one" if as_one else "",
            "the byte order mark" if counts_before else "",
        )
        yield Reading(", ".join(filter(None, names)), starts)


def _widths(codes: NDArray[np.int64], unit: str) -> NDArray[np.int64]:
    firsts, widths = zip(*UNITS[unit].items(), strict=True)
    return np.array(widths)[np.searchsorted(firsts, codes, side="right") - 1]


def same_words(found: str, said: str) -> bool:
    """Whether two texts differ in white space alone, which tools write each in its own way."""
    return found.split() == said.split()


def alike(found: str, said: str) -> bool:
    """Whether two texts have one length and differ in some characters only: those that one of the
    two has lost or replaced, not a text that stands elsewhere."""
    plain = sum(a != b and (a + b).isascii() for a, b in zip(found, said, strict=False))
    return len(found) == len(said) and 2 * plain <= len(found)
