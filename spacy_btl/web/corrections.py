"""What a reader corrects in the entities of a note: other types, deleted ones, added ones."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from spacy_btl.notes.entities import Entity

Place = tuple[int, int, str]  # the characters of an entity, and its type


class Correction(NamedTuple):
    """A correction.

    found (Optional[Entity]): What the pipeline found; None for a mention that it missed.
    meant (Optional[Entity]): What is there instead, without a confidence; None for nothing.
    """

    found: Entity | None
    meant: Entity | None


def place_of(entity: Entity) -> Place:
    """What tells an entity from the others of its note."""
    return entity.start, entity.end, entity.label


def corrected(entities: Iterable[Entity], corrections: Sequence[Correction]) -> list[Entity]:
    """The entities of a note with its corrections, in the order of the text. What is meant is there
    even if the pipeline finds it with other settings only."""
    wrong = {place_of(one.found) for one in corrections if one.found is not None}
    kept = {place_of(one): one for one in entities if place_of(one) not in wrong}
    kept |= {place_of(one.meant): one.meant for one in corrections if one.meant is not None}
    return [kept[place] for place in sorted(kept)]


def retyped(
    corrections: Sequence[Correction], entity: Entity, label: str | None
) -> list[Correction]:
    """The corrections with another one of an entity that is shown.

    label (Optional[str]): Its type; None if it is no entity.
    """
    found: Entity | None = entity
    others = []
    for one in corrections:
        if one.meant is not None and place_of(one.meant) == place_of(entity):
            found = one.found
        else:
            others.append(one)
    meant = None if label is None else entity._replace(label=label, confidence=None)
    if found is None and meant is None:
        return others
    if found is not None and meant is not None and place_of(found) == place_of(meant):
        return others
    return [*others, Correction(found, meant)]


def added(corrections: Sequence[Correction], entity: Entity) -> list[Correction]:
    """The corrections with a mention that is not shown. If it was deleted, it is restored."""
    deleted = [
        one
        for one in corrections
        if one.found is not None and place_of(one.found) == place_of(entity)
    ]
    if deleted:
        return [one for one in corrections if one not in deleted]
    return [*corrections, Correction(None, entity)]
