"""The best spans that do not overlap: weighted interval scheduling."""

from bisect import bisect_right
from collections.abc import Sequence


def best_subset(intervals: Sequence[tuple[int, int]], weights: Sequence[float]) -> list[int]:
    """The intervals of the greatest sum of weights, none of which overlap. O(n log n).

    Of subsets with the same sum it is the one whose last intervals end first, then the one with
    the longer intervals, then the one with those that are given first.

    intervals (Sequence[Tuple[int, int]]): Start, and end (exclusive).
    weights (Sequence[float]): Those that are not positive are never chosen.
    RETURNS (List[int]): The numbers of the chosen intervals, in the order of the text.
    """
    order = sorted(range(len(intervals)), key=lambda i: (intervals[i][1], intervals[i][0]))
    ends = [intervals[i][1] for i in order]
    best = [0.0]  # of the first n intervals
    before = [bisect_right(ends, intervals[i][0]) for i in order]
    for number, compatible in zip(order, before, strict=True):
        best.append(max(best[-1], best[compatible] + weights[number]))
    chosen, n = [], len(order)
    while n:
        if best[n] > best[n - 1]:
            chosen.append(order[n - 1])
            n = before[n - 1]
        else:
            n -= 1
    return chosen[::-1]
