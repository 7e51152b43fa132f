"""`python -m spacy btl calibrate`: add a fitted `knn_calibrator` to a trained pipeline."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from click import ClickException
from spacy.cli._util import parse_config_overrides
from wasabi import msg

from spacy_btl.cli._run import FORCE, btl, exits_on_error, refuse_to_replace, warn

if TYPE_CHECKING:
    from spacy_btl.training.crossfit import CrossFit


CROSSFIT_ONLY = ("config", "folds", "gpu_id")


class FitOnOption(StrEnum):
    """What --fit-on takes."""

    corpus = "corpus"
    crossfit = "crossfit"


@btl.command(
    "calibrate", context_settings={"allow_extra_args": True, "ignore_unknown_options": True}
)
@exits_on_error
def calibrate_cli(
    ctx: typer.Context,
    model: str = typer.Argument(..., help="A trained pipeline: a package name or a folder"),
    corpus: Path = typer.Argument(..., help="The .spacy file to fit on: the training documents"),
    output: Path = typer.Argument(..., help="The folder to save the calibrated pipeline in"),
    ner: str = typer.Option("ner", help="The name of the model's btl_ner pipe"),
    n_neighbors: int = typer.Option(17, min=1, help="The number of neighbours"),
    knn_weight: float = typer.Option(
        0.25, min=0, max=1, help="Share of the neighbours; the rest is the softmax"
    ),
    tau: float = typer.Option(0.15, help="Shift towards rare types; 0 is none"),
    transition_weight: float = typer.Option(
        0.15, min=0, help="Weight of tag transitions in the decision for a whole note"
    ),
    min_confidence: float = typer.Option(
        0.0, min=0, max=1, help="Drop entities, or mentions, of less confidence"
    ),
    held_out: Path | None = typer.Option(
        None, help="A .spacy file of other documents, to fit the calibration maps on"
    ),
    fit_on: FitOnOption = typer.Option(
        "corpus",
        help="The corpus as MODEL reads it, or as networks read it that did not train on it",
    ),
    config: Path | None = typer.Option(None, help="With crossfit: the config of the training"),
    folds: int = typer.Option(3, min=2, help="With crossfit: how many networks to train"),
    gpu_id: int = typer.Option(-1, "--gpu-id", "-g", help="With crossfit: the GPU; -1 is the CPU"),
    force: bool = FORCE,
) -> None:
    """Add a knn_calibrator, fitted on a corpus.

    It goes right behind the btl_ner. The saved pipeline ends with a doc_cleaner that drops the
    logits, and holds no path of this machine. With --held-out or --fit-on crossfit, calibration
    maps are fitted; without either, confidence is not calibrated. Cross-fitting takes overrides of
    the config as spacy train does (--paths.dev dev.spacy), and continues after an interruption.
    The defaults measured best; the paper's are --knn-weight 1 --tau 0 --transition-weight 0.
    """
    from spacy_btl.pipeline.knn_calibrator import find_calibrator
    from spacy_btl.training.calibrate import calibrate, learned_nothing

    settings = {
        "ner": ner,
        "n_neighbors": n_neighbors,
        "knn_weight": knn_weight,
        "tau": tau,
        "transition_weight": transition_weight,
        "min_confidence": min_confidence,
    }
    crossfit = _crossfit(ctx, config, folds, gpu_id) if fit_on == FitOnOption.crossfit else None
    if crossfit is None:
        if ctx.args and not (ctx.args[0].startswith("--") and "." in ctx.args[0]):
            raise typer.BadParameter(f"There is no option or argument {ctx.args[0]}.")
        given = [name for name in CROSSFIT_ONLY if _is_given(ctx, name)]
        unused = [*ctx.args[:1], *(f"--{name.replace('_', '-')}" for name in given)]
        if unused:
            raise typer.BadParameter(f"{unused[0]} goes with --fit-on crossfit only.")
    refuse_to_replace(output, force=force)
    msg.info(f"Fitting a knn_calibrator for {model} on {corpus}")
    if crossfit is not None:
        msg.info(f"Training {folds} networks, each on the documents that it does not read")
    nlp = calibrate(model, corpus, output, settings=settings, held_out=held_out, crossfit=crossfit)
    pipe = find_calibrator(nlp)
    if pipe is not None and learned_nothing(pipe.calibrator.fitted_datastore()):
        warn(
            f"{model} tells the types in {corpus} no better than chance: it has learned nothing. "
            "`spacy train` keeps the network of step 0 as model-best if no later one is better. "
            "Train for longer, or use model-last."
        )
    if held_out is None and crossfit is None:
        warn(
            "Confidence is not calibrated: it is likely to be too high. Give --held-out the "
            ".spacy file of documents that the network did not train on (the dev part), or "
            "--fit-on crossfit."
        )
    msg.good(f"Saved {' > '.join(nlp.pipe_names)} to {output}")


def _is_given(ctx: typer.Context, name: str) -> bool:
    source = ctx.get_parameter_source(name)
    return source is not None and source.name != "DEFAULT"


def _crossfit(ctx: typer.Context, config: Path | None, folds: int, gpu: int) -> "CrossFit":
    from spacy_btl.training.crossfit import CrossFit

    if config is None:
        raise typer.BadParameter("--fit-on crossfit needs the --config of the training.")
    try:
        overrides = parse_config_overrides(ctx.args)
    except ClickException as error:  # of a click that need not be typer's own
        raise typer.BadParameter(error.message) from None
    return CrossFit(config, overrides, folds=folds, gpu=gpu)
