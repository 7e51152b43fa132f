"""`python -m spacy btl card`: write the model card and complete `meta.json`."""

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
    name: str | None = typer.Option(None, help="The name of the package"),
    version: str | None = typer.Option(None, help="The version of the package"),
    force: bool = FORCE,
) -> None:
    """Write a pipeline's model card, for spacy package.

    The pipeline is saved with a complete meta.json and a README.md that has the figures of the
    evaluation. docs/models.md describes the YAML file.
    """
    from spacy_btl.exchange.card import README, write_card
    from spacy_btl.pipelines import model_name

    refuse_to_replace(output, force=force)
    nlp = write_card(model, metrics, card, output, name=name, version=version)
    msg.good(f"Saved {' '.join(model_name(nlp))} to {output}, its card in {output / README}")
