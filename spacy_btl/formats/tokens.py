"""Mentions of annotation that is made of tokens: tags in IO, IOB1, IOB2, BIOES and their kin."""

from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import NamedTuple

# Which positions a tag can say, and whether it then begins or ends a mention by itself.
BEGINS, ENDS = frozenset("BSU"), frozenset("ESLU")
POSITIONS = frozenset("BIMESLU")


class TokenMention(NamedTuple):
    """A mention: its type, and its first and last token."""

    type: str
    first: int
    last: int


def tag_problem(tag: str) -> str | None:
    """Return why a tag is none of `O` and `B-TYPE`, or None."""
    position, hyphen, label = tag.partition("-")
    if tag == "O" or (position in POSITIONS and hyphen and label.strip()):
        return None
    return "a tag other than O and B-TYPE, I-TYPE, ... of IOB or BIOES"


def mentions_of_tags(tags: Sequence[str]) -> Iterator[TokenMention]:
    """Read the tags of a sentence.

    A mention begins with B, S or U, with another type than that of the tag before, and behind O
    and the end of a mention. So `I-TYPE` may begin one, as in IOB1.
    """
    first, current = 0, ""
    for i, tag in enumerate([*tags, "O"]):
        position, _, label = tag.partition("-")
        ended = not current or tags[i - 1][0] in ENDS
        if current and (label != current or position in BEGINS or ended):
            yield TokenMention(current, first, i - 1)
            current = ""
        if label and not current:
            first, current = i, label


def joined(tokens: Sequence[str], space: str = " ") -> tuple[str, list[tuple[int, int]]]:
    """Return tokens as a text with a space between them, and the offsets of each."""
    lengths = [len(token) + len(space) for token in tokens]
    starts = [0, *accumulate(lengths)]
    offsets = [(start, start + len(token)) for start, token in zip(starts, tokens, strict=False)]
    return space.join(tokens), offsets
