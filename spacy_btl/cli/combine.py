"""`python -m spacy btl average` and `ensemble`: combine several trained pipelines in one."""

from pathlib import Path

import typer
from wasabi import msg

from spacy_btl.cli._run import FORCE, btl, exits_on_error, refuse_to_replace, warn_of_untrained

MODELS = typer.Argument(..., help="Trained pipelines: folders or package names")


@btl.command("average")
@exits_on_error
def average_cli(
    models: list[str] = MODELS,
    output: Path = typer.Argument(..., help="The folder to save the average in"),
    force: bool = FORCE,
) -> None:
    """Average the weights of several trained pipelines.

    All must be fine-tuned from the same encoder. The result is as fast as one of them. The mean of
    networks with different losses keeps much of the strengths of each. Average pipelines before
    calibration, then calibrate the result.
    """
    from spacy_btl.training.average import average

    refuse_to_replace(output, force=force)
    warn_of_untrained(average(models, output))
    msg.good(f"Saved the average of {len(models)} pipelines to {output}")


@btl.command("ensemble")
@exits_on_error
def ensemble_cli(
    models: list[str] = MODELS,
    output: Path = typer.Argument(..., help="The folder to save the ensemble in"),
    force: bool = FORCE,
) -> None:
    """Average the logits of several trained pipelines.

    It takes as long as all of them together. Their encoders may differ. Combine pipelines before
    calibration, then calibrate the result.
    """
    from spacy_btl.training.ensemble import ensemble

    refuse_to_replace(output, force=force)
    warn_of_untrained(ensemble(models, output))
    msg.good(f"Saved an ensemble of {len(models)} pipelines to {output}")
