"""The cost and the accuracy of each search for neighbours, against the number of rows.

faiss is measured too where it is installed (`pip install faiss-cpu`).
"""

from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib import style
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.stats import mode
from spacy import registry
from spacy.language import Language

from bench.material import Setup, draw_rows
from bench.pipelines import CALIBRATOR
from bench.ratios import Case, figures, in_turn
from spacy_btl.calibration.datastore import LabelledRows
from spacy_btl.search.search import Search

NAME = "search_scaling"
ROWS = (10_000, 100_000, 1_000_000)
QUERIES = 1000
REPEATS = 5
BUILDS = 3
OURS = "spacy_btl.ClusterSearch.v1"
EXACT = "spacy_btl.SklearnSearch.v1"
FAISS = "faiss IndexIVFFlat"
FAISS_NPROBE = 24
FAISS_ITERATIONS = 10  # of k-means; faiss's default
STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "spacy-btl",
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": "#dddddd",
    "figure.facecolor": "white",
}


class FaissIvf:
    """faiss's inverted file, for comparison: with about the recall of `ClusterSearch`."""

    clusters = None

    def fit(self, rows: NDArray[np.float32], clusters: object = None) -> None:
        """Cluster rows, float32 [M, C], as coarsely as faiss advises."""
        import faiss  # an extra of the benchmarks alone

        faiss.omp_set_num_threads(torch.get_num_threads())
        n_lists = int(2 * np.sqrt(len(rows)))
        self._centroids = faiss.IndexFlatL2(rows.shape[1])
        self._index = faiss.IndexIVFFlat(self._centroids, rows.shape[1], n_lists)
        self._index.cp.niter = FAISS_ITERATIONS
        self._index.train(rows)
        self._index.add(rows)
        self._index.nprobe = FAISS_NPROBE

    def query(
        self, rows: NDArray[np.float32], k: int
    ) -> tuple[NDArray[np.float32], NDArray[np.integer]]:
        """As `Search.query`."""
        squares, numbers = self._index.search(rows, k)
        return np.sqrt(squares), numbers


def searches() -> dict[str, Callable[[], Search]]:
    """The registered searches, and faiss where it is installed."""
    found: dict[str, Callable[[], Search]] = {
        name: registry.misc.get(name) for name in (OURS, EXACT)
    }
    if find_spec("faiss"):
        found[FAISS] = FaissIvf
    return found


def measure(setup: Setup) -> list[dict[str, Any]]:
    """Milliseconds to index rows and to find the neighbours of 1,000 tokens, and the accuracy."""
    nlp = setup.trained()
    calibrator = nlp.get_pipe(CALIBRATOR).calibrator
    k, datastore = calibrator.settings.n_neighbors, calibrator.datastore
    queries = logits_of(setup, nlp, QUERIES)
    return [
        {"rows": n_rows, **point}
        for n_rows in ROWS
        for point in _compare(draw_rows(datastore, n_rows), queries, k, setup.repeats)
    ]


def _compare(
    rows: LabelledRows,
    queries: NDArray[np.float32],
    k: int,
    repeats: int,
) -> list[dict[str, Any]]:
    """One point for each search. Clustering is at the first query, so building includes one."""
    fitted: dict[str, Search] = {}

    def fit(name: str, make: Callable[[], Search]) -> None:
        fitted[name] = make()
        fitted[name].fit(rows.logits)
        fitted[name].query(queries[:1], k)

    build: dict[str, Case] = {name: partial(fit, name, make) for name, make in searches().items()}
    built = in_turn(build, min(repeats, BUILDS), warm_up=0)
    cases: dict[str, Case] = {
        name: partial(search.query, queries, k) for name, search in fitted.items()
    }
    taken = in_turn(cases, min(repeats, REPEATS))
    found = {name: search.query(queries, k)[1] for name, search in fitted.items()}
    labels = {name: mode(rows.tags[numbers], axis=1).mode for name, numbers in found.items()}
    return [
        {
            "search": name,
            **figures(taken[name]),
            "build_ms": figures(built[name])["ms"],
            "recall": _recall(found[name], found[EXACT]),
            "same_label": float((labels[name] == labels[EXACT]).mean()),
        }
        for name in fitted
    ]


def _recall(found: NDArray[np.integer], exact: NDArray[np.integer]) -> float:
    """The share of the exact neighbours that are found; row numbers, int [N, k] each."""
    pairs = zip(found, exact, strict=True)
    return float(np.mean([np.isin(row, numbers).mean() for numbers, row in pairs]))


def logits_of(setup: Setup, nlp: Language, count: int) -> NDArray[np.float32]:
    """Logits of the first tokens of the notes that the encoder saw, float32 [count, C]."""
    parts: list[NDArray[np.float32]] = []
    for doc in nlp.pipe(setup.texts, disable=[CALIBRATOR, "doc_cleaner"]):
        logits = doc._.token_logits
        parts.append(logits[logits.any(axis=1)])
        if sum(map(len, parts)) >= count:
            break
    return np.concatenate(parts)[:count]


def plot(points: list[dict[str, Any]], path: Path) -> None:
    """Milliseconds over rows, both on logarithmic axes, as SVG."""
    with style.context(STYLE):
        figure = Figure(figsize=(6, 3.6), layout="constrained")
        axes = figure.subplots()
        for name in dict.fromkeys(point["search"] for point in points):
            own = [point for point in points if point["search"] == name]
            label = name.removeprefix("spacy_btl.")
            axes.plot([p["rows"] for p in own], [p["ms"] for p in own], marker="o", label=label)
        axes.set(xscale="log", yscale="log", xlabel="labelled rows")
        axes.set_ylabel(f"ms for {QUERIES:,} tokens")
        axes.legend(frameon=False)
        figure.savefig(path, format="svg", metadata={"Date": None})
