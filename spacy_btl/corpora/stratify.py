"""Divide documents into parts that have every entity type in like shares."""

from collections.abc import Iterator, Sequence

import numpy as np
from iterstrat.ml_stratifiers import IterativeStratification
from numpy.random import MT19937, RandomState, SeedSequence
from numpy.typing import NDArray

from spacy_btl.errors import CorpusError

ATTEMPTS = 10

# D documents, C types, P parts.


def stratify(labels: NDArray[np.bool_], shares: Sequence[float], *, seed: int) -> NDArray[np.int64]:
    """Assign documents to parts, none of them empty, by iterative stratification.

    Of several attempts the one with the fewest types missing from a part is returned, and among
    those the one whose parts come closest to their shares of every type.

    labels (bool [D, C]): Which types each document has; every type is in some document.
    shares (Sequence[float]): The P parts' shares of the documents; their sum is 1.
    seed (int): Not negative. Decides everything; numpy's global state is left alone.
    RETURNS (int64 [D]): The part of each document.
    RAISES: CorpusError, if there are fewer documents than parts.
    """
    if len(labels) < len(shares):
        raise CorpusError(
            f"Too few documents, or patients ({len(labels)}), to divide into {len(shares)} parts."
        )
    return min(_attempts(labels, np.asarray(shares), seed), key=lambda attempt: attempt[0])[1]


def _attempts(
    labels: NDArray[np.bool_], shares: NDArray[np.float64], seed: int
) -> Iterator[tuple[tuple[int, float], NDArray[np.int64]]]:
    """Yield divisions with what is wrong with each: types missing, then distance from shares."""
    totals = labels.sum(axis=0)
    for sequence in SeedSequence(seed).spawn(ATTEMPTS):
        rng = RandomState(MT19937(sequence))
        order = rng.permutation(len(labels))
        parts = np.empty(len(labels), dtype=np.int64)
        parts[order] = IterativeStratification(labels[order], shares, rng)
        _fill(parts, len(shares))
        _swap(parts, labels, len(shares))
        counts = _counts(parts, labels, len(shares))
        distance = np.abs(counts / totals - shares[:, None]).sum()
        yield (int((counts == 0).sum()), float(distance)), parts


def _fill(parts: NDArray[np.int64], n_parts: int) -> None:
    """Give an empty part a document of the largest, in place."""
    while (sizes := np.bincount(parts, minlength=n_parts)).min() == 0:
        parts[np.argmax(parts == sizes.argmax())] = sizes.argmin()


def _swap(parts: NDArray[np.int64], labels: NDArray[np.bool_], n_parts: int) -> None:
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


def _counts(parts: NDArray[np.int64], labels: NDArray[np.bool_], n_parts: int) -> NDArray[np.int64]:
    """int64 [P, C]: the documents of each part that have each type."""
    return np.array([labels[parts == part].sum(axis=0) for part in range(n_parts)])
