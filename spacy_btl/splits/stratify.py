"""Divide documents into parts with similar shares of every entity type."""

from collections.abc import Iterator, Sequence

import numpy as np
from iterstrat.ml_stratifiers import IterativeStratification
from numpy.random import MT19937, RandomState, SeedSequence
from numpy.typing import NDArray

from spacy_btl.errors import CorpusError

ATTEMPTS = 10
UNASSIGNED = -1
ROUNDING = 1e-9

# D documents, or groups of them that stay together; C types, P parts.
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


def stratify(
    labels: Bools, shares: Sequence[float], *, seed: int, without: NDArray[np.integer]
) -> Ints:
    """Assign documents to parts by iterative stratification. No part is empty.

    Documents without an entity are assigned last, so that each part gets its share of them.

    Several attempts are made. The best one has the fewest types missing from a part. Ties are
    broken by how far the parts are from their shares of documents without an entity, where one
    document too many or too few does not count, and then from their shares of every type.

    labels (bool [D, C]): The types of each document. Every type is in some document.
    shares (Sequence[float]): The shares of the P parts; their sum is 1.
    seed (int): Not negative. The same seed gives the same parts.
    without (int [D]): 1 for a document without an entity, otherwise 0; of a group, their sum.
    RETURNS (int64 [D]): The part of each document.
    RAISES: CorpusError, if there are fewer documents than parts.
    """
    if len(labels) < len(shares):
        raise CorpusError(
            f"Too few documents, patients or texts ({len(labels)}) to divide into {len(shares)} "
            "parts."
        )
    attempts = _attempts(labels, np.asarray(shares), seed, without)
    return min(attempts, key=lambda attempt: attempt[0])[1]


def _attempts(
    labels: Bools, shares: Floats, seed: int, without: NDArray[np.integer]
) -> Iterator[tuple[tuple[int, float, float], Ints]]:
    """Yield divisions, each with its penalties."""
    totals, n_parts = labels.sum(axis=0), len(shares)
    labelled = labels.any(axis=1)
    for sequence in SeedSequence(seed).spawn(ATTEMPTS):
        rng = RandomState(MT19937(sequence))
        parts = np.full(len(labels), UNASSIGNED)
        parts[labelled] = _stratify_labelled(labels[labelled], shares, rng)
        _spread(parts, without, shares, rng)
        _fill(parts, n_parts)
        counts = _counts(parts, labels, n_parts)
        off = np.bincount(parts, without, n_parts) - shares * without.sum()
        excess = np.maximum(np.abs(off) - 1, 0).sum()
        distance = np.abs(counts / totals - shares[:, None]).sum()
        yield (int((counts == 0).sum()), float(excess), float(distance)), parts


def _stratify_labelled(labels: Bools, shares: Floats, rng: RandomState) -> Ints:
    """The parts of documents that have types."""
    parts = np.empty(len(labels), dtype=np.int64)
    order = rng.permutation(len(labels))
    parts[order] = IterativeStratification(labels[order], shares, rng)
    if len(parts) >= len(shares):
        _fill(parts, len(shares))
        _swap(parts, labels, len(shares))
    return parts


def _spread(parts: Ints, without: NDArray[np.integer], shares: Floats, rng: RandomState) -> None:
    """Assign the remaining documents, in place.

    Each goes to the part that lacks most of its share of documents without an entity, in whole
    documents. Of parts that lack as many, it goes to the one with the most room. The largest groups
    go first. Without groups, every part ends up less than one document off its share.
    """
    unassigned = rng.permutation(np.flatnonzero(parts == UNASSIGNED))
    assigned = parts != UNASSIGNED
    counts = np.bincount(parts[assigned], without[assigned], len(shares))
    lacking = shares * without.sum() - counts
    room = shares * len(parts) - np.bincount(parts[assigned], minlength=len(shares))
    for doc in unassigned[np.argsort(-without[unassigned], kind="stable")]:
        whole = np.maximum(np.floor(lacking + ROUNDING), 0)
        part = np.lexsort((room, lacking > ROUNDING, whole))[-1]
        parts[doc] = part
        lacking[part] -= without[doc]
        room[part] -= 1


def _fill(parts: Ints, n_parts: int) -> None:
    """Move a document from the largest part to each empty one, in place."""
    while (sizes := np.bincount(parts, minlength=n_parts)).min() == 0:
        parts[np.argmax(parts == sizes.argmax())] = sizes.argmin()


def _swap(parts: Ints, labels: Bools, n_parts: int) -> None:
    """Swap documents of two parts, in place, if fewer types are then missing from the two.

    Iterative stratification assigns types of three or four documents to the largest parts only.
    """
    wide = labels.astype(np.int64)
    for part, column in np.argwhere(_counts(parts, labels, n_parts) == 0):
        for doc in np.flatnonzero(labels[:, column] & (parts != part)):
            counts = _counts(parts, labels, n_parts)
            others = np.flatnonzero(parts == part)
            given = wide[doc] - wide[others]  # [others, C]: what `part` gains
            pair = [part, parts[doc]]
            after = (counts[pair[0]] + given == 0).sum(1) + (counts[pair[1]] - given == 0).sum(1)
            if after.min() < (counts[pair] == 0).sum():
                other = others[after.argmin()]
                parts[doc], parts[other] = part, parts[doc]
                break


def _counts(parts: Ints, labels: Bools, n_parts: int) -> Ints:
    """Count the documents of each part that have each type: int64 [P, C]."""
    return np.array([labels[parts == part].sum(axis=0) for part in range(n_parts)])
