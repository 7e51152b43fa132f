"""Write the pages of results from the committed result files, and nothing else: `make results`."""

import json
import lzma
import re
import textwrap
from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import Any

import jinja2
import typer

from spacy_btl.experiments.archive import SUFFIX
from spacy_btl.experiments.result_files import read_results
from spacy_btl.experiments.results import TESTED, rarest_types
from spacy_btl.experiments.tables import markdown_table

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = ("results", "technical_report")
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

WIDTH = 120
ITEM = re.compile(r"^ *(?:- |\d+\. )?")  # what the further lines of a list's item are indented by


def find(summary: dict[str, Any], arm: str, decoding: str, corpus: str = "MACCROBAT") -> Result:
    """The result of an arm and a decoding in the summary of an experiment."""
    wanted = (corpus, arm, decoding)
    for result in summary["results"]:
        if (result["corpus"], result["arm"], result["decoding"]) == wanted:
            return result
    raise LookupError(f"{summary['title']}: no result for {', '.join(wanted)}")


def percent(interval: dict[str, float]) -> str:
    """A figure with its interval."""
    return "{value:.1f} ({low:.1f} to {high:.1f})".format(
        **{key: 100 * interval[key] for key in ("value", "low", "high")}
    )


def difference(row: dict[str, float]) -> str:
    """A difference in points with its interval and its corrected p-value."""
    figures = {key: 100 * row[key] for key in ("difference", "low", "high")}
    p = "p < 0.001" if row["p_holm"] < 0.001 else f"p = {row['p_holm']:.3f}"
    return "{difference:+.1f} ({low:+.1f} to {high:+.1f}, {p})".format(**figures, p=p)


def value(result: Result, metric: str) -> str:
    """A figure without its interval."""
    return f"{100 * result['scores'][metric]['value']:.1f}"


def gain(result: Result, metric: str) -> str:
    """A difference from the baseline in points, with a star where it is significant."""
    row = result["versus_baseline"][metric]
    star = r"\*" if row["p_holm"] < 0.05 else ""  # escaped, since two of them are emphasis
    return f"{100 * row['difference']:+.1f}{star}"


def one_calibrator(result: Result, metric: str) -> str:
    """The calibration error of one calibrator, a mean over folds; of all folds together where an
    experiment kept no figures by fold. The result should be of one seed."""
    if "per_fold" not in result:
        return value(result, metric)
    return f"{fold_mean(result, metric):.1f}"


def folds(result: Result) -> str:
    """The folds that a result rests on, counted from 0."""
    return ", ".join(map(str, result["folds"])) + result["mark"]


def marked(summary: dict[str, Any]) -> dict[str, Any]:
    """The summary of an experiment, whose results have a mark if their counts were not kept."""
    mark = "" if "counts" in summary else " †"
    results = [{**result, "mark": mark} for result in summary["results"]]
    return {**summary, "results": results}


def types_mean(result: Result, name: str, labels: Sequence[str]) -> str:
    """The mean of a figure over some types, of those that its documents have."""
    figures = [
        result["types"][label][name]["value"] for label in labels if label in result["types"]
    ]
    return f"{100 * mean(figures):.1f}"


def table(summary: dict[str, Any], decodings: Sequence[str], arms: Sequence[str]) -> str:
    """The table of an experiment, of some of its arms and decodings."""
    kept = [
        {**result, "arm": result["arm"] + result["mark"]}
        for result in summary["results"]
        if result["decoding"] in decodings and result["arm"] in arms
    ]
    return markdown_table({**summary, "results": kept})


def points(summary: dict[str, Any], arm: str, decoding: str) -> str:
    """UAR / token macro F1 / entity micro F1 in points from the baseline, which itself is 0, with
    a star where the difference is significant."""
    if [arm, decoding] == summary["baseline"]:
        return "0"
    return " / ".join(gain(find(summary, arm, decoding), name) for name in TESTED)


def gain_on(result: Result, other: Result, numbers: Sequence[int]) -> str:
    """UAR / token macro F1 / entity micro F1 in points from another result, means over folds."""
    gains = (fold_mean(result, name, numbers) - fold_mean(other, name, numbers) for name in TESTED)
    return " / ".join(f"{gain:+.1f}" for gain in gains)


def fold_mean(result: Result, metric: str, numbers: Sequence[int] | None = None) -> float:
    """The mean of a metric over some of a result's folds, or all of them, in percent."""
    per_fold = dict(zip(result["folds"], result["per_fold"][metric], strict=True))
    return 100 * mean(per_fold[fold] for fold in numbers or result["folds"])


def screened(summaries: Sequence[dict[str, Any]], arms: Sequence[str]) -> str:
    """A table of points, of those of the arms that have run in one of the experiments."""
    lines = [f"| training | {' | '.join(SCREENED)} |", f"| --- |{' ---: |' * len(SCREENED)}"]
    for arm in arms:
        summary = next((summary for summary in summaries if arm in arms_of(summary)), None)
        if summary is not None:
            known = {r["decoding"]: r["mark"] for r in summary["results"] if r["arm"] == arm}
            cells = (points(summary, arm, d) if d in known else "" for d in SCREENED)
            mark = next(iter(known.values()))
            lines.append(f"| {arm}{mark} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def arms_of(summary: dict[str, Any]) -> list[str]:
    """The arms of an experiment, in the order of its file."""
    return list(dict.fromkeys(result["arm"] for result in summary["results"]))


def page(name: str) -> str:
    """A page, as markdown."""
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"percent": percent, "difference": difference}
    environment.globals |= {
        function.__name__: function
        for function in (
            arms_of,
            find,
            fold_mean,
            folds,
            gain,
            gain_on,
            one_calibrator,
            points,
            rarest_types,
            screened,
            table,
            types_mean,
            value,
        )
    }
    template = environment.from_string((DOCS / f"{name}.md.jinja").read_text("utf-8"))
    return wrapped(template.render(**data(), MAIN=MAIN))


def wrapped(page: str) -> str:
    """The page with its prose in lines of at most 120 columns: tables, headings, comments, pictures
    and code stay as they are."""
    lines, code = [], False
    for line in page.splitlines():
        code ^= line.startswith("```")
        if code or len(line) <= WIDTH or line.lstrip().startswith(("|", "#", "<!--", "![")):
            lines.append(line)
        else:
            indent = " " * (len(line) - len(ITEM.sub("", line)))
            lines += textwrap.wrap(
                line,
                WIDTH,
                subsequent_indent=indent,
                break_long_words=False,
                break_on_hyphens=False,
            )
    return "\n".join(lines) + "\n"


def data() -> dict[str, Any]:
    """The committed results by the names that the templates call them by."""
    names = [path.name.removesuffix(SUFFIX) for path in sorted(RESULTS.glob(f"*{SUFFIX}"))]
    results = {name: read_results(RESULTS / name) for name in names}
    bias = json.loads(lzma.decompress((RESULTS / "bias.json.xz").read_bytes()))
    experiments = {name: marked(summary) for name, summary in results.items()}
    return {
        **experiments,
        "bench": {
            path.stem: json.loads(path.read_bytes()) for path in sorted(BENCH.glob("*.json"))
        },
        "bias": bias,
        "not_kept": [name for name, summary in results.items() if "counts" not in summary],
    }


def main() -> None:
    """Rewrite the pages."""
    for name in PAGES:
        (DOCS / f"{name}.md").write_text(page(name), encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
