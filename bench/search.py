"""What a query for neighbours costs against the number of rows, for every registered search."""

import re
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import style
from matplotlib.figure import Figure
from numpy.typing import NDArray
from spacy import registry
from spacy.language import Language
from spacy_btl.calibration.votes import neighbor_probabilities

from bench.material import Setup
from bench.ratios import Case, figures, in_turn
from bench.reading import CALIBRATOR
from bench.rows import draw_rows
from spacy_btl.calibration.search import Search
from spacy_btl.errors import BtlError

NAME = "search_scaling"
ROWS = (10_000, 100_000, 1_000_000)
QUERIES = 1000
REPEATS = 5
EXACT = "spacy_btl.SklearnSearch.v1"
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


def registered() -> dict[str, Search]:
    """Every search that can be had here, by its name; one whose library is absent cannot."""
    found: dict[str, Search] = {}
    for name in sorted(registry.misc.get_all()):
        if re.fullmatch(r"spacy_btl\.\w*Search\w*\.v\d+", name):
            try:
                found[name] = registry.misc.get(name)()
            except (BtlError, ImportError):
                continue
    return found


def measure(setup: Setup) -> list[dict[str, Any]]:
    """Milliseconds for the neighbours of 1,000 tokens, and how often the vote is as exactly."""
    nlp = setup.trained()
    calibrator = nlp.get_pipe(CALIBRATOR).calibrator
    k, prior = calibrator.settings.n_neighbors, calibrator.datastore.prior
    queries = logits_of(setup, nlp, QUERIES)
    points = []
    for n_rows in ROWS:
        rows = draw_rows(calibrator.datastore, n_rows)
        searches = registered()
        labels: dict[str, NDArray[np.integer]] = {}
        for name, search in searches.items():
            search.fit(rows.logits)
            _, found = search.query(queries, k)  # which is the warm-up, too
            labels[name] = neighbor_probabilities(rows.tags[found], prior).argmax(axis=1)
        cases: dict[str, Case] = {
            name: partial(search.query, queries, k) for name, search in searches.items()
        }
        for name, seconds in in_turn(cases, min(setup.repeats, REPEATS), warm_up=0).items():
            points.append(
                {
                    "search": name,
                    "rows": n_rows,
                    **figures(seconds),
                    "same_label": float((labels[name] == labels[EXACT]).mean()),
                }
            )
    return points


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
