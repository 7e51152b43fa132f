"""The summary of an experiment as one table, in markdown and HTML."""

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from spacy_btl.metrics.measures import MEASURES

COLUMNS = ("tag_uar", "tag_macro_f", "ents_f", "ents_macro_f", "tag_ece", "ents_ece")
# Where mentions overlap.
MENTION_COLUMNS = ("spans_btl_f", "spans_btl_macro_f", "spans_btl_r_lost", "spans_btl_ece")


def table_rows(summary: dict[str, Any]) -> list[list[str]]:
    """The cells of the heading, and of one row per arm and decoding.

    Scores are in percent with their 95% interval. A star means that the difference from the
    baseline has p < 0.05 by Holm's correction. Scores of mentions are shown if some overlap.
    """
    known = {name for result in summary["results"] for name in result["scores"]}
    columns = [*COLUMNS, *(name for name in MENTION_COLUMNS if name in known)]
    titles = [MEASURES[name].title for name in columns]
    rows = [["corpus", "arm", "decoding", "folds", *titles, "steps", "minutes"]]
    for result in summary["results"]:
        tested = result.get("versus_baseline", {})
        scores = [
            _cell(result["scores"].get(name), tested.get(name, {}).get("p_holm", 1))
            for name in columns
        ]
        cost = result["cost"]
        rows.append(
            [
                result["corpus"],
                result["arm"],
                result["decoding"],
                str(len(result["folds"])),
                *scores,
                f"{cost['optimizer_steps']:,.0f}",
                f"{cost['seconds'] / 60:.0f}",
            ]
        )
    return rows


def _cell(interval: dict[str, float] | None, p: float) -> str:
    if interval is None:
        return ""
    value, low, high = (100 * interval[key] for key in ("value", "low", "high"))
    return f"{value:.1f} ({low:.1f}–{high:.1f}){'*' if p < 0.05 else ''}"


def markdown_table(summary: dict[str, Any]) -> str:
    """The table in markdown."""
    heading, *rows = table_rows(summary)
    rule = [*["---"] * 3, *["---:"] * (len(heading) - 3)]
    return "".join(f"| {' | '.join(row)} |\n" for row in [heading, rule, *rows])


def html_table(summary: dict[str, Any]) -> str:
    """The table as an HTML page."""
    heading, *rows = table_rows(summary)
    environment = Environment(
        loader=PackageLoader("spacy_btl.experiments", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    template = environment.get_template("table.html.jinja")
    return template.render(title=summary["title"], heading=heading, rows=rows)
