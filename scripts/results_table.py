"""Write the results table of the README from the committed result files."""

import json
from pathlib import Path
from typing import Any

import typer

from spacy_btl.evaluation.tables import COLUMNS

ROOT = Path(__file__).parent.parent
ABLATION = ROOT / "experiments" / "results" / "ablation.json"
DEMO = ROOT / "docs" / "results" / "demo.json"
README = ROOT / "README.md"
BEGIN, END = "<!-- results -->\n", "<!-- /results -->"

# Arm and decoding of experiments/ablation.yml, and what to call them.
RECIPES = {
    (
        "BTL, all, ignore, square-root odds, masked",
        "calibrator, tau 0.15",
    ): "`btl_minilm.cfg`: BTL, masking, our calibrator, tau 0.15",
    ("ATL, masked", "calibrator, tau 0.15"): "`atl_minilm.cfg`: the same without BTL",
    ("ATL, masked", "calibrator, tau 0.25"): "`atl_minilm.cfg`, tau 0.25",
    ("ATL", "calibrator, tau 0.15"): "usual training, our calibrator, tau 0.15",
    ("ATL", "arg-max"): "usual training, arg-max",
    ("BTL", "arg-max"): "BTL with `pair` and the paper's weights, arg-max",
    ("BTL", "kNN"): "the same, the paper's kNN",
}


def table() -> str:
    """The rows, as markdown."""
    lines = [
        f"| corpus | recipe | folds | {' | '.join(COLUMNS.values())} |",
        f"| --- | --- | ---: | {' | '.join('---:' for _ in COLUMNS)} |",
    ]
    results = {
        (result["arm"], result["decoding"]): result
        for result in json.loads(ABLATION.read_text("utf-8"))["results"]
    }
    for key, recipe in RECIPES.items():
        result = results[key]
        figures = " | ".join(_figure(result, name) for name in COLUMNS)
        lines.append(f"| MACCROBAT | {recipe} | {len(result['folds'])} | {figures} |")
    demo = json.loads(DEMO.read_text("utf-8"))
    figures = " | ".join(f"{100 * demo['figures'][name]['value']:.1f}" for name in COLUMNS)
    lines.append(
        f"| demo notes | `btl_minilm.cfg`: BTL, masking, our calibrator | 1 split | {figures} |"
    )
    return "\n".join(lines) + "\n"


def _figure(result: dict[str, Any], name: str) -> str:
    """A figure, and in brackets its difference from the usual training on the same folds."""
    value = f"{100 * result['metrics'][name]['mean']:.1f}"
    tested = result.get("versus_baseline", {}).get(name)
    if tested is None:
        return value
    star = "*" if tested["p_holm"] < 0.05 else ""
    return f"{value} ({100 * tested['difference']:+.1f}{star})"


def with_table(readme: str) -> str:
    """The README with its table written anew."""
    before, rest = readme.split(BEGIN)
    return before + BEGIN + table() + END + rest.split(END)[1]


def main() -> None:
    """Rewrite the table in README.md."""
    README.write_text(with_table(README.read_text("utf-8")), encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
