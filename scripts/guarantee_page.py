"""Write docs/guarantee.md from what experiments/guarantee.py drew: part of `make results`."""

from pathlib import Path
from statistics import fmean
from typing import Any

import jinja2
import srsly

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "experiments" / "results" / "guarantee.json"
OPENMED = RESULTS.with_name("guarantee_openmed.json")
PAGE = ROOT / "docs" / "guarantee.md"
HALVES = "random halves"
COSTS = ("recall_before", "recall", "precision_before", "precision")

Row = dict[str, Any]


def summary(row: Row) -> Row:
    """A row over all types: means, and those of the worst type. Costs are of the types that were
    promised anything."""
    kept = [i for i, recall in enumerate(row["recall"]) if recall is not None]
    return {
        **{name: row[name] for name in ("kind", "match", "level", "drawn")},
        "types": len(row["types"]),
        **{name: fmean(row[name]) for name in ("promised", "broken", "naive_broken")},
        "worst": max(row["broken"]),
        "naive_worst": max(row["naive_broken"]),
        **{name: fmean(row[name][i] for i in kept) if kept else None for name in COSTS},
    }


def of_corpus(name: str, corpus: Row, risk: float) -> Row:
    """What the page says of a corpus."""
    rows = [summary(row) for row in corpus["rows"]]
    broken = [
        {
            "broken": share,
            "label": label,
            **{name: row[name] for name in ("kind", "level", "match")},
        }
        for row in corpus["rows"]
        if row["drawn"] != HALVES
        for label, share in zip(row["types"], row["broken"], strict=True)
    ]
    halves = [row for row in rows if row["drawn"] == HALVES]
    shares = [share for row in corpus["rows"] if row["drawn"] == HALVES for share in row["broken"]]
    return {
        **corpus,
        "name": name,
        "rows": [row for row in rows if row["drawn"] != HALVES],
        "worst": max(broken, key=lambda one: one["broken"]),
        "halves": {key: fmean(row[key] for row in halves) for key in ("broken", "naive_broken")},
        "of_halves": {
            "types": len(shares),
            "beyond": sum(share > risk for share in shares),
            "worst": max(shares),
        },
    }


def of_openmed(row: Row) -> Row:
    """A row of OpenMed's thresholds over all types."""
    worst = max(range(len(row["types"])), key=lambda i: row["broken"][i])
    return {
        **{name: row[name] for name in ("corpus", "match", "level")},
        "given": fmean(row["given"]),
        "broken": fmean(row["broken"]),
        "worst": row["broken"][worst],
        "worst_type": row["types"][worst],
    }


def page(path: Path = RESULTS, of_peer: Path = OPENMED) -> str:
    """The page, as markdown."""
    results, openmed = srsly.read_json(path), srsly.read_json(of_peer)
    corpora = [
        of_corpus(name, corpus, results["risk"]) for name, corpus in results["corpora"].items()
    ]
    ours = {
        (corpus["name"], row["match"], row["level"]): row
        for corpus in corpora
        for row in corpus["rows"]
        if row["kind"] == "precision"
    }
    peers = [
        {**row, "ours": ours[row["corpus"], row["match"], row["level"]]}
        for row in map(of_openmed, openmed["rows"])
    ]
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["percent"] = percent
    template = environment.from_string(PAGE.with_suffix(".md.jinja").read_text("utf-8"))
    return template.render(
        {**results, "corpora": corpora, "openmed": openmed["version"], "peers": peers}
    )


def percent(value: float | None) -> str:
    """A share in percent; a dash where there is none."""
    return "–" if value is None else f"{100 * value:.1f}"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
