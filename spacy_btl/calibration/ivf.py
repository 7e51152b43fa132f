"""Approximate nearest neighbours by an inverted file (IVF).

k-means divides the rows into clusters, which are kept as inverted lists. A query is compared with
the centroids of all lists, and with the rows of the nearest lists only.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from threading import Lock

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.cluster import MiniBatchKMeans
from sklearn.neighbors import NearestNeighbors
from spacy import registry
from threadpoolctl import ThreadpoolController

from spacy_btl.calibration.search import Floats, Search

# An exact search of fewer rows is as fast.
EXACT_BELOW = 20_000
# Lists whose rows are compared with a query. docs/performance.md has its cost and its accuracy.
NPROBE = 40
# Mean share of a list's capacity that k-means is asked to fill: its clusters differ in size.
FILL = 0.75
# Distances that a thread computes at a time: 32 MB, and twice as much again to work on them.
MAX_DISTANCES = 2**23
MAX_THREADS = 8
# The BLAS limit belongs to the process: without a lock, one thread restores the limit of another.
BLAS_LOCK = Lock()


@registry.misc("spacy_btl.ClusterSearch.v1")
def cluster_search() -> Search:
    """Approximate search by inverted lists; exact with fewer than 20,000 rows.

    >>> from spacy_btl import cluster_search
    >>> search = cluster_search()
    >>> search.fit(np.eye(3, dtype="float32"))
    >>> distances, rows = search.query(np.eye(3, dtype="float32")[:1], k=2)
    """
    return ClusterSearch()


class ClusterSearch:
    """See `cluster_search`. It clusters the rows at the first query, not at loading."""

    def __init__(self) -> None:
        self._exact = NearestNeighbors(algorithm="brute")
        self._rows: Floats = np.zeros((0, 0), "float32")
        self._lists: InvertedLists | None = None

    def fit(self, rows: Floats) -> None:
        """Set the rows to search, float32 [M, C]."""
        if self._lists is not None and np.array_equal(rows, self._rows):
            return  # a worker process receives the lists with the search
        self._rows = rows
        self._lists = None
        self._exact.fit(rows)

    def query(self, rows: Floats, k: int) -> tuple[Floats, NDArray[np.integer]]:
        """Distances and row numbers of the k nearest rows, nearest first: [N, k] each."""
        if len(self._rows) < EXACT_BELOW:
            return self._exact.kneighbors(rows, n_neighbors=k)
        if self._lists is None:
            self._lists = InvertedLists.from_rows(self._rows)
        lists = self._lists
        n_lists, capacity = lists.numbers.shape
        nprobe = min(max(NPROBE, k), n_lists)  # each list has at least one row
        size = max(1, MAX_DISTANCES // (nprobe * capacity))
        blocks = [rows[start : start + size] for start in range(0, len(rows), size)]

        def nearest(block: Floats) -> tuple[Floats, NDArray[np.integer]]:
            return self._nearest(block, k, lists, nprobe)

        # The matrix products are too small for BLAS to divide: threads share the blocks instead.
        threads = min(torch.get_num_threads(), len(blocks), MAX_THREADS)
        with (
            BLAS_LOCK,
            _controller().limit(limits=1, user_api="blas"),
            ThreadPoolExecutor(threads) as pool,
        ):
            distances, numbers = zip(*pool.map(nearest, blocks), strict=True)
        return np.concatenate(distances), np.concatenate(numbers)

    def _nearest(
        self, queries: Floats, k: int, lists: "InvertedLists", nprobe: int
    ) -> tuple[Floats, NDArray[np.integer]]:
        """Sort the candidates by their distances, computed again without cancellation."""
        numbers = lists.candidates(queries, k, nprobe)
        distances = np.linalg.norm(self._rows[numbers] - queries[:, None], axis=2)
        order = distances.argsort(axis=1, kind="stable")
        return (
            np.take_along_axis(distances, order, axis=1),
            np.take_along_axis(numbers, order, axis=1),
        )


@dataclass(frozen=True)
class InvertedLists:
    """L lists of the same capacity S. A cluster of more than S rows has several lists.

    Half the squared distance of a query q and a row x is `|x|^2 / 2 - q x`, plus a term that does
    not depend on x. One matrix product gives it for many x, if a 1 is appended to q.

    numbers (int [L, S]): Row numbers.
    vectors (float32 [L, C + 1, S]): -x and |x|^2 / 2, which is infinite where a list is not full.
    centroids (float32 [C + 1, L]): The same for the mean of each list's rows.
    """

    numbers: NDArray[np.integer]
    vectors: Floats
    centroids: Floats

    @classmethod
    def from_rows(cls, rows: Floats) -> "InvertedLists":
        """Cluster rows, float32 [M, C]: about 3 sqrt(M) clusters."""
        capacity = 2 ** round(np.log2(np.sqrt(len(rows)) / 2))
        n_clusters = max(1, int(len(rows) / (capacity * FILL)))
        clustering = MiniBatchKMeans(
            n_clusters, init="random", n_init=1, max_iter=3, batch_size=16384, random_state=0
        )
        clusters = clustering.fit(rows).labels_
        order = np.argsort(clusters, kind="stable")
        ends = np.cumsum(np.bincount(clusters))
        lists = [
            order[start : min(start + capacity, end)]
            for begin, end in zip([0, *ends[:-1]], ends, strict=True)
            for start in range(begin, end, capacity)
        ]
        numbers = np.stack([np.resize(members, capacity) for members in lists])
        filled = np.arange(capacity) < np.array([[len(members)] for members in lists])
        centroids = np.stack([rows[members].mean(axis=0) for members in lists])
        halves = np.where(filled, _half_squares(rows)[numbers], np.inf)
        vectors = np.concatenate([-rows[numbers].swapaxes(1, 2), halves[:, None]], axis=1)
        return cls(
            numbers,
            np.ascontiguousarray(vectors, dtype="float32"),
            np.vstack([-centroids.T, _half_squares(centroids)]).astype("float32"),
        )

    def candidates(self, queries: Floats, k: int, nprobe: int) -> NDArray[np.integer]:
        """The numbers of the k nearest rows in the nprobe nearest lists, unsorted: int [N, k]."""
        queries = np.hstack([queries, np.ones((len(queries), 1), "float32")])
        probed = _smallest(queries @ self.centroids, nprobe)
        # One matrix product for each list, with all the queries that probe it.
        order = np.argsort(probed, axis=None, kind="stable")
        borders = np.searchsorted(probed.ravel()[order], np.arange(len(self.vectors) + 1))
        sorted_queries = queries[order // nprobe]
        products = np.empty((len(order), self.numbers.shape[1]), "float32")
        for number in np.flatnonzero(np.diff(borders)):
            part = slice(borders[number], borders[number + 1])
            np.matmul(sorted_queries[part], self.vectors[number], out=products[part])
        distances = np.empty_like(products)
        distances[order] = products
        nearest = _smallest(distances.reshape(len(queries), -1), k)
        probe, place = np.divmod(nearest, self.numbers.shape[1])
        return self.numbers[np.take_along_axis(probed, probe, axis=1), place]


@cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()


def _half_squares(rows: Floats) -> Floats:
    return np.einsum("ij,ij->i", rows, rows) / 2


def _smallest(values: Floats, k: int) -> NDArray[np.integer]:
    """The columns of the k smallest values of each row, unsorted: int [N, k]."""
    # numpy's argpartition takes more than twice as long.
    return torch.from_numpy(values).topk(k, dim=1, largest=False, sorted=False).indices.numpy()
