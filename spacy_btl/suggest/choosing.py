"""The choice of notes, one after the other. Arrays only."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spacy_btl.arrays import Probabilities
from spacy_btl.suggest.contents import Contents, distances_to, gain, novelty_of

# Of the powers of a note's words: between 0, by which long notes are chosen, and 1, by which short
# ones are. On MACCROBAT it finds nearly the mentions of the one at nearly the words of the other.
COST = 0.5


class Choice(NamedTuple):
    """A note that was chosen.

    number (int): Its place among the candidates.
    gains (float64 [K]): How much it lessens what is left to learn of each type.
    """

    number: int
    gains: Probabilities


def choose(
    notes: Sequence[Contents],
    counts: NDArray[np.floating],
    n: int,
    *,
    near: float | None = None,
    cost: float = COST,
) -> list[Choice]:
    """Choose notes one after the other, each for the greatest gain after those before it.

    What a chosen note is expected to hold counts as annotated, and words of other notes that are
    like its words count less. Of equal notes the first is chosen.

    counts (float [K]): The annotated mentions of each type.
    n (int): How many; all if there are fewer.
    near (Optional[float]): Words at this distance are unlike each other. With None the words of
        chosen notes are not compared.
    cost (float): The gain is divided by the words of the note to this power: at 0 all notes cost
        the same, and at 1 they are paid by the word.
    """
    if not notes:
        return []
    begins = np.cumsum([0, *(len(note.rows) for note in notes)])
    rows = np.concatenate([note.rows for note in notes])
    begin = np.concatenate([note.begin for note in notes])
    novelty = np.concatenate([note.novelty for note in notes])
    rest = np.stack([note.rest for note in notes])
    divisor = np.array([note.words for note in notes]) ** float(cost)
    known = np.array(counts, dtype="float64")
    left = np.ones(len(notes), dtype=bool)
    chosen: list[Choice] = []
    while len(chosen) < min(n, len(notes)):
        expected = rest + np.add.reduceat(begin * novelty[:, None], begins[:-1], axis=0)
        gains = gain(known, expected)
        best = int(np.where(left, gains.sum(axis=1) / divisor, -np.inf).argmax())
        chosen.append(Choice(best, gains[best]))
        left[best] = False
        known += expected[best]
        if near is not None:
            its_own = rows[begins[best] : begins[best + 1]]
            novelty = np.minimum(novelty, novelty_of(distances_to(rows, its_own).min(axis=1), near))
    return chosen
