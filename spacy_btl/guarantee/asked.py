"""What is asked of a pipeline."""

from collections.abc import Sequence
from dataclasses import dataclass

from spacy_btl.errors import GuaranteeError, listed
from spacy_btl.guarantee.tally import Match


@dataclass(frozen=True)
class Asked:
    """Levels by type, and how they are to hold.

    recall, precision (Dict[str, float]): Levels between 0 and 1; a type is in one of the two.
    risk (float): With what probability each promise may be wrong, between 0 and 1.
    match (str): "overlap" or "strict", see `tally.tally`.
    RAISES: GuaranteeError, for anything else.
    """

    recall: dict[str, float]
    precision: dict[str, float]
    risk: float
    match: Match

    def __post_init__(self) -> None:
        if not self.levels:
            raise GuaranteeError("Nothing is asked: name a type, and its --recall or --precision.")
        if both := sorted(self.recall.keys() & self.precision.keys()):
            raise GuaranteeError(
                f"{listed(both)}: a type has one setting, for its recall or for its precision. Ask "
                "for one of the two."
            )
        for name, value in {**self.levels, "the risk": self.risk}.items():
            if not 0 < value < 1:
                raise GuaranteeError(
                    f"{name}: {value:g} is not between 0 and 1, both excluded. 90% is 0.9."
                )

    @property
    def levels(self) -> dict[str, float]:
        """Those of both kinds."""
        return self.recall | self.precision

    def check_types(self, types: tuple[str, ...], *, overlapping: bool) -> None:
        """RAISES: GuaranteeError, for a type that a pipeline lacks, and where its types compete for
        what one setting cannot keep."""
        if unknown := sorted(self.levels.keys() - set(types)):
            raise GuaranteeError(
                f"The pipeline has no type {listed(unknown)}. It has {listed(types, 100)}."
            )
        if not overlapping and self.recall and self.precision:
            raise GuaranteeError(
                "Without spans_key the types compete: the tau for the recall of some changes which "
                "mentions others have. Ask for recall or for precision alone, or train with "
                "spans_key."
            )
        if not overlapping and self.recall and self.match == "strict":
            raise GuaranteeError(
                "Without spans_key a greater tau moves the boundaries of mentions, so recall by "
                "strict boundaries does not rise with it. Take --match overlap, or train with "
                "spans_key."
            )


def read_levels(given: Sequence[str]) -> dict[str, float]:
    """The levels of types that are given as "Type=0.9".

    RAISES: GuaranteeError, for anything else, and for a type that is there twice.
    """
    levels: dict[str, float] = {}
    for one in given:
        label, _, value = one.rpartition("=")
        try:
            level = float(value)
        except ValueError:
            label = ""
        if not label:
            raise GuaranteeError(f"{one!r} is no type with its level: give it as Outcome=0.9.")
        if label in levels:
            raise GuaranteeError(f"{label} is there twice: give one level for it.")
        levels[label] = level
    return levels
