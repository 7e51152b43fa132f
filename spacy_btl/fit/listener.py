"""What a run tells while it runs. Light to import, since the command line prints it."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from spacy_btl.corpora.report import ConversionReport
    from spacy_btl.fit.choices import Choice


class Listener:
    """Is told what a run does; this one says nothing."""

    def on_step(self, name: str, why: str) -> None:
        """A step begins. why (str): What changed, if it was finished before."""

    def on_converted(self, report: "ConversionReport") -> None:
        """The notes are converted."""

    def on_choices(self, chosen: dict[str, "Choice"]) -> None:
        """Settings are chosen."""

    def on_caution(self, text: str) -> None:
        """Something will not work."""

    def on_estimate(self, text: str) -> None:
        """How long the run takes, from its first steps."""

    def on_progress(self, done: float, left: float | None) -> None:
        """The share of the run that is done, and the seconds left, if known."""
