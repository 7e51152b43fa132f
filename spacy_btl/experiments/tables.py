"""The summary of an experiment as one table, in markdown and HTML."""

from html import escape
from typing import Any

COLUMNS = {
    "tag_uar": "UAR",
    "tag_macro_f": "token macro F1",
    "ents_f": "entity micro F1",
    "ents_macro_f": "entity macro F1",
    "tag_ece": "token ECE",
    "ents_ece": "entity ECE",
}


def table_rows(summary: dict[str, Any]) -> list[list[str]]:
    """A row of cells for the heading, and one per arm and decoding.

    Figures are in percent with their 95% interval; a star means that the difference from the
    baseline has p < 0.05 by Holm's correction.
    """
    rows = [["corpus", "arm", "decoding", "folds", *COLUMNS.values(), "steps", "minutes"]]
    for result in summary["results"]:
        tested = result.get("versus_baseline", {})
        figures = [
            _figure(result["scores"].get(name), tested.get(name, {}).get("p_holm", 1))
            for name in COLUMNS
        ]
        cost = result["cost"]
        rows.append(
            [
                result["corpus"],
                result["arm"],
                result["decoding"],
                str(len(result["folds"])),
                *figures,
                f"{cost['optimizer_steps']:,.0f}",
                f"{cost['seconds'] / 60:.0f}",
            ]
        )
    return rows


def _figure(interval: dict[str, float] | None, p: float) -> str:
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
    """The table as a page of its own."""
    heading, *rows = table_rows(summary)
    head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in heading)
    body = "\n".join(
        f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows
    )
    return PAGE.format(title=escape(summary["title"]), head=head, body=body)


PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 15px/1.4 system-ui, sans-serif; margin: 1rem; }}
div {{ overflow-x: auto; }}
table {{ border-collapse: collapse; white-space: nowrap; font-variant-numeric: tabular-nums; }}
th, td {{ padding: .3rem .7rem; text-align: right; border-bottom: 1px solid #8886; }}
th:nth-child(-n+3), td:nth-child(-n+3) {{ text-align: left; }}
</style>
<h1>{title}</h1>
<p>Percent, with 95% intervals from a bootstrap over documents, or patients. * differs from the
baseline, p &lt; 0.05 by approximate randomization with Holm's correction.</p>
<div><table>
<thead><tr>{head}</tr></thead>
<tbody>
{body}
</tbody>
</table></div>
</html>
"""
