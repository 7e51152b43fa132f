"""Nearest neighbours among many rows: only the clusters of rows near a query are searched.

An inverted file (IVF): rows are clustered by k-means, and kept as pages, each of rows of one
cluster. A query is compared with the middles of all pages, and with the rows of the nearest pages.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from threading import Lock

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.cluster import MiniBatchKMeans
from spacy import registry
from threadpoolctl import ThreadpoolController

from spacy_btl.calibration.search import Floats, Search, SklearnSearch

# Below this many rows an exact search costs no more.
FEW_ROWS = 20_000
# Pages that a query is compared with, row by row. docs/performance.md has what it costs and finds.
PROBES = 40
# How full pages are on average; k-means makes clusters of unlike size.
FILL = 0.75
# Distances that a thread holds at a time: 32 MB, and about as much twice again for the work.
MAX_DISTANCES = 2**23
MAX_THREADS = 8
GROUP = 4  # values of which the least stands for all while the smallest are sought
# The limit on BLAS is the process's: two that set it at a time would restore each other's.
LIMITING = Lock()


@registry.misc("spacy_btl.ClusterSearch.v1")
def cluster_search() -> Search:
    """Search in the nearest clusters of rows; exact where there are fewer than 20,000 rows.

    >>> from spacy_btl import cluster_search
    >>> search = cluster_search()
    >>> search.fit(np.eye(3, dtype="float32"))
    >>> distances, rows = search.query(np.eye(3, dtype="float32")[:1], k=2)
    """
    return ClusterSearch()


class ClusterSearch:
    """See `cluster_search`. The clusters are made at the first query, not at loading."""

    def __init__(self) -> None:
        self._exact = SklearnSearch()
        self._rows: Floats = np.zeros((0, 0), "float32")
        self._pages: Pages | None = None

    def fit(self, rows: Floats) -> None:
        if self._pages is not None and np.array_equal(rows, self._rows):
            return  # as in a worker, which gets the clusters with it
        self._rows = rows
        self._pages = None
        self._exact.fit(rows)

    def query(self, rows: Floats, k: int) -> tuple[Floats, NDArray[np.integer]]:
        if len(self._rows) < FEW_ROWS:
            return self._exact.query(rows, k)
        if self._pages is None:
            self._pages = Pages.from_rows(self._rows)
        pages = self._pages
        probes = min(max(PROBES, k), len(pages.numbers))  # a page holds at least one row
        size = max(1, MAX_DISTANCES // (probes * pages.numbers.shape[1]))
        blocks = [rows[start : start + size] for start in range(0, len(rows), size)]

        def nearest(block: Floats) -> tuple[Floats, NDArray[np.integer]]:
            return self._nearest(block, k, pages, probes)

        # The products are too small for BLAS to share among threads: blocks are shared instead.
        threads = min(torch.get_num_threads(), len(blocks), MAX_THREADS)
        with (
            LIMITING,
            _controller().limit(limits=1, user_api="blas"),
            ThreadPoolExecutor(threads) as pool,
        ):
            found = list(pool.map(nearest, blocks))
        distances, numbers = zip(*found, strict=True)
        return np.concatenate(distances), np.concatenate(numbers)

    def _nearest(
        self, queries: Floats, k: int, pages: "Pages", probes: int
    ) -> tuple[Floats, NDArray[np.integer]]:
        """The rows that are found, with distances anew: those to pages are rounded."""
        numbers = pages.candidates(queries, k, probes)
        distances = np.linalg.norm(self._rows[numbers] - queries[:, None], axis=2)
        order = distances.argsort(axis=1, kind="stable")
        return (
            np.take_along_axis(distances, order, axis=1),
            np.take_along_axis(numbers, order, axis=1),
        )


@dataclass(frozen=True)
class Pages:
    """Rows in pages of S places, G of them, those of a page near each other.

    Half the squared distance of a query q to a row x is `|x|^2 / 2 - q x`, but for what all rows
    have in common: so one matrix product gives it, where a query has a 1 appended.

    numbers (int [G, S]): The number of the row in each place.
    rows (float32 [G, C + 1, S]): -x, and |x|^2 / 2 below it: infinite where a place is empty.
    middles (float32 [C + 1, G]): The same of the mean of each page's rows.
    """

    numbers: NDArray[np.integer]
    rows: Floats
    middles: Floats

    @classmethod
    def from_rows(cls, rows: Floats) -> "Pages":
        """Cluster rows, float32 [M, C]: about 2 sqrt(M) pages."""
        size = 2 ** round(np.log2(np.sqrt(len(rows)) / 2))
        n_clusters = max(1, int(len(rows) / (size * FILL)))
        clustering = MiniBatchKMeans(
            n_clusters, init="random", n_init=1, max_iter=3, batch_size=16384, random_state=0
        )
        clusters = clustering.fit(rows).labels_
        order = np.argsort(clusters, kind="stable")
        ends = np.cumsum(np.bincount(clusters))
        in_pages = [
            order[start : min(start + size, end)]
            for begin, end in zip([0, *ends[:-1]], ends, strict=True)
            for start in range(begin, end, size)
        ]
        numbers = np.stack([np.resize(page, size) for page in in_pages])
        filled = np.arange(size) < np.array([[len(page)] for page in in_pages])
        middles = np.stack([rows[page].mean(axis=0) for page in in_pages])
        halves = np.where(filled, _half_squares(rows)[numbers], np.inf)
        by_page = np.concatenate([-rows[numbers].swapaxes(1, 2), halves[:, None]], axis=1)
        return cls(
            numbers,
            np.ascontiguousarray(by_page, dtype="float32"),
            np.vstack([-middles.T, _half_squares(middles)]).astype("float32"),
        )

    def candidates(self, queries: Floats, k: int, probes: int) -> NDArray[np.integer]:
        """The numbers of the k nearest rows in the nearest pages, in no order: int [N, k]."""
        queries = np.hstack([queries, np.ones((len(queries), 1), "float32")])
        near = _smallest(queries @ self.middles, probes)
        # A matrix product for each page, with all the queries that have it among their near ones.
        order = np.argsort(near, axis=None, kind="stable")
        borders = np.searchsorted(near.ravel()[order], np.arange(len(self.rows) + 1))
        sorted_queries = queries[order // probes]
        products = np.empty((len(order), self.numbers.shape[1]), "float32")
        for page in np.flatnonzero(np.diff(borders)):
            part = slice(borders[page], borders[page + 1])
            np.matmul(sorted_queries[part], self.rows[page], out=products[part])
        distances = np.empty_like(products)
        distances[order] = products
        places = _smallest(distances.reshape(len(queries), -1), k)
        probe, place = np.divmod(places, self.numbers.shape[1])
        return self.numbers[np.take_along_axis(near, probe, axis=1), place]


@cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()


def _half_squares(rows: Floats) -> Floats:
    return np.einsum("ij,ij->i", rows, rows) / 2


def _smallest(values: Floats, k: int) -> NDArray[np.integer]:
    """The places of the k smallest values of each row, in no order: int [N, k].

    They are in the k groups whose least values are smallest, so most values are never sorted.
    """
    rows = torch.from_numpy(values)
    size = max(1, min(GROUP, rows.shape[1] // k))
    n_groups = -(-rows.shape[1] // size)
    padded = torch.nn.functional.pad(rows, (0, n_groups * size - rows.shape[1]), value=torch.inf)
    groups = _topk(padded.view(len(rows), size, n_groups).amin(dim=1), k)
    places = (groups[:, None] + n_groups * torch.arange(size)[:, None]).flatten(1)
    return places.gather(1, _topk(padded.gather(1, places), k)).numpy()


def _topk(values: torch.Tensor, k: int) -> torch.Tensor:
    return values.topk(k, dim=1, largest=False, sorted=False).indices
