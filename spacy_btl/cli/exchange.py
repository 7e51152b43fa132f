"""`python -m spacy btl card`, `export-hf` and `import-hf`: share a pipeline."""

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


@btl.command("export-hf")
@exits_on_error
def export_hf_cli(
    model: str = typer.Argument(..., help="A pipeline: a package name or a folder"),
    output: Path = typer.Argument(..., help="A new folder for the checkpoint"),
) -> None:
    """Save a pipeline as a Hugging Face token classifier.

    The checkpoint has the encoder and the head and decides by argmax, without the calibrator.
    """
    from spacy_btl.exchange.huggingface import export_hf

    export_hf(model, output)
    msg.good(f"Saved to {output}: transformers.pipeline('token-classification', '{output}')")


@btl.command("import-hf")
@exits_on_error
def import_hf_cli(
    checkpoint: Path = typer.Argument(
        ..., help="The folder of a token classifier with its tokenizer"
    ),
    output: Path = typer.Argument(..., help="The folder to save the pipeline in"),
    lang: str = typer.Option("en", help="The language of the spaCy tokeniser"),
    window: int = typer.Option(256, min=8, help="Wordpieces per window"),
    overlap: int = typer.Option(64, min=0, help="Wordpieces that adjacent windows share"),
    force: bool = FORCE,
) -> None:
    """Turn a Hugging Face token classifier into a pipeline.

    To add confidence, fit a calibrator with `python -m spacy btl calibrate`.
    """
    from spacy_btl.exchange.huggingface import import_hf

    refuse_to_replace(output, force=force)
    nlp = import_hf(checkpoint, output, lang=lang, window=window, overlap=overlap)
    msg.good(f"Saved to {output}: {len(nlp.pipe_labels['ner'])} entity types")
