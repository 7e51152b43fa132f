"""`python -m spacy btl compile`: a trained pipeline for prediction alone."""

from enum import StrEnum
from pathlib import Path

import typer
from wasabi import msg

from spacy_btl.cli._run import FORCE, btl, exits_on_error, refuse_to_replace


class PrecisionOption(StrEnum):
    """What --precision takes."""

    int8 = "int8"
    int8_weights = "int8-weights"
    bf16 = "bf16"
    fp32 = "fp32"


@btl.command("compile")
@exits_on_error
def compile_cli(
    model: str = typer.Argument(..., help="A trained pipeline: a package name or a folder"),
    output: Path = typer.Argument(..., help="The folder to save the compiled pipeline in"),
    precision: PrecisionOption = typer.Option("int8-weights", help="What the encoder computes in"),
    calibration: Path | None = typer.Option(
        None, help="A .spacy file: the notes that int8 needs, and documents to fit the maps on"
    ),
    force: bool = FORCE,
) -> None:
    """Run the encoder of a pipeline on OpenVINO.

    The result predicts faster, loads without torch and transformers, and cannot be trained. The
    calibration maps are fitted anew if documents of --calibration are held out: neither network nor
    calibrator had them (the dev part).
    """
    from spacy_btl.compiled.compile import compile_pipeline

    refuse_to_replace(output, force=force)
    made = compile_pipeline(model, output, precision=precision.value, calibration=calibration)
    for remark in made.remarks():
        msg.info(remark)
    msg.good(f"Saved to {output}")
