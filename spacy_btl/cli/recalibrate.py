"""`python -m spacy btl recalibrate`: a pipeline's confidence for notes of another source."""

from pathlib import Path

import typer
from wasabi import msg

from spacy_btl.cli._run import FORCE, btl, exits_on_error, refuse_to_replace, warn


@btl.command("recalibrate")
@exits_on_error
def recalibrate_cli(
    model: str = typer.Argument(..., help="A calibrated pipeline: a package name or a folder"),
    notes: Path = typer.Argument(
        ..., help="A .spacy file of annotated notes; with --unannotated, what `annotate` reads"
    ),
    output: Path = typer.Argument(..., help="The folder to save the pipeline in"),
    unannotated: bool = typer.Option(False, help="Correct the prior alone, without annotation"),
    text_column: str = typer.Option("text", help="Unannotated: the column, or key, of the text"),
    id_column: str = typer.Option("id", help="Unannotated: the column, or key, of the id"),
    force: bool = FORCE,
) -> None:
    """Fit the confidence to a few notes of another source.

    The network and the datastore stay. The calibration maps are fitted again to the annotated
    notes, near the earlier ones: 5 to 10 notes are enough. With --unannotated only the prior of
    confidence changes. That is rough, and can make confidence worse: see the page on notes that are
    unlike.
    """
    from spacy_btl.shift.recalibrate import recalibrate, recalibrate_unannotated

    refuse_to_replace(output, force=force)
    if unannotated:
        shift = recalibrate_unannotated(
            model, notes, output, text_column=text_column, id_column=id_column
        )
        warn(
            f"The log odds of all mentions changed by {shift:+.2f}, by an estimate that no "
            "annotation confirms. A few annotated notes are better."
        )
    else:
        recalibrate(model, notes, output)
    msg.good(f"Saved {output}")
