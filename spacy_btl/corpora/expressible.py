"""What share of the mentions of a corpus a pipeline can express, with `spans_key` and without."""

from dataclasses import dataclass

# The share of the mentions that `spans_key` must add, to be recommended.
MIN_GAIN = 0.05


@dataclass(frozen=True)
class Expressible:
    """Counts of mentions.

    mentions (int): All that are annotated.
    flat (int): Those in `doc.ents`: at most one label per token.
    overlapping (int): Those that can be told apart with `spans_key`: all but the mentions that
        overlap another of their own type.
    """

    mentions: int
    flat: int
    overlapping: int

    @property
    def recommends_spans_key(self) -> bool:
        """Whether `spans_key` expresses so many more mentions that it should be set."""
        return self.overlapping - self.flat >= MIN_GAIN * max(self.mentions, 1)

    def __str__(self) -> str:
        flat, overlapping = (
            f"{count / max(self.mentions, 1):.1%}" for count in (self.flat, self.overlapping)
        )
        advice = "set it, so that the mentions that overlap are learned and predicted"
        if not self.recommends_spans_key:
            advice = "it is not needed here"
        return (
            f"One label per token expresses {flat} of the {self.mentions:,} mentions, and btl_ner "
            f"with spans_key {overlapping}: {advice}"
        )
