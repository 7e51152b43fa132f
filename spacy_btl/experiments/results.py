"""The results of an experiment: scores of pooled out-of-fold predictions, intervals and tests."""

from collections.abc import Iterable, Sequence
from itertools import product
from math import isfinite, nan
from statistics import fmean
from typing import Any, SupportsFloat

import numpy as np

from spacy_btl.experiments.config import Experiment
from spacy_btl.experiments.finished import FinishedCells
from spacy_btl.experiments.networks import SPEED
from spacy_btl.experiments.plan import Cell
from spacy_btl.metrics.bootstrap import bootstrap
from spacy_btl.metrics.counts import Counts, all_classes, total, weighted, widened
from spacy_btl.metrics.scores import scores, type_scores
from spacy_btl.metrics.significance import compare_counts, holm

# The scores in which each arm is tested against the baseline.
TESTED = ("tag_uar", "tag_macro_f", "ents_f")
# The same where mentions overlap.
TESTED_MENTIONS = ("spans_btl_f", "spans_btl_macro_f")
OF_TYPES = ("tag_r", "tag_f", "ents_r", "ents_f", "spans_btl_r", "spans_btl_f")
COSTS = ("encoder_passes", "optimizer_steps", "seconds", "peak_memory_mb")
ARITHMETIC = ("precision", "threads", "gpu")
SEED = 0

Result = dict[str, Any]


def summarize(
    experiment: Experiment, cells: Sequence[Cell], finished: FinishedCells
) -> dict[str, Any]:
    """Summarize the cells that are done.

    RETURNS (Dict[str, Any]): `title`, `baseline`, `missing` (names of cells that are not done),
        `counts` (the files of the counts, see `FinishedCells.names`) and `results`: one per arm
        and decoding, of the seeds that have run on most folds, with its `corpus`, `folds`, `seeds`,
        `documents`, `patients` (None unless some have several documents: then patients are
        sampled), `scores` (by the keys of `measures.MEASURES`, with `value`, `low` and `high`, 95%
        by a bootstrap; the counts of a document are means over the seeds), `per_fold` (the same
        scores of each fold alone), `types` (the rarest first), `cost` (means over the cells, and
        how they were trained), and its differences from the baseline on the same folds.
    """
    results = []
    for corpus, (arm, spec) in product(experiment.corpora, experiment.arms.items()):
        trained = [cell for cell in cells if (cell.corpus, cell.arm) == (corpus, arm)]
        for name in spec.decodings:
            done = _of_equal_folds([cell for cell in trained if finished.has(cell, name)])
            if done:
                results.append(_result(experiment, name, done, cells, finished))
    _correct(results, experiment)
    return {
        "title": experiment.title,
        "baseline": list(experiment.baseline),
        "missing": [cell.name for cell in cells if not finished.is_done(cell)],
        "counts": finished.names(cells),
        "results": results,
    }


def rarest_types(result: Result, n: int = 10) -> list[str]:
    """The n types with the fewest mentions in the documents of a result, the rarest first.

    Of a result of all folds, these are the rarest of the corpus; types of equal numbers are in
    alphabetical order.
    """
    return list(result["types"])[:n]


def _result(
    experiment: Experiment,
    decoding: str,
    done: list[Cell],
    cells: Sequence[Cell],
    finished: FinishedCells,
) -> Result:
    counts, classes = _pooled(done, decoding, finished)
    n_docs, n_patients = int(counts["documents"].sum()), len(counts["documents"])
    intervals = bootstrap(n_patients, lambda weights: scores(weighted(counts, weights)), seed=SEED)
    defined = {
        n: _bounds(interval) for n, interval in intervals.items() if isfinite(interval.value)
    }
    corpus, arm = done[0].corpus, done[0].arm
    result = {
        "corpus": corpus,
        "arm": arm,
        "decoding": decoding,
        "folds": sorted({cell.fold for cell in done}),
        "seeds": sorted({cell.seed for cell in done}),
        "documents": n_docs,
        "patients": n_patients if n_patients < n_docs else None,
        "scores": defined,
        "per_fold": _per_fold(done, decoding, finished, defined),
        "types": _types(counts, classes),
        "cost": _cost([finished.cost(cell) for cell in done]),
    }
    base_arm, base_decoding = experiment.baseline
    base = [
        cell
        for cell in cells
        if (cell.corpus, cell.arm) == (corpus, base_arm)
        and (cell.fold, cell.seed) in {(c.fold, c.seed) for c in done}
    ]
    is_other = (arm, decoding) != experiment.baseline
    if (
        is_other
        and len(base) == len(done)
        and all(finished.has(cell, base_decoding) for cell in base)
    ):
        theirs, their_classes = _pooled(base, base_decoding, finished)
        every = all_classes(classes, their_classes)  # a smaller training set may lack one
        rows = compare_counts(
            widened(counts, classes, every),
            widened(theirs, their_classes, every),
            seed=SEED,
            names=(*TESTED, *TESTED_MENTIONS),
        )
        result["versus_baseline"] = {
            name: {key: round(row[key], 5) for key in ("difference", "low", "high", "p")}
            for name, row in rows.items()
        }
    return result


def _of_equal_folds(done: list[Cell]) -> list[Cell]:
    """The cells of the seeds with most folds: means over seeds are of the same documents."""
    folds = {seed: {c.fold for c in done if c.seed == seed} for seed in {c.seed for c in done}}
    furthest = max(folds.values(), key=len, default=set())
    return [cell for cell in done if folds[cell.seed] == furthest]


def _cost(costs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Means over the cells, and how all of them were trained."""
    names = [*COSTS, *({SPEED} & costs[0].keys())]
    means = {name: round(fmean(cost[name] for cost in costs), 1) for name in names}
    return means | {name: costs[0][name] for name in ARITHMETIC}


def _pooled(
    cells: Sequence[Cell], decoding: str, finished: FinishedCells
) -> tuple[Counts, tuple[str, ...]]:
    """The counts of the documents of all folds, means over the seeds; and the classes."""
    parts = {(cell.seed, cell.fold): finished.counts(cell, decoding) for cell in cells}
    classes = all_classes(*(known for _, known in parts.values()))
    seeds = sorted({seed for seed, _ in parts})
    folds = sorted({fold for _, fold in parts})
    per_seed = [[widened(*parts[seed, fold], classes) for fold in folds] for seed in seeds]
    # What a fold without an entity has no counts of is left out.
    names = set.intersection(*(set(counts) for per_fold in per_seed for counts in per_fold))
    stacked = [
        {name: np.concatenate([counts[name] for counts in per_fold]) for name in names}
        for per_fold in per_seed
    ]
    return {name: np.mean([counts[name] for counts in stacked], axis=0) for name in names}, classes


def _per_fold(
    done: Sequence[Cell], decoding: str, finished: FinishedCells, names: Iterable[str]
) -> dict[str, list[float | None]]:
    """Each score of each fold, in their order; None if a fold has none.

    An overconfident and an underconfident fold look calibrated when they are pooled.
    """
    rows = []
    for fold in sorted({cell.fold for cell in done}):
        counts, _ = _pooled([cell for cell in done if cell.fold == fold], decoding, finished)
        rows.append(scores(total(counts)))
    return {
        name: [round(float(row[name]), 5) if isfinite(row.get(name, nan)) else None for row in rows]
        for name in names
    }


def _types(counts: Counts, classes: Sequence[str]) -> dict[str, Any]:
    """Support in mentions, overlapping ones too, and scores of each type, the rarest first."""
    support = counts["mentions" if "mentions" in counts else "entities"][:, 1].sum(axis=0)
    intervals = bootstrap(
        len(counts["documents"]),
        lambda weights: type_scores(weighted(counts, weights)),
        seed=SEED,
    )
    return {
        classes[1 + i]: {
            "support": int(support[i]),
            **{
                name: _bounds([part[i] for part in intervals[name]])
                for name in OF_TYPES
                if name in intervals and isfinite(intervals[name].value[i])
            },
        }
        for i in np.argsort(support, kind="stable")
        if support[i]
    }


def _bounds(interval: Iterable[SupportsFloat]) -> dict[str, float]:
    return {
        key: round(float(value), 5)
        for key, value in zip(("value", "low", "high"), interval, strict=True)
    }


def _correct(results: Sequence[Result], experiment: Experiment) -> None:
    """Add p-values by Holm's correction. Arms that run on every fold are one family of tests, and
    arms that are screened on some folds another, so that screening does not cost the others power.
    """
    for screened in (False, True):
        rows = [
            row
            for result in results
            if (experiment.arms[result["arm"]].folds is not None) == screened
            for row in result.get("versus_baseline", {}).values()
        ]
        for row, p in zip(rows, holm([row["p"] for row in rows]) if rows else [], strict=True):
            row["p_holm"] = round(p, 5)
