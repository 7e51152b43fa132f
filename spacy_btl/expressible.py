"""Which mentions of a corpus a pipeline can express, with `spans_key` and without."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from spacy.tokens import Doc, Span

from spacy_btl.errors import counted
from spacy_btl.mentions import MENTIONS, merged_mentions
from spacy_btl.tags import strip_space

# The share of the mentions that `spans_key` must add, to be recommended.
MIN_GAIN = 0.02

# Why a mention is lost.
DUPLICATE = "place and type of another"
OWN_TYPE = "overlap with another of its type"
OTHER_TYPE = "overlap with one of another type"
GAP = "overlap of a discontinuous mention"

Fragments = Sequence[Span]  # of one mention, none empty


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
            f"One label per token expresses {flat} of the {counted(self.mentions, 'mention')}, and "
            f"btl_ner with spans_key {overlapping}: {advice}"
        )


def fragments_of(doc: Doc) -> list[list[Span]]:
    """The fragments of each mention of a doc, which share an id. White space is trimmed; a mention
    of white space alone has none."""
    mentions: dict[str | int, list[Span]] = {}
    for number, span in enumerate(doc.spans.get(MENTIONS, ())):
        fragments = mentions.setdefault(span.id_ or number, [])
        if len(trimmed := strip_space(span)):
            fragments.append(trimmed)
    return list(mentions.values())


def lost_with_spans_key(mentions: Sequence[Fragments]) -> dict[int, str]:
    """The mentions of a doc that cannot be told from another of their type, by their numbers, each
    with the reason."""
    places = [
        (min(one.start for one in fragments), max(one.end for one in fragments), one.label_)
        for fragments in mentions
        for one in fragments[:1]
    ]
    merged = merged_mentions(places)
    same = Counter(places)
    reasons: dict[int, str] = {}
    for label in {places[number][2] for number in merged}:
        gapped = _covered(
            place[:2]
            for place, fragments in zip(places, mentions, strict=True)
            if place[2] == label and len(fragments) > 1
        )
        for number in merged:
            start, end, own = place = places[number]
            if own == label:
                discontinuous = gapped[start:end].any()
                reasons[number] = (
                    DUPLICATE if same[place] > 1 else GAP if discontinuous else OWN_TYPE
                )
    return reasons


def _covered(places: Iterable[tuple[int, int]]) -> NDArray[np.bool_]:
    """Which tokens are in any of the places; those behind the last are left out."""
    places = list(places)
    covered = np.zeros(max((end for _, end in places), default=0), dtype=bool)
    for start, end in places:
        covered[start:end] = True
    return covered
