"""`python -m spacy btl calibrate`: append a fitted `knn_calibrator` to a trained pipeline."""

from pathlib import Path

import typer
from wasabi import msg

from spacy_btl.cli import btl
from spacy_btl.cli._run import exits_on_error


@btl.command("calibrate")
@exits_on_error
def calibrate_cli(
    model: str = typer.Argument(..., help="A trained pipeline: a package name or a folder"),
    corpus: Path = typer.Argument(..., help="The .spacy file to fit on: the training documents"),
    output: Path = typer.Argument(..., help="The folder to save the calibrated pipeline in"),
    n_neighbors: int = typer.Option(17, min=1, help="How many neighbours vote"),
    votes: str = typer.Option("uniform", help="uniform, or distance: by inverse distance"),
    mix: float = typer.Option(1.0, min=0, max=1, help="Share of kNN; the rest is the softmax"),
    tau: float = typer.Option(0.0, help="Shift towards rare types; 0 not at all"),
) -> None:
    """Fit a knn_calibrator on a corpus and append it to a trained pipeline.

    The pipeline that is saved ends with a doc_cleaner that drops the logits, and keeps no path of
    this machine.
    """
    from spacy_btl.pipeline.calibrate import calibrate

    settings = {"n_neighbors": n_neighbors, "votes": votes, "mix": mix, "tau": tau}
    nlp = calibrate(model, corpus, output, settings=settings)
    msg.good(f"Saved {' > '.join(nlp.pipe_names)} to {output}")
