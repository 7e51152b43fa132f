"""`python -m spacy btl visualize`: a page on this machine, to look at notes with a pipeline."""

from pathlib import Path

import typer

from spacy_btl.cli._run import btl, exits_on_error


@btl.command("visualize")
@exits_on_error
def visualize_cli(
    model: str = typer.Argument(..., help="A pipeline: a package name or a folder"),
    metrics: Path | None = typer.Option(
        None, help="The metrics.json of `btl evaluate`, for its table of types"
    ),
    corpus: Path | None = typer.Option(
        None, help="The .spacy file that the calibrator was fitted to, to quote the neighbours"
    ),
    port: int = typer.Option(8501, min=1, max=65535, help="The port at 127.0.0.1"),
) -> None:
    """Look at the entities of a note in a browser.

    The page is served at 127.0.0.1 alone until the command is stopped (Ctrl-C). It needs no
    internet, and keeps no note: nothing is written to disk.
    """
    from spacy_btl.web.server import serve

    serve(model, port=port, metrics=metrics, corpus=corpus)
