"""Write the results table of the README, and its claim, from the committed result files."""

import json
from pathlib import Path
from statistics import fmean
from typing import Any

import typer

from spacy_btl.experiments.result_files import read_results
from spacy_btl.experiments.results import TESTED, rarest_types
from spacy_btl.experiments.tables import COLUMNS

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "experiments" / "results"
DEMO = ROOT / "docs" / "results" / "demo.json"
README = ROOT / "README.md"
# The experiment, the arm and the decoding.
OURS = ("seeds", "BTL and ATL, random windows, averaged", "transitions 0.15, tau 0.15")
BTL = ("seeds", "BTL, random windows", "transitions 0.15, tau 0.15")
ATL = ("seeds", "ATL, random windows", "transitions 0.15, tau 0.15")
WITHOUT = ("ensembles", "ATL of two orders, random windows, averaged", "calibrator, tau 0.15")
CALIBRATED = ("ensembles", "ATL", "calibrator, tau 0.15")
MAPPED = ("seeds", "ATL", "arg-max, mapped on dev")
USUAL = ("seeds", "ATL", "arg-max")
STOCK = ("spacy_ner", "spaCy's ner", "as it is")
BESIDE_STOCK = ("spacy_ner", OURS[1], "calibrator, tau 0.15")
CLAIM = """\
On [MACCROBAT](docs/results.md), 200 case reports and the 33 entity types with 40 mentions or more,
over five folds and two seeds, with the same MiniLM encoder, against usual fine-tuning: mean recall
of the types and `O` {tag_uar}, their mean F1 {tag_macro_f}, entity F1 {ents_f}, and the mean
error of an entity's stated confidence {ents_ece} points (over all folds and seeds; that of [one
calibrator](docs/results.md#calibration-of-what-ships) is greater; * p < 0.05 by a test over
documents). Of the ten rarest types the mean recall is {rare_recall}, and the mean entity F1
{rare_f}, which was not tested. Much of it needs no Binary Token Labels: the calibrator alone, on
the usual network, has {calibrated} of the first three figures, our training of two networks
without them {without}, and the calibrator's maps alone make confidence as true. Binary Token
Labels are a second training, of a network that is averaged with the first. spaCy's own `ner` over
the same encoder, with as many steps as one of these networks and on [one
fold](docs/results.md#spacys-own-ner) only, has {stock} where ours has {ours_there}: no worse an
entity F1, and few of the rare types.
"""

# What to call them.
RECIPES = {
    OURS: "our recipe: BTL and ATL, masked, random windows, averaged; calibrator, tau 0.15",
    BTL: "of it the network with BTL alone, one seed",
    ATL: "of it the network without BTL alone",
    WITHOUT: "two such networks without BTL, averaged; transitions 0.2, one seed",
    CALIBRATED: "usual training, calibrator, tau 0.15; transitions 0.2, one seed",
    MAPPED: "usual training, arg-max, with maps",
    USUAL: "usual training, arg-max",
    ("ablation", "ATL", "arg-max"): "the same on another machine, where the two below ran",
    ("ablation", "BTL", "arg-max"): "BTL with `pair` and the paper's weights, arg-max",
    ("ablation", "BTL", "kNN"): "the same, the paper's kNN",
}


def claim() -> str:
    """What ships against the usual training, and what Binary Token Labels have to do with it."""
    names = ("tag_uar", "tag_macro_f", "ents_f", "ents_ece")
    ours, usual = (
        {name: f"{100 * measured(key)['scores'][name]['value']:.1f}" for name in names}
        for key in (OURS, USUAL)
    )
    tests = measured(OURS)["versus_baseline"]
    stars = {name: "*" if tests[name]["p_holm"] < 0.05 else "" for name in TESTED}
    gains = {name: f"{usual[name]} → {ours[name]}{stars.get(name, '')}" for name in names}
    return CLAIM.format(
        **gains,
        rare_recall=_of_rare("tag_r"),
        rare_f=_of_rare("ents_f"),
        calibrated=_three(CALIBRATED),
        without=_three(WITHOUT),
        stock=_three(STOCK),
        ours_there=_three(BESIDE_STOCK),
    )


def _three(key: tuple[str, str, str]) -> str:
    """UAR / token macro F1 / entity micro F1."""
    scores = measured(key)["scores"]
    return " / ".join(f"{100 * scores[name]['value']:.1f}" for name in TESTED)


def _of_rare(name: str) -> str:
    """The mean of a figure over the ten rarest types, of the usual training and of ours."""
    rarest = rarest_types(measured(USUAL))
    both = (measured(key)["types"] for key in (USUAL, OURS))
    means = (fmean(types[label][name]["value"] for label in rarest) for types in both)
    return " → ".join(f"{100 * mean:.1f}" for mean in means)


def measured(key: tuple[str, str, str]) -> dict[str, Any]:
    """The result of an experiment by an arm and a decoding."""
    experiment, *wanted = key
    results = read_results(RESULTS / experiment)["results"]
    return next(row for row in results if [row["arm"], row["decoding"]] == wanted)


def table() -> str:
    """The rows, as markdown."""
    lines = [
        f"| corpus | recipe | folds | {' | '.join(COLUMNS.values())} |",
        f"| --- | --- | ---: | {' | '.join('---:' for _ in COLUMNS)} |",
    ]
    for key, recipe in RECIPES.items():
        folds = len(measured(key)["folds"])
        mark = "" if "counts" in read_results(RESULTS / key[0]) else " †"
        figures = " | ".join(_figure(key, name) for name in COLUMNS)
        lines.append(f"| MACCROBAT | {recipe}{mark} | {folds} | {figures} |")
    demo = json.loads(DEMO.read_text("utf-8"))
    figures = " | ".join(f"{100 * demo['scores'][name]['value']:.1f}" for name in COLUMNS)
    lines.append(f"| demo notes | our recipe | 1 split | {figures} |")
    return "\n".join(lines) + "\n"


def _figure(key: tuple[str, str, str], name: str) -> str:
    """A figure, and in brackets its difference from the usual training of the same experiment: a
    star where it is significant."""
    result = measured(key)
    figure = f"{100 * result['scores'][name]['value']:.1f}"
    if name not in TESTED or key[1:] == USUAL[1:]:
        return figure
    tested = result["versus_baseline"][name]
    return f"{figure} ({100 * tested['difference']:+.1f}{'*' if tested['p_holm'] < 0.05 else ''})"


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
