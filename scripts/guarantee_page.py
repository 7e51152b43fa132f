"""Write docs/guarantee.md from what experiments/guarantee.py drew: part of `make results`."""

from pathlib import Path
from statistics import fmean
from typing import Any

import jinja2
import srsly

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "experiments" / "results" / "guarantee.json"
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


def page(path: Path = RESULTS) -> str:
    """The page, as markdown."""
    results = srsly.read_json(path)
    rows = [summary(row) for row in results["rows"]]
    broken = [
        {
            "broken": share,
            "label": label,
            **{name: row[name] for name in ("kind", "level", "match")},
        }
        for row in results["rows"]
        if row["drawn"] != HALVES
        for label, share in zip(row["types"], row["broken"], strict=True)
    ]
    halves = [row for row in rows if row["drawn"] == HALVES]
    shares = [share for row in results["rows"] if row["drawn"] == HALVES for share in row["broken"]]
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["percent"] = percent
    template = environment.from_string(PAGE.with_suffix(".md.jinja").read_text("utf-8"))
    return template.render(
        {
            **results,
            "rows": [row for row in rows if row["drawn"] != HALVES],
            "worst": max(broken, key=lambda one: one["broken"], default=None),
            "halves": {
                name: fmean(row[name] for row in halves) if halves else None
                for name in ("broken", "naive_broken")
            },
            "of_halves": {
                "types": len(shares),
                "beyond": sum(share > results["risk"] for share in shares),
                "worst": max(shares, default=None),
            },
        }
    )


def percent(value: float | None) -> str:
    """A share in percent; a dash where there is none."""
    return "–" if value is None else f"{100 * value:.1f}"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
