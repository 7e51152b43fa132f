"""`python -m spacy btl calibrate`: append a fitted `knn_calibrator` to a trained pipeline."""

from enum import StrEnum
from pathlib import Path

import typer
from wasabi import msg

from spacy_btl.cli import btl
from spacy_btl.cli._run import exits_on_error


class VotesOption(StrEnum):
    """What --votes takes."""

    uniform = "uniform"
    distance = "distance"


@btl.command("calibrate")
@exits_on_error
def calibrate_cli(
    model: str = typer.Argument(..., help="A trained pipeline: a package name or a folder"),
    corpus: Path = typer.Argument(..., help="The .spacy file to fit on: the training documents"),
    output: Path = typer.Argument(..., help="The folder to save the calibrated pipeline in"),
    ner: str = typer.Option("ner", help="The name of the model's btl_ner pipe"),
    n_neighbors: int = typer.Option(17, min=1, help="How many neighbours vote"),
    votes: VotesOption = typer.Option("uniform", help="Each neighbour alike, or by 1 / distance"),
    mix: float = typer.Option(1.0, min=0, max=1, help="Share of kNN; the rest is the softmax"),
    tau: float = typer.Option(0.0, help="Shift towards rare types; 0 not at all"),
) -> None:
    """Append a knn_calibrator, fitted on a corpus.

    The pipeline that is saved ends with a doc_cleaner that drops the logits, and keeps no path of
    this machine.
    """
    from spacy_btl.pipeline.calibrate import calibrate

    settings = {
        "ner": ner,
        "n_neighbors": n_neighbors,
        "votes": votes.value,
        "mix": mix,
        "tau": tau,
    }
    msg.info(f"Fitting a knn_calibrator for {model} on {corpus}")
    nlp = calibrate(model, corpus, output, settings=settings)
    msg.good(f"Saved {' > '.join(nlp.pipe_names)} to {output}")
