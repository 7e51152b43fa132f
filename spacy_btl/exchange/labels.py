"""Convert between the labels of a Hugging Face token classifier and our tags."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from spacy_btl.errors import PipelineError
from spacy_btl.tags import SchemeName, TagScheme

# The type of a checkpoint whose labels are B, I and O alone.
NAMELESS = "ENTITY"

# The marks of the schemes in use: BIO and IO, and those that mark ends and single tokens too.
MARKS = frozenset("BILUESM")
SEPARATORS = "-_:./| "
SHOWN = 8


class Marked(NamedTuple):
    """A label in two parts: the mark of its scheme, in upper case, and the entity type."""

    mark: str
    type: str


def to_labels(scheme: TagScheme) -> list[str]:
    """The labels of our tags, in their order: with IO, a type's is `I-` and its name, so that what
    reads BIO reads it as well."""
    prefix = "I-" if scheme.scheme == "IO" else ""
    return ["O", *(prefix + tag for tag in scheme.tags[1:])]


def from_labels(id2label: Mapping[int, str]) -> tuple[TagScheme, list[int | None]]:
    """The tags that a classifier's labels stand for.

    id2label (Mapping[int, str]): As in its config: "O", and types whose names are plain, or all
        have a mark, B or I, at one end, behind one separator: `B-X`, `B_X`, `X-B`, `B:X`, `b-x`;
        or B and I alone, which are of a type named "ENTITY".
    RETURNS (Tuple[TagScheme, List[Optional[int]]]): The scheme, types sorted, and for each of its
        tags the id of its label; None where the classifier has none (a type without `I-`).
    RAISES: PipelineError, for labels of another kind. Schemes that mark ends and single tokens
        (BILOU, BIOES, BMES) are among them: `L-X` and `U-X` have no column of ours, and no linear
        layer decides as the maximum of several does.
    """
    outside = _outside(id2label)
    labels = {number: label for number, label in id2label.items() if number != outside}
    marked = _marked(list(labels.values()))
    _check_scheme({mark for mark, _ in marked})
    name: SchemeName = "BIO" if any(mark == "B" for mark, _ in marked) else "IO"
    scheme = TagScheme(sorted({type_ for _, type_ in marked}), name)
    ids = dict(zip(marked, labels, strict=True))
    marks = "BI" if name == "BIO" else "I"
    return scheme, [outside, *(ids.get(Marked(m, t)) for t in scheme.types for m in marks)]


def _outside(id2label: Mapping[int, str]) -> int:
    """The id of O, once the labels are known to be such a list."""
    labels = list(id2label.values())
    if any(str(label).startswith("LABEL_") for label in labels):
        raise PipelineError(
            f"The labels of the checkpoint have no names ({_listed(labels)}): set id2label in its "
            "config.json to the tags that it was trained with, in their order, 'O' among them."
        )
    outside = [number for number, label in id2label.items() if label in ("O", "o")]
    numbered = sorted(id2label) == list(range(len(labels)))
    named = all(isinstance(label, str) and label.strip() for label in labels)
    different = named and len(set(labels)) == len(labels)
    if len(outside) != 1 or len(labels) < 2 or not (numbered and different):
        raise PipelineError(
            "The labels of the checkpoint are not those of entities: they must be different, "
            f"numbered from 0, 'O' among them, and are {_listed(labels)}. Correct id2label in its "
            "config.json."
        )
    return outside[0]


def _marked(labels: Sequence[str]) -> list[Marked]:
    """Each label's mark and type, by the one reading that fits them all; plain types have I."""
    alone = [label.upper() for label in labels]
    if {"B", "I"} <= set(alone) <= MARKS:
        return [Marked(mark, NAMELESS) for mark in alone]
    readings = [
        (at_start, [_split(label, separator, at_start) for label in labels])
        for at_start in (True, False)
        for separator in SEPARATORS
    ]
    for at_start, reading in readings:
        marked = [found for found in reading if found]
        if len(marked) == len(labels) and _has_marks(marked, at_start=at_start):
            if len(set(marked)) == len(marked):
                return marked
            raise _ambiguous(labels, "two of them are the same but for upper and lower case")
    for at_start, reading in readings:
        marked = [found for found in reading if found]
        if _has_marks(marked, at_start=at_start):
            without = labels[reading.index(None)]
            raise _ambiguous(labels, f"some have a mark of a scheme, and {without!r} has none")
        if len(marked) == len(labels) and {mark for mark, _ in marked} == {"B"}:
            raise _ambiguous(labels, "all have the mark B and none has I, so it may be a name's")
    return [Marked("I", label) for label in labels]


def _split(label: str, separator: str, at_start: bool) -> Marked | None:
    if at_start:
        mark, _, name = label.partition(separator)
    else:
        name, _, mark = label.rpartition(separator)
    return Marked(mark.upper(), name) if mark.upper() in MARKS and name else None


def _has_marks(marked: Sequence[Marked], at_start: bool) -> bool:
    """Whether these are marks, and no letters of names ("B-cell", "Stage_I"): a type has two of
    them, or an I stands in front; behind a name, B and I."""
    marks: dict[str, set[str]] = {}
    for mark, type_ in marked:
        marks.setdefault(type_, set()).add(mark)
    if at_start:
        return any("I" in found or len(found) > 1 for found in marks.values())
    return any({"B", "I"} <= found for found in marks.values())


def _check_scheme(marks: set[str]) -> None:
    if not marks <= {"B", "I"}:
        name = "BILOU" if marks & {"L", "U"} else "BMES" if "M" in marks else "BIOES"
        raise PipelineError(
            f"The labels of the checkpoint are in the scheme {name}, and only IO and BIO keep "
            "their logits here: train it again with one of these, or train a btl_ner."
        )


def _ambiguous(labels: Sequence[str], why: str) -> PipelineError:
    return PipelineError(
        f"The labels of the checkpoint can be read in two ways, since {why}: {_listed(labels)}. "
        "Set id2label in its config.json to B- and I- and the types, or to the types alone."
    )


def _listed(labels: Iterable[object]) -> str:
    shown = [repr(label) for label in labels]
    return ", ".join(shown[:SHOWN]) + (" ..." if len(shown) > SHOWN else "")
