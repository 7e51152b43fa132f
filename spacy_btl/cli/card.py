"""`python -m spacy btl card`: complete `meta.json`, and write the model card."""

from pathlib import Path

import typer
from wasabi import msg

from spacy_btl.cli._run import FORCE, btl, exits_on_error, refuse_to_replace


@btl.command("card")
@exits_on_error
def card_cli(
    model: str = typer.Argument(..., help="A pipeline: a package name or a folder"),
    metrics: Path = typer.Argument(..., help="The metrics.json of its evaluation"),
    card: Path = typer.Argument(..., help="A YAML file of what cannot be computed"),
    output: Path = typer.Argument(..., help="The folder to save the pipeline in"),
    name: str | None = typer.Option(None, help="What the package is to be called"),
    version: str | None = typer.Option(None, help="The version of the package"),
    force: bool = FORCE,
) -> None:
    """Write a pipeline's model card, for spacy package.

    The pipeline is saved with a complete meta.json and a README.md, whose figures are those of the
    evaluation. docs/models.md says what the YAML file holds.
    """
    from spacy_btl.exchange.card import README, write_card
    from spacy_btl.pipelines import model_name

    refuse_to_replace(output, force=force)
    nlp = write_card(model, metrics, card, output, name=name, version=version)
    msg.good(f"Saved {' '.join(model_name(nlp))} to {output}, its card in {output / README}")
