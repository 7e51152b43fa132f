"""What a tool calls the types of a pipeline. Types that it has no label for are left out."""

from collections import Counter
from collections.abc import Iterable, Mapping

Known = dict[str, str]  # a name of a type to the tool's label


def known_as(names: Iterable[tuple[str, str]]) -> Known:
    """Make what `shown` looks up.

    names (Iterable[Tuple[str, str]]): (a name of a type, the tool's label), the best match first.
    """
    pairs = [(name, label) for name, label in names if name and label]
    known: Known = {}
    for name, label in [*pairs, *((_folded(name), label) for name, label in pairs)]:
        known.setdefault(name, label)
    return known


def shown(label: str, known: Mapping[str, str]) -> str | None:
    """What a tool calls a type: the label of this name, or one that differs from it in capitals,
    white space and underscores alone. None if the tool has no such label."""
    return known.get(label) or known.get(_folded(label))


def listed(left_out: Counter[str]) -> str:
    """What the log says of mentions whose types a tool does not have; empty if there are none."""
    if not left_out:
        return ""
    types = ", ".join(f"{label} {number:,}" for label, number in sorted(left_out.items()))
    return f", left out since the tool has no such label: {types}"


def _folded(name: str) -> str:
    return " ".join(name.replace("_", " ").split()).casefold()
