"""How far a job is, how fast it runs, and how long the rest takes."""

import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

from spacy_btl.notes.notes import Note


class Progress(NamedTuple):
    """How far a job is.

    notes (int): Those that are done, in this run or an earlier one; while the input is counted,
        those that were read.
    of_notes (Optional[int]): All of them; None while the input is counted.
    words_per_second (Optional[float]): In this run; None before its first batch is done.
    seconds_left (Optional[float]): By the characters that are left; None before then, too.
    """

    notes: int
    of_notes: int | None = None
    words_per_second: float | None = None
    seconds_left: float | None = None


class Meter:
    """Counts what is done.

    notes, characters (int): Of the whole input.
    on_progress (Callable[[Progress], None]): Is told of each batch.
    """

    def __init__(
        self, notes: int, characters: int, on_progress: Callable[[Progress], None]
    ) -> None:
        self.of_notes, self.of_characters = notes, characters
        self.on_progress = on_progress
        self.notes = self.characters = 0
        self.words = self.read = 0  # in this run
        self._since = time.monotonic()

    def pass_over(self, notes: Iterable[Note]) -> None:
        """These notes were done in an earlier run. It takes no time that tells of the others."""
        self._count(notes)
        if not self.read:
            self._since = time.monotonic()

    def annotated(self, notes: Iterable[Note], words: int) -> None:
        """A batch is done. words (int): Its tokens."""
        before = self.characters
        self._count(notes)
        self.words += words
        self.read += self.characters - before
        seconds = max(time.monotonic() - self._since, 1e-9)
        known = self.read > 0
        self.on_progress(
            Progress(
                self.notes,
                self.of_notes,
                self.words / seconds if known else None,
                (self.of_characters - self.characters) * seconds / self.read if known else None,
            )
        )

    def _count(self, notes: Iterable[Note]) -> None:
        for note in notes:
            self.notes += 1
            self.characters += len(note.text or "")
