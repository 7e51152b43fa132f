"""What a run tells while it runs, and how long the rest takes, from its first steps.

Light to import, since the command line prints it.
"""

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from spacy_btl.corpora.report import ConversionReport
    from spacy_btl.fit.choices import Choice

MEASURED = 10  # steps of training, before the time of the run is estimated
# What a step costs, in words that a network is trained on: prediction is a third of training.
PREDICTION = 1 / 3
FIXED = {"average": 3_000, "evaluate": 15_000, "card": 4_500, "package": 15_000}


class Listener:
    """Is told what a run does; this one says nothing."""

    def on_step(self, name: str, why: str) -> None:
        """A step begins. why (str): What changed, if it was finished before."""

    def on_converted(self, report: "ConversionReport", min_mentions: int) -> None:
        """The notes are converted, without the types that have fewer mentions."""

    def on_choices(self, chosen: dict[str, "Choice"]) -> None:
        """Settings are chosen."""

    def on_caution(self, text: str) -> None:
        """Something will not work."""

    def on_estimate(self, text: str) -> None:
        """How long the run takes, from its first steps."""

    def on_progress(self, done: float, left: float | None) -> None:
        """The share of the run that is done, and the seconds left, if known."""


def work_of(
    networks: Mapping[str, int], words: Mapping[str, int], per_step: int
) -> dict[str, float]:
    """The work of each step of a run, in words of training.

    networks (Mapping[str, int]): The steps of each network's training.
    words (Mapping[str, int]): Of "train", "dev" and "test".
    per_step (int): The words of a step of training.
    """
    return {
        **{name: float(steps * per_step) for name, steps in networks.items()},
        **({"average": float(FIXED["average"])} if len(networks) > 1 else {}),
        "calibrate": PREDICTION * (words["train"] + words["dev"]),
        "evaluate": PREDICTION * words["test"] + FIXED["evaluate"],
        "card": float(FIXED["card"]),
        "package": float(FIXED["package"]),
    }


class Clock:
    """Counts work, and estimates the seconds that the rest takes.

    work (Mapping[str, float]): Of each step of the run.
    per_step (int): The work of a step of training.
    least (float): The work of the smallest run.
    on_progress (Callable): Is told the share that is done, and the seconds left: None as long as
        they are not known.
    """

    def __init__(
        self,
        work: Mapping[str, float],
        per_step: int,
        least: float,
        on_progress: Callable[[float, float | None], None],
    ) -> None:
        self.work = dict(work)
        self.per_step = per_step
        self.least = least
        self.total = sum(work.values())
        self.on_progress = on_progress
        self.done = 0.0
        self.steps = 0
        self._since: tuple[float, float] | None = None  # time and work at the first step

    def finish(self, name: str) -> None:
        """A step of the run is finished, in this run or an earlier one."""
        names = list(self.work)
        self.done = sum(self.work[each] for each in names[: names.index(name) + 1])
        self._tell()

    def advance(self) -> None:
        """A step of training is done. The first is slower than the others, and not measured."""
        self.done += self.per_step
        self.steps += 1
        if self._since is None:
            self._since = (time.monotonic(), self.done)
        self._tell()

    @property
    def left(self) -> float | None:
        """The seconds that the rest of the run takes; None if no training was measured yet."""
        if self._since is None or self.steps <= 1:
            return None
        return self.seconds(self.total - self.done)

    def seconds(self, work: float) -> float:
        """The seconds that some work takes, by what was measured."""
        assert self._since is not None
        return work * (time.monotonic() - self._since[0]) / (self.done - self._since[1])

    def _tell(self) -> None:
        self.on_progress(self.done / self.total, self.left)
