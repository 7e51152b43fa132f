"""Which predicted entities are correct: the one rule, for scores, calibration and reports.

Entities are rows of integers, [P, F]: where they are and their type.
"""

from collections.abc import Iterable
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

Entities = NDArray[np.integer[Any]]
Span = tuple[int, int]


def are_correct(predicted: Entities, gold: Entities) -> NDArray[np.bool_]:
    """Whether each predicted entity is a gold entity: same boundaries, same type. bool [P].

    Each gold entity counts once, as in spaCy's scorer: two predicted entities can fall on one gold
    token where the tokenizations differ.

    predicted (int [P, F]), gold (int [M, F]): Entities.
    """
    numbers, gold_numbers = _numbered(predicted, gold)
    is_first = np.zeros(len(predicted), dtype=bool)
    is_first[np.unique(numbers, return_index=True)[1]] = True
    return np.isin(numbers, gold_numbers) & is_first


def are_among(entities: Entities, others: Entities) -> NDArray[np.bool_]:
    """Whether each of some entities [P, F] is one of the others [M, F]: bool [P]."""
    return np.isin(*_numbered(entities, others))


def _numbered(entities: Entities, others: Entities) -> tuple[Entities, Entities]:
    """One number for each entity; equal ones have the same."""
    _, numbers = np.unique(np.concatenate([entities, others]), axis=0, return_inverse=True)
    numbers = numbers.reshape(-1)
    return numbers[: len(entities)], numbers[len(entities) :]


def count_overlaps(gold: Iterable[Span], predicted: Iterable[Span]) -> int:
    """How many predicted entities of one type in one document share a token with a gold one, each
    matched to at most one other, as in SemEval-2013 task 9.1.

    gold (Iterable[Tuple[int, int]]): Boundaries; they may overlap each other.
    predicted (Iterable[Tuple[int, int]]): Boundaries. If none overlaps another, no other matching
        has more pairs (Glover 1967).
    """
    free = sorted(gold, key=itemgetter(1))
    matched = 0
    for start, end in sorted(predicted):
        for i, (gold_start, gold_end) in enumerate(free):
            if gold_start < end and start < gold_end:
                del free[i]  # the one that ends first: later ones have more to choose from
                matched += 1
                break
    return matched


def partial_credit(gold: list[tuple[int, int]], predicted: list[tuple[int, int]]) -> float:
    """The credit of predicted entities of one type in one document: 1 for a correct entity, 1/2 for
    one that only overlaps a gold entity.

    This is the "partial" measure of SemEval-2013 task 9.1, applied type by type, as nervaluate does
    for its scores per type. An entity is matched to at most one other.

    gold, predicted (List[Tuple[int, int]]): Boundaries, in order.
    """
    credit, i = 0.0, 0
    for start, end in predicted:
        while i < len(gold) and gold[i][1] <= start:
            i += 1
        if i < len(gold) and gold[i][0] < end:
            credit += 1.0 if gold[i] == (start, end) else 0.5
            i += 1
    return credit
