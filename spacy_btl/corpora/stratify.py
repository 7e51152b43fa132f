"""Divide documents into parts that have every entity type in like shares."""

from collections.abc import Iterator, Sequence

import numpy as np
from iterstrat.ml_stratifiers import IterativeStratification
from numpy.random import MT19937, RandomState, SeedSequence
from numpy.typing import NDArray

from spacy_btl.errors import CorpusError

ATTEMPTS = 10
NOWHERE = -1
ROUNDING = 1e-9

# D documents, or groups of them that stay together; C types, P parts.
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


def stratify(
    labels: Bools, shares: Sequence[float], *, seed: int, without: NDArray[np.integer]
) -> Ints:
    """Assign documents to parts, none of them empty, by iterative stratification; then those
    without an entity, so that each part has its share of these too.

    Of several attempts the one with the fewest types missing from a part is returned; among those
    the one whose parts are nearest to their shares of documents without an entity (to be one off is
    near enough), and then to their shares of every type.

    labels (bool [D, C]): Which types each has; every type is in some document.
    shares (Sequence[float]): The P parts' shares; their sum is 1.
    seed (int): Not negative. Decides everything; numpy's global state is left alone.
    without (int [D]): Documents without an entity in each: 0 or 1, but for a group.
    RETURNS (int64 [D]): The part of each.
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
    """Yield divisions with what is wrong with each."""
    totals, n_parts = labels.sum(axis=0), len(shares)
    labelled = labels.any(axis=1)
    for sequence in SeedSequence(seed).spawn(ATTEMPTS):
        rng = RandomState(MT19937(sequence))
        parts = np.full(len(labels), NOWHERE)
        parts[labelled] = _stratify_labelled(labels[labelled], shares, rng)
        _spread(parts, without, shares, rng)
        _fill(parts, n_parts)
        counts = _counts(parts, labels, n_parts)
        off = np.bincount(parts, without, n_parts) - shares * without.sum()
        too_far = np.maximum(np.abs(off) - 1, 0).sum()
        distance = np.abs(counts / totals - shares[:, None]).sum()
        yield (int((counts == 0).sum()), float(too_far), float(distance)), parts


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
    """Give each document that is nowhere yet, in place, to the part that lacks most whole documents
    of its share of those without an entity; where parts lack as many, to the one with most room.

    The largest groups go first. Single documents leave every part less than one off its share.
    """
    nowhere = rng.permutation(np.flatnonzero(parts == NOWHERE))
    here = parts != NOWHERE
    lacking = shares * without.sum() - np.bincount(parts[here], without[here], len(shares))
    room = shares * len(parts) - np.bincount(parts[here], minlength=len(shares))
    for doc in nowhere[np.argsort(-without[nowhere], kind="stable")]:
        whole = np.maximum(np.floor(lacking + ROUNDING), 0)
        part = np.lexsort((room, lacking > ROUNDING, whole))[-1]
        parts[doc] = part
        lacking[part] -= without[doc]
        room[part] -= 1


def _fill(parts: Ints, n_parts: int) -> None:
    """Give an empty part a document of the largest, in place."""
    while (sizes := np.bincount(parts, minlength=n_parts)).min() == 0:
        parts[np.argmax(parts == sizes.argmax())] = sizes.argmin()


def _swap(parts: Ints, labels: Bools, n_parts: int) -> None:
    """Swap documents, in place, where that leaves fewer types missing from the two parts.

    Iterative stratification gives a type of three or four documents to the largest parts only.
    """
    wide = labels.astype(np.int64)
    for part, column in np.argwhere(_counts(parts, labels, n_parts) == 0):
        for doc in np.flatnonzero(labels[:, column] & (parts != part)):
            counts = _counts(parts, labels, n_parts)
            others = np.flatnonzero(parts == part)
            given = wide[doc] - wide[others]  # [others, C]: what the swap brings to `part`
            pair = [part, parts[doc]]
            after = (counts[pair[0]] + given == 0).sum(1) + (counts[pair[1]] - given == 0).sum(1)
            if after.min() < (counts[pair] == 0).sum():
                other = others[after.argmin()]
                parts[doc], parts[other] = part, parts[doc]
                break


def _counts(parts: Ints, labels: Bools, n_parts: int) -> Ints:
    """int64 [P, C]: the documents of each part that have each type."""
    return np.array([labels[parts == part].sum(axis=0) for part in range(n_parts)])
