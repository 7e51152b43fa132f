"""`python -m spacy btl tune`: choose how a calibrated pipeline decides, on held-out documents."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.table import Table
from wasabi import msg

from spacy_btl.cli._run import FORCE, btl, exits_on_error, refuse_to_replace, warn

if TYPE_CHECKING:
    from spacy_btl.training.tune import Tuned

FIGURES = ("tag_uar", "tag_macro_f", "ents_f")


@btl.command("tune")
@exits_on_error
def tune_cli(
    model: str = typer.Argument(..., help="A calibrated pipeline: a package name or a folder"),
    dev: Path = typer.Argument(
        ..., help="The .spacy file of documents that neither network nor calibrator was fitted to"
    ),
    output: Path = typer.Argument(..., help="The folder to save the tuned pipeline in"),
    tolerance: float = typer.Option(
        0.01, min=0, max=1, help="How far entity F1 may fall below that of the network's argmax"
    ),
    force: bool = FORCE,
) -> None:
    """Choose the settings of a calibrator on held-out documents.

    Takes the knn_weight, tau and transition_weight with the greatest UAR among those that keep the
    token F1 of the network's argmax, and its entity F1 within the tolerance. With spans_key,
    transition_weight stays, and the mentions without neighbours and tau stand for the argmax. Then
    fits the calibration maps. The gain over the present settings is cross-validated over documents:
    decide by it, and keep the present settings if there is none.
    """
    from spacy_btl.training.tune import tune
    from spacy_btl.training.validation import advise

    refuse_to_replace(output, force=force)
    msg.info(f"Tuning {model} on {dev}")
    tuned = tune(model, dev, output, tolerance=tolerance)
    _print(tuned)
    for advice in advise(tuned.validation, model):
        warn(advice)
    msg.good(f"Saved to {output}")


def _print(tuned: "Tuned") -> None:
    """Print what was chosen, and what such a choice is worth."""
    from spacy_btl.metrics.measures import MEASURES

    console = Console(markup=False, highlight=False)
    chosen = tuned.settings
    console.print(f"\nknn_weight {chosen.knn_weight:g}")
    if not tuned.overlapping:
        console.print(f"transition_weight {chosen.transition_weight:g}")
    console.print(f"tau {chosen.tau:g}\n")
    plain = "no kNN, tau 0" if tuned.overlapping else "argmax"
    table = Table("on these documents, which it was chosen on", plain, "tuned", box=None)
    for column in table.columns[1:]:
        column.justify = "right"
    entities = "spans_btl_f" if tuned.overlapping else "ents_f"
    titles = {name: MEASURES[entities if name == "ents_f" else name].title for name in FIGURES}
    for name, title in titles.items():
        figures = (getattr(scores, name) for scores in (tuned.plain, tuned.chosen))
        table.add_row(title, *(f"{figure:.1%}" for figure in figures))
    console.print(table)
    console.print()
    if tuned.validation is None:
        return
    table = Table("cross-validated", "present", "tuned", "gain", "95% interval", box=None)
    for column in table.columns[1:]:
        column.justify = "right"
    for name, title in titles.items():
        gain = tuned.validation.gains[name]
        points = [100 * value for value in (gain.after - gain.before, gain.low, gain.high)]
        difference, low, high = (f"{value:+.1f}" for value in points)
        before, after = f"{gain.before:.1%}", f"{gain.after:.1%}"
        table.add_row(title, before, after, difference, f"{low} to {high}")
    console.print(table)
    console.print(
        f"\nThe second table is of documents that the settings were not chosen on, "
        f"{tuned.validation.documents:,} in all (or patients, where the corpus names them), and in "
        "points: believe that one.\n"
    )
