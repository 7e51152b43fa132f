"""`python -m spacy btl average`: one network of several that were fine-tuned from one encoder."""

from pathlib import Path

import typer
from wasabi import msg

from spacy_btl.cli._run import FORCE, btl, exits_on_error, refuse_to_replace, warn_of_idle


@btl.command("average")
@exits_on_error
def average_cli(
    models: list[str] = typer.Argument(..., help="Trained pipelines: folders or package names"),
    output: Path = typer.Argument(..., help="The folder to save their average in"),
    force: bool = FORCE,
) -> None:
    """Average the weights of several trained pipelines.

    They must have begun from one encoder. The result is as fast as one of them; of
    networks with unlike losses it has much of what each is good at. Average pipelines that are not
    calibrated yet; then calibrate the result.
    """
    from spacy_btl.training.average import average

    refuse_to_replace(output, force=force)
    warn_of_idle(average(models, output))
    msg.good(f"Saved the mean of {len(models)} pipelines to {output}")
