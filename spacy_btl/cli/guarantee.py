"""`python -m spacy btl guarantee`: recall and precision that are kept with a stated probability."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.table import Table
from wasabi import msg

from spacy_btl.cli._run import FORCE, btl, exits_on_error, refuse_to_replace

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spacy_btl.guarantee.choosing import Chosen


class MatchRule(StrEnum):
    """The values of --match."""

    overlap = "overlap"
    strict = "strict"


@btl.command("guarantee")
@exits_on_error
def guarantee_cli(
    model: str = typer.Argument(..., help="A calibrated pipeline: a package name or a folder"),
    notes: Path = typer.Argument(
        ..., help="The .spacy file of annotated notes that the pipeline never had"
    ),
    output: Path = typer.Argument(..., help="The folder to save the pipeline with its promises in"),
    recall: list[str] = typer.Option(
        [], help="A type and its least recall, as Outcome=0.9; once for each type"
    ),
    precision: list[str] = typer.Option(
        [], help="A type and its least precision, as Medication=0.95; once for each type"
    ),
    risk: float = typer.Option(0.05, help="With what probability each promise may be wrong"),
    match: MatchRule = typer.Option(
        "overlap", help="A mention counts if it overlaps one of its type, or has its boundaries"
    ),
    force: bool = FORCE,
) -> None:
    """Promise the recall or precision of types on new notes.

    Sets tau, or the least confidence, of each type so that its recall, or precision, on new notes
    of the same source is at least what is asked, but for the risk. Nothing is assumed of the
    pipeline, and of the notes only that new ones are drawn as these were. What the notes cannot
    certify is not promised: the error says what they can, and about how many more it takes.
    """
    from spacy_btl.guarantee.asked import read_levels
    from spacy_btl.guarantee.guarantee import guarantee_pipeline

    refuse_to_replace(output, force=force)
    asked = {"recall": read_levels(recall), "precision": read_levels(precision)}
    msg.info(f"Certifying {model} on {notes}")
    chosen = guarantee_pipeline(model, notes, output, **asked, risk=risk, match=match.value)
    _print(chosen, risk)
    msg.good(f"Saved to {output}")


def _print(chosen: "Sequence[Chosen]", risk: float) -> None:
    """Print the promises, what was seen, the settings and what they cost."""
    console = Console(markup=False, highlight=False)
    columns = ("type", "promised", "seen", "notes", "setting", "recall", "precision")
    table = Table(*columns, box=None)
    for one in chosen:
        setting = f"tau {one.tau:g}"
        if one.kind == "precision":
            setting = f"confidence {one.min_confidence:g}"
        pairs = zip(one.before, one.after, strict=True)
        table.add_row(
            one.label,
            f"{one.kind} {one.level:.1%}",
            f"{one.seen:.1%}",
            f"{one.documents:,}",
            setting,
            *(f"{100 * before:.1f} → {100 * after:.1f}" for before, after in pairs),
        )
    console.print("")
    console.print(table)
    console.print(
        f"\nEach promise is kept with probability {1 - risk:.1%}: on new notes of the same source "
        "the mean over the notes with such mentions (`notes` here, their mean is `seen`) is at "
        "least what is promised. Recall and precision at the end are those of all mentions in "
        "percent, before and now. Another hospital, time or annotator is another source.\n"
    )
