"""`python -m spacy btl visualize`: view and correct the entities of notes in a browser."""

from pathlib import Path

import typer

from spacy_btl.cli._run import btl, exits_on_error


@btl.command("visualize")
@exits_on_error
def visualize_cli(
    model: str = typer.Argument(..., help="A pipeline: a package name or a folder"),
    metrics: Path | None = typer.Option(
        None, help="The metrics.json of `btl evaluate`, to show its table of types"
    ),
    corpus: Path | None = typer.Option(
        None,
        help="The .spacy file that the calibrator was fitted to, to show the text of neighbours",
    ),
    notes: Path | None = typer.Option(
        None, help="Notes to show: .parquet, .csv or .jsonl, or a folder of such or of .txt files"
    ),
    text_column: str = typer.Option("text", help="The column, or key, of the text of notes"),
    id_column: str = typer.Option("id", help="The column, or key, of the id of notes"),
    port: int = typer.Option(8501, min=1, max=65535, help="The port on 127.0.0.1"),
) -> None:
    """View and correct the entities of notes in a browser.

    The page is served on 127.0.0.1 only, until the command is stopped (Ctrl-C). It needs no
    internet connection, and writes nothing to disk but what is downloaded.
    """
    from spacy_btl.web.server import serve

    serve(
        model,
        port=port,
        metrics=metrics,
        corpus=corpus,
        notes=notes,
        text_column=text_column,
        id_column=id_column,
    )
