"""Write docs/suggest.md and its plot from the replayed annotation: part of `make results`."""

import json
import lzma
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import jinja2
import numpy as np
import srsly
from matplotlib import style
from matplotlib.figure import Figure

from spacy_btl.experiments.result_files import read_results
from spacy_btl.experiments.results import rarest_types
from spacy_btl.metrics.scores import scores, type_scores

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "experiments" / "results"
PLAN = ROOT / "experiments" / "suggest.yml"
PAGE = ROOT / "docs" / "suggest.md"
NAMES = {
    "suggest": "suggest",
    "random": "random",
    "same_length": "same length",
    "least_confidence": "least confidence",
}
START = "start"  # the strategy of the documents that all begin with
GOAL = {"random": 120, "suggest": 72}
MEASURES = ("words", "rarest", "uar", "f1")

Row = dict[str, Any]


def replayed(path: Path = RESULTS / "suggest.jsonl.xz") -> dict[str, Any]:
    """What the page shows: `runs`, `first`, `rows` and `goal`.

    Only whole replays are counted: all trainings of a fold and a seed.
    """
    lines = lzma.decompress(path.read_bytes()).splitlines() if path.is_file() else []
    done: dict[tuple[int, int], list[Row]] = defaultdict(list)
    for row in map(json.loads, lines):
        done[row["fold"], row["seed"]].append(row)
    plan = srsly.read_yaml(PLAN)
    trainings = 1 + (len(plan["documents"]) - 1) * len(plan["strategies"])
    whole = [rows for rows in done.values() if len(rows) == trainings]
    values: dict[tuple[int, str], list[dict[str, float]]] = defaultdict(list)
    for row in (row for rows in whole for row in rows):
        for name in NAMES if row["strategy"] == START else [row["strategy"]]:
            values[row["documents"], name].append(measured(row))
    rows = [
        {
            "documents": documents,
            "strategy": NAMES[name],
            **{key: fmean(one[key] for one in values[documents, name]) for key in MEASURES},
        }
        for documents in sorted({number for number, _ in values})
        for name in NAMES
        if (documents, name) in values
    ]
    found = {(row["documents"], row["strategy"]): row for row in rows}
    goal = {name: found.get((number, NAMES[name])) for name, number in GOAL.items()}
    return {
        "runs": len(whole),
        "first": rows[0]["documents"] if rows else 0,
        "rows": rows,
        "goal": goal if all(goal.values()) else None,
    }


def measured(row: Row) -> dict[str, float]:
    """The figures of a training, in percent."""
    counts = {name: np.array(row[name], dtype=float) for name in ("tokens", "entities")}
    types = dict(zip(row["classes"][1:], type_scores(counts)["tag_r"].tolist(), strict=True))
    rarest = [types[label] for label in rarest_of_corpus() if np.isfinite(types[label])]
    overall = scores(counts)
    return {
        "words": row["words"],
        "rarest": 100 * fmean(rarest),
        "uar": 100 * float(overall["tag_uar"]),
        "f1": 100 * float(overall["ents_f"]),
    }


def rarest_of_corpus() -> Sequence[str]:
    """The ten rarest types of MACCROBAT."""
    return rarest_types(read_results(RESULTS / "ablation")["results"][0])


def plot(rows: Sequence[Row], path: Path = RESULTS / "suggest.svg") -> None:
    """Draw the recall of the ten rarest types against documents, and against words."""
    with style.context(["default", {"svg.hashsalt": "spacy-btl", "svg.fonttype": "none"}]):
        figure = Figure(figsize=(9, 3.6), layout="constrained")
        by_documents, by_words = figure.subplots(1, 2, sharey=True)
        for name in NAMES.values():
            points = [row for row in rows if row["strategy"] == name]
            recall = [row["rarest"] for row in points]
            for axes, key in ((by_documents, "documents"), (by_words, "words")):
                axes.plot([row[key] for row in points], recall, marker="o", ms=3, label=name)
        by_documents.set(xlabel="documents annotated", ylabel="recall of the ten rarest types, %")
        by_words.set(xlabel="words annotated")
        by_documents.legend(frameon=False)
        for axes in (by_documents, by_words):
            axes.spines[["top", "right"]].set_visible(False)
        figure.savefig(path, format="svg", metadata={"Date": None})


def page() -> str:
    """The page, as markdown."""
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    template = environment.from_string(PAGE.with_suffix(".md.jinja").read_text("utf-8"))
    return template.render(**replayed())


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    if rows := replayed()["rows"]:
        plot(rows)
