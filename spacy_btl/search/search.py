"""Nearest-neighbour search: the interface, and exact search by scikit-learn."""

from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from spacy import registry

Floats = NDArray[np.float32]
Ints = NDArray[np.integer]


@runtime_checkable
class Search(Protocol):
    """Finds the nearest rows by Euclidean distance.

    >>> from spacy_btl import Search, sklearn_search
    >>> isinstance(sklearn_search(), Search)
    True
    """

    def fit(self, rows: Floats) -> None:
        """Set the rows to search, float32 [M, C]. Called again after loading."""
        ...

    def query(self, rows: Floats, k: int) -> tuple[Floats, Ints]:
        """Distances and row numbers of the k nearest rows, nearest first: [N, k] each."""
        ...


@runtime_checkable
class DividingSearch(Search, Protocol):
    """A search that divides the rows into clusters, which are saved with them. Nothing else of a
    search is saved."""

    def get_clusters(self) -> NDArray[np.int32]:
        """The cluster of each row, int32 [M]."""
        ...

    def set_clusters(self, clusters: NDArray[np.int32]) -> None:
        """Spare dividing the rows that were just set: int32 [M], as `get_clusters` gave them."""
        ...


@registry.misc("spacy_btl.SklearnSearch.v1")
def sklearn_search() -> Search:
    """Exact search: the distances to all rows, by scikit-learn.

    >>> from spacy_btl import sklearn_search
    >>> search = sklearn_search()
    >>> search.fit(np.eye(3, dtype="float32"))
    >>> distances, rows = search.query(np.eye(3, dtype="float32")[:1], k=2)
    """
    return SklearnSearch()


class SklearnSearch:
    """See `sklearn_search`."""

    def __init__(self) -> None:
        from sklearn.neighbors import NearestNeighbors  # not for the searches that do without

        # A tree is slower than brute force in the 30 to 70 dimensions of logits.
        self._index = NearestNeighbors(algorithm="brute")

    def fit(self, rows: Floats) -> None:
        """Set the rows to search, float32 [M, C]."""
        self._index.fit(rows)

    def query(self, rows: Floats, k: int) -> tuple[Floats, Ints]:
        """Distances and row numbers of the k nearest rows, nearest first: [N, k] each."""
        return self._index.kneighbors(rows, n_neighbors=k)
