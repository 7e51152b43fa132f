"""`python -m spacy btl check`: whether notes are like those that a pipeline was calibrated for."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.table import Table
from wasabi import msg

from spacy_btl.cli._progress import shown
from spacy_btl.cli._run import btl, exits_on_error
from spacy_btl.errors import counted

if TYPE_CHECKING:
    from spacy_btl.calibration.unlike import Comparison

UNLIKE = 3  # the exit status
SHOWN = 8  # features


@btl.command("check")
@exits_on_error
def check_cli(
    model: str = typer.Argument(..., help="A calibrated pipeline: a package name or a folder"),
    notes: Path = typer.Argument(
        ..., help="The notes: .parquet, .csv or .jsonl, or a folder of such or of .txt files"
    ),
    text_column: str = typer.Option("text", help="The column, or key, of the text"),
    id_column: str = typer.Option("id", help="The column, or key, of the note's id"),
    batch_size: int | None = typer.Option(None, min=1, help="Notes per batch, if not the model's"),
    gpu_id: int = typer.Option(-1, "--gpu-id", "-g", help="The GPU, or -1 for the CPU"),
) -> None:
    """Tell whether notes are like those of the model's source.

    It needs no annotation. It compares the notes with the held-out documents that the calibration
    maps were fitted to, of which the pipeline holds a few numbers each and no text. It ends with
    status 0 if the notes are alike, and with 3 if they are unlike, which a scheduler can read; 1 is
    an error.
    """
    from spacy_btl.gpu import use_gpu
    from spacy_btl.pipeline.unlike import said
    from spacy_btl.shift.check import check_notes

    use_gpu(gpu_id)
    with shown("notes") as show:
        checked = check_notes(
            model,
            notes,
            text_column=text_column,
            id_column=id_column,
            batch_size=batch_size,
            on_progress=lambda done, total: show(done, total, ""),
        )
    comparison = checked.comparison
    _print(comparison)
    if checked.failed:
        failed = counted(checked.failed, "note")
        msg.warn(f"{failed} could not be read. The first: {checked.first_failure}")
    if not comparison.possible:
        msg.warn("So few notes and held-out documents cannot be told apart: give more notes.")
    if not comparison.unlike:
        msg.good(said(comparison))
        return
    msg.warn(said(comparison))
    msg.info(
        "Annotate 5 to 10 of the notes and give them to `python -m spacy btl calibrate "
        "--maps-only`, or, without annotation and more roughly, add --unannotated."
    )
    raise typer.Exit(UNLIKE)


def _print(comparison: "Comparison") -> None:
    table = Table("feature, median of notes", "held out", "here", "difference, in errors", box=None)
    for column in table.columns[1:]:
        column.justify = "right"
    for one in comparison.differences[:SHOWN]:
        table.add_row(one.feature, f"{one.before:.3g}", f"{one.now:.3g}", f"{one.z:+.1f}")
    console = Console(markup=False, highlight=False, emoji=False)
    console.print(table)
    console.print(
        f"\nMentions expected to be correct: {comparison.expected:.0%}; "
        f"{comparison.accuracy:.0%} of those of the held-out documents are.\n"
    )
