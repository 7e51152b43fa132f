"""Write the results table of the README, and its claim, from the committed result files."""

import json
from pathlib import Path
from typing import Any

import typer

from spacy_btl.evaluation.tables import COLUMNS

ROOT = Path(__file__).parent.parent
ABLATION = ROOT / "experiments" / "results" / "ablation.json"
DEMO = ROOT / "docs" / "results" / "demo.json"
README = ROOT / "README.md"
OURS = ("BTL and ATL, masked, averaged", "calibrator, tau 0.15")
USUAL = ("ATL", "arg-max")
CLAIM = """\
On [MACCROBAT](docs/results.md), 200 case reports and the 33 entity types with 40 mentions or more,
over five folds and with the same MiniLM encoder, against usual fine-tuning: mean recall of the
types and `O` {uar}, entity F1 {entity_micro_f}, and the mean error of an entity's stated confidence
{entity_ece} points (over all folds together; that of [one
calibrator](docs/results.md#the-recipe-that-ships) is greater). It takes two trainings in place of
one. The calibrator and masking bring most of it: with them, a network without Binary Token Labels
has a recall of {without[uar]} and an entity F1 of {without[entity_micro_f]}.
"""
WITHOUT = ("ATL, masked", "calibrator, tau 0.15")


# Arm and decoding of experiments/ablation.yml, and what to call them.
RECIPES = {
    OURS: "`btl_minilm.cfg` and `atl_minilm.cfg` averaged, our calibrator, tau 0.15",
    ("BTL, all, ignore, square-root odds, masked", "calibrator, tau 0.15"): (
        "`btl_minilm.cfg` alone: BTL, masking"
    ),
    WITHOUT: "`atl_minilm.cfg` alone: the same without BTL",
    ("ATL", "calibrator, tau 0.15"): "usual training, our calibrator, tau 0.15",
    USUAL: "usual training, arg-max",
    ("BTL", "arg-max"): "BTL with `pair` and the paper's weights, arg-max",
    ("BTL", "kNN"): "the same, the paper's kNN",
}


def claim() -> str:
    """What ships against the usual training, and what Binary Token Labels have to do with it."""
    names = ("uar", "entity_micro_f", "entity_ece")
    ours, usual, without = (
        {name: f"{100 * measured()[key]['metrics'][name]['mean']:.1f}" for name in names}
        for key in (OURS, USUAL, WITHOUT)
    )
    gains = {name: f"{usual[name]} → {ours[name]}" for name in names}
    return CLAIM.format(**gains, without=without)


def measured() -> dict[tuple[str, str], dict[str, Any]]:
    """The results of the ablation by arm and decoding."""
    results = json.loads(ABLATION.read_text("utf-8"))["results"]
    return {(result["arm"], result["decoding"]): result for result in results}


def table() -> str:
    """The rows, as markdown."""
    lines = [
        f"| corpus | recipe | folds | {' | '.join(COLUMNS.values())} |",
        f"| --- | --- | ---: | {' | '.join('---:' for _ in COLUMNS)} |",
    ]
    results = measured()
    for key, recipe in RECIPES.items():
        result = results[key]
        figures = " | ".join(_figure(result, name) for name in COLUMNS)
        lines.append(f"| MACCROBAT | {recipe} | {len(result['folds'])} | {figures} |")
    demo = json.loads(DEMO.read_text("utf-8"))
    figures = " | ".join(f"{100 * demo['figures'][name]['value']:.1f}" for name in COLUMNS)
    lines.append(f"| demo notes | both averaged, our calibrator | 1 split | {figures} |")
    return "\n".join(lines) + "\n"


def _figure(result: dict[str, Any], name: str) -> str:
    """A figure, and in brackets its difference from the usual training on the same folds."""
    value = f"{100 * result['metrics'][name]['mean']:.1f}"
    tested = result.get("versus_baseline", {}).get(name)
    if tested is None:
        return value
    star = "*" if tested["p_holm"] < 0.05 else ""
    return f"{value} ({100 * tested['difference']:+.1f}{star})"


def with_results(readme: str) -> str:
    """The README with its claim and its table written anew."""
    for name, text in {"claim": claim(), "results": table()}.items():
        begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
        before, rest = readme.split(begin)
        readme = before + begin + text + end + rest.split(end)[1]
    return readme


def main() -> None:
    """Rewrite them in README.md."""
    README.write_text(with_results(README.read_text("utf-8")), encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
