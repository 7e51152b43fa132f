"""Approximate nearest neighbours by an inverted file (IVF).

k-means divides the rows into clusters, which are kept as inverted lists. A query is compared with
the means of all lists, and with the rows of the lists that may hold a neighbour.

scikit-learn divides the rows, once: their clusters are saved with them. The search is by numpy
alone, so that prediction needs no library of training.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from threading import Lock

import numpy as np
from numpy.typing import NDArray
from spacy import registry
from threadpoolctl import ThreadpoolController

from spacy_btl.search.search import Floats, Ints, Search

# All lists of fewer rows are read.
EXACT_BELOW = 20_000
# How far from its mean a list is taken to extend, in root mean squares of the distances of its
# rows. With 0.9, 99.8% of the probabilities of held-out tokens are within 0.01 of those by an exact
# search, also with overlapping mentions; with 0.6 some 98% are (docs/performance.md).
REACH = 0.9
# The rows of a list, at most, as a multiple of their mean number: clusters differ in size.
MAX_SIZE = 4
# Queries that a thread works on at a time.
BLOCK = 4096
# How far a distance may be off, as a share of the squares that it is the difference of.
ROUNDING = 1e-4
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
    """See `cluster_search`. It makes its lists at the first query, not at loading."""

    def __init__(self) -> None:
        self._rows: Floats = np.zeros((0, 0), "float32")
        self._clusters: NDArray[np.int32] | None = None
        self._lists: InvertedLists | None = None

    def fit(self, rows: Floats) -> None:
        """Set the rows to search, float32 [M, C]."""
        if self._lists is not None and np.array_equal(rows, self._rows):
            return  # a worker process receives the lists with the search
        self._rows, self._clusters, self._lists = rows, None, None

    def get_clusters(self) -> NDArray[np.int32]:
        """The cluster of each row, int32 [M]."""
        if self._clusters is None:
            self._clusters = divide(self._rows)
        return self._clusters

    def set_clusters(self, clusters: NDArray[np.int32]) -> None:
        """Spare dividing the rows: int32 [M]."""
        if self._lists is None:
            self._clusters = clusters

    def query(self, rows: Floats, k: int) -> tuple[Floats, Ints]:
        """Distances and row numbers of the k nearest rows, nearest first: [N, k] each."""
        if self._lists is None:
            self._lists = InvertedLists.from_clusters(self._rows, self.get_clusters())
        lists = self._lists
        few = len(self._rows) < EXACT_BELOW
        reach = np.full_like(lists.radii, np.inf) if few else np.float32(REACH) * lists.radii
        blocks = [rows[start : start + BLOCK] for start in range(0, len(rows), BLOCK)]

        def nearest(block: Floats) -> tuple[Floats, Ints]:
            return _sorted(block, self._rows, lists.candidates(block, k, reach))

        # The matrix products are too small for BLAS to divide: threads share the blocks instead.
        with BLAS_LOCK:
            threads = max(1, min(_blas_threads(), len(blocks), MAX_THREADS))
            with (
                _controller().limit(limits=1, user_api="blas"),
                ThreadPoolExecutor(threads) as pool,
            ):
                distances, numbers = zip(*pool.map(nearest, blocks), strict=True)
        return np.concatenate(distances), np.concatenate(numbers)


def divide(rows: Floats) -> NDArray[np.int32]:
    """The cluster of each row of [M, C], int32 [M]: about sqrt(M) clusters, by k-means."""
    from sklearn.cluster import MiniBatchKMeans  # not for prediction

    # A few rounds do: how rows are divided hardly matters to what is found.
    clustering = MiniBatchKMeans(
        max(1, round(np.sqrt(len(rows)))),
        init="random",
        n_init=1,
        max_iter=3,
        batch_size=16384,
        random_state=0,
    )
    return clustering.fit(rows).labels_.astype("int32")


@dataclass(frozen=True)
class InvertedLists:
    """L lists of rows. A large cluster has several.

    Half the squared distance of a query q and a row x is `|x|^2 / 2 - q x`, plus a term that does
    not depend on x. One matrix product gives it for many x, if a 1 is appended to q.

    numbers (int [M]): Row numbers, list by list.
    starts (int [L]): Where each list begins in `numbers`.
    vectors (List[float32 [C + 1, S]]): For each list of S rows, -x and |x|^2 / 2.
    means (float32 [C + 1, L]): The same for the mean of each list's rows.
    radii (float32 [L]): The root mean square of the distances of each list's rows to their mean.
    """

    numbers: Ints
    starts: Ints
    vectors: list[Floats]
    means: Floats
    radii: Floats

    @classmethod
    def from_clusters(cls, rows: Floats, clusters: Ints) -> "InvertedLists":
        """Make the lists of rows, float32 [M, C], from the cluster of each."""
        numbers = np.argsort(clusters, kind="stable")
        ends = np.cumsum(np.unique(clusters, return_counts=True)[1])
        size = MAX_SIZE * -(-len(rows) // len(ends))
        starts = np.concatenate(
            [np.arange(a, b, size) for a, b in zip([0, *ends[:-1]], ends, strict=True)]
        )
        lists = [rows[members] for members in np.split(numbers, starts[1:])]
        means = np.stack([members.mean(axis=0) for members in lists])
        radii = [
            np.sqrt(2 * _half_squares(members - mean).mean())
            for members, mean in zip(lists, means, strict=True)
        ]
        vectors = [_comparable(members) for members in lists]
        return cls(numbers, starts, vectors, _comparable(means), np.array(radii, "float32"))

    def candidates(self, queries: Floats, k: int, reach: Floats) -> Ints:
        """The numbers of the k nearest rows in the lists that are read, unsorted: int [N, k].

        reach (float32 [L]): A list is read if its mean is not farther than the k-th row of the
            query's own list by more than this.
        """
        halves = _half_squares(queries)
        queries = np.hstack([queries, np.ones((len(queries), 1), "float32")])
        to_means = queries @ self.means
        # Each query's own list: the nearest that has k rows. The k-th of these bounds the others.
        has_k = np.array([vectors.shape[1] >= k for vectors in self.vectors])
        own = np.where(has_k, to_means, np.inf).argmin(axis=1)
        limits = np.full(len(queries), np.inf, "float32")
        for number, part in _parts(has_k & (own[:, None] == np.arange(len(has_k)))):
            products = queries[part] @ self.vectors[number]
            limits[part] = np.partition(products, k - 1, axis=1)[:, k - 1]
        limits += ROUNDING * np.maximum(halves, np.abs(limits))

        farther = _distances(to_means, halves[:, None]) - _distances(limits, halves)[:, None]
        # "Not greater": logits that are no numbers find any rows, and do not stop the others.
        is_read = ~(farther > reach)
        is_read[np.arange(len(queries)), own] = True
        found = []
        for number, part in _parts(is_read):
            products = queries[part] @ self.vectors[number]
            near = np.flatnonzero(~(products > limits[part, None]))
            query, place = np.divmod(near, products.shape[1])
            found.append((part[query], self.starts[number] + place, products.ravel()[near]))
        query, place, product = map(np.concatenate, zip(*found, strict=True))
        # A query and a distance as one number, whose order is that of the two.
        bits = np.maximum(product + halves[query], 0).view("uint32")
        order = np.argsort((query.astype("uint64") << np.uint64(32)) | bits)
        first = np.searchsorted(query[order], np.arange(len(queries)))
        return self.numbers[place[order[first[:, None] + np.arange(k)]]]


def _parts(probed: NDArray[np.bool_]) -> Iterator[tuple[int, Ints]]:
    """The lists that any query reads, and the queries that do. probed (bool [N, L])."""
    for number, queries in enumerate(np.ascontiguousarray(probed.T)):
        part = np.flatnonzero(queries)
        if len(part):
            yield number, part


def _sorted(queries: Floats, rows: Floats, numbers: Ints) -> tuple[Floats, Ints]:
    """Sort row numbers [N, k] by their distances, computed again without cancellation."""
    differences = rows[numbers]
    differences -= queries[:, None]
    distances = np.sqrt(np.einsum("ijk,ijk->ij", differences, differences))
    order = distances.argsort(axis=1, kind="stable")
    return np.take_along_axis(distances, order, axis=1), np.take_along_axis(numbers, order, axis=1)


def _comparable(rows: Floats) -> Floats:
    """-x and |x|^2 / 2 of rows [M, C]: float32 [C + 1, M]."""
    return np.ascontiguousarray(np.vstack([-rows.T, _half_squares(rows)]), dtype="float32")


def _distances(products: Floats, halves: Floats) -> Floats:
    return np.sqrt(2 * np.maximum(products + halves, 0))


def _half_squares(rows: Floats) -> Floats:
    return np.einsum("ij,ij->i", rows, rows) / 2


@cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()


def _blas_threads() -> int:
    libraries = _controller().select(user_api="blas").info()
    return max((library["num_threads"] for library in libraries), default=1)
