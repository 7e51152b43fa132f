"""Write docs/results.md from the committed result files, and nothing else: `make results`."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
import typer

from spacy_btl.evaluation.results import TESTED
from spacy_btl.evaluation.tables import markdown_table

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "results.md"
TEMPLATE = ROOT / "docs" / "results.md.jinja"
RESULTS = ROOT / "experiments" / "results"
BENCH = ROOT / "bench" / "results"

# The decodings of the table.
MAIN = (
    "arg-max",
    "kNN",
    "transitions",
    "calibrator, tau 0",
    "calibrator, tau 0.15",
    "tuned on dev",
)

# The decodings of what was screened on one fold.
SCREENED = ("arg-max", "kNN", "calibrator, tau 0", "calibrator, tau 0.25")

Result = dict[str, Any]


def find(summary: dict[str, Any], arm: str, decoding: str, corpus: str = "MACCROBAT") -> Result:
    """The result of an arm and a decoding in the summary of an experiment."""
    wanted = (corpus, arm, decoding)
    for result in summary["results"]:
        if (result["corpus"], result["arm"], result["decoding"]) == wanted:
            return result
    raise LookupError(f"{summary['title']}: no result for {', '.join(wanted)}")


def percent(interval: dict[str, float]) -> str:
    """A figure with its interval."""
    return "{mean:.1f} ({low:.1f} to {high:.1f})".format(
        **{key: 100 * interval[key] for key in ("mean", "low", "high")}
    )


def difference(row: dict[str, float]) -> str:
    """A difference in points with its interval and its corrected p-value."""
    figures = {key: 100 * row[key] for key in ("difference", "low", "high")}
    p = "p < 0.001" if row["p_holm"] < 0.001 else f"p = {row['p_holm']:.3f}"
    return "{difference:+.1f} ({low:+.1f} to {high:+.1f}, {p})".format(**figures, p=p)


def value(result: Result, metric: str) -> str:
    """A figure without its interval."""
    return f"{100 * result['metrics'][metric]['mean']:.1f}"


def folds(result: Result) -> str:
    """The folds that a result rests on, counted from 0."""
    return ", ".join(map(str, result["folds"]))


def rarest(usual: Result, ours: Result, n: int = 10) -> list[tuple[str, Any, Any]]:
    """The n types with the fewest mentions, and their figures in two results."""
    both = [label for label in usual["types"] if label in ours["types"]]
    return [(label, usual["types"][label], ours["types"][label]) for label in both[:n]]


def table(summary: dict[str, Any], decodings: Sequence[str], arms: Sequence[str]) -> str:
    """The table of an experiment, of some of its arms and decodings."""
    kept = [
        result
        for result in summary["results"]
        if result["decoding"] in decodings and result["arm"] in arms
    ]
    return markdown_table({**summary, "results": kept})


def points(result: Result) -> str:
    """UAR / token macro F1 / entity micro F1 in points from the baseline, which itself is 0."""
    if "versus_baseline" not in result:
        return "0"
    rows = (result["versus_baseline"][name] for name in TESTED)
    return " / ".join(f"{100 * row['difference']:+.1f}" for row in rows)


def apart(result: Result, other: Result) -> str:
    """UAR / token macro F1 / entity micro F1 in points from those of a result of another
    experiment."""
    gains = (result["metrics"][name]["mean"] - other["metrics"][name]["mean"] for name in TESTED)
    return " / ".join(f"{100 * gain:+.1f}" for gain in gains)


def screened(summaries: Sequence[dict[str, Any]], arms: Sequence[str]) -> str:
    """A table of points, of those of the arms that have run in one of the experiments."""
    lines = [f"| training | {' | '.join(SCREENED)} |", f"| --- |{' ---: |' * len(SCREENED)}"]
    for arm in arms:
        summary = next((summary for summary in summaries if arm in arms_of(summary)), None)
        if summary is not None:
            found = {r["decoding"]: points(r) for r in summary["results"] if r["arm"] == arm}
            cells = (found.get(decoding, "") for decoding in SCREENED)
            lines.append(f"| {arm} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def arms_of(summary: dict[str, Any]) -> list[str]:
    """The arms of an experiment, in the order of its file."""
    return list(dict.fromkeys(result["arm"] for result in summary["results"]))


def page() -> str:
    """The page, as markdown."""
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"percent": percent, "difference": difference}
    environment.globals |= {
        function.__name__: function
        for function in (apart, arms_of, find, folds, points, rarest, screened, table, value)
    }
    data = {path.stem: json.loads(path.read_bytes()) for path in sorted(RESULTS.glob("*.json"))}
    bench = {path.stem: json.loads(path.read_bytes()) for path in sorted(BENCH.glob("*.json"))}
    template = environment.from_string(TEMPLATE.read_text("utf-8"))
    return template.render(**data, MAIN=MAIN, bench=bench)


def main() -> None:
    """Rewrite docs/results.md."""
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
