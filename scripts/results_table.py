"""Write the results table of the README from the result files in docs/results."""

import json
from pathlib import Path

import typer

from spacy_btl.evaluation.tables import COLUMNS

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "docs" / "results"
README = ROOT / "README.md"
BEGIN, END = "<!-- results -->\n", "<!-- /results -->"

ROWS = {
    "maccrobat-atl-argmax": ("MACCROBAT", "all token labels, arg-max (the usual training)"),
    "maccrobat-atl": ("MACCROBAT", "all token labels, calibrator"),
    "maccrobat-argmax": ("MACCROBAT", "BTL, arg-max"),
    "maccrobat": ("MACCROBAT", "BTL, calibrator"),
    "demo": ("demo notes", "BTL, calibrator"),
    "demo-50": ("demo notes", "the same, from half of the training documents"),
    "demo-25": ("demo notes", "the same, from a quarter"),
}


def table() -> str:
    """The rows, as markdown."""
    lines = [
        f"| corpus | recipe | {' | '.join(COLUMNS.values())} |",
        f"| --- | --- | {' | '.join('---:' for _ in COLUMNS)} |",
    ]
    for name, (corpus, recipe) in ROWS.items():
        scores = json.loads((RESULTS / f"{name}.json").read_text("utf-8"))
        figures = " | ".join(_figure(scores["figures"].get(key)) for key in COLUMNS)
        lines.append(f"| {corpus}, {scores['documents']} documents | {recipe} | {figures} |")
    return "\n".join(lines) + "\n"


def _figure(interval: dict[str, float] | None) -> str:
    return "" if interval is None else f"{interval['value']:.1%}"


def with_table(readme: str) -> str:
    """The README with its table written anew."""
    before, rest = readme.split(BEGIN)
    return before + BEGIN + table() + END + rest.split(END)[1]


def main() -> None:
    """Rewrite the table in README.md."""
    README.write_text(with_table(README.read_text("utf-8")), encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
