"""`python -m spacy btl ensemble`: one pipeline that asks several networks."""

from pathlib import Path

import typer
from wasabi import msg

from spacy_btl.cli._run import FORCE, btl, exits_on_error, refuse_to_replace, warn_of_idle


@btl.command("ensemble")
@exits_on_error
def ensemble_cli(
    models: list[str] = typer.Argument(..., help="Trained pipelines: folders or package names"),
    output: Path = typer.Argument(..., help="The folder to save their ensemble in"),
    force: bool = FORCE,
) -> None:
    """Make one pipeline of several trained ones, which are all asked.

    Its logits are the means of theirs. It takes as long as all of them together, and their encoders
    need not have begun alike. Take pipelines that are not calibrated yet; then calibrate the
    result.
    """
    from spacy_btl.training.ensemble import ensemble

    refuse_to_replace(output, force=force)
    warn_of_idle(ensemble(models, output))
    msg.good(f"Saved an ensemble of {len(models)} pipelines to {output}")
