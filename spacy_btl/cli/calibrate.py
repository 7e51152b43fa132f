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
# What goes with --maps-only, which keeps all settings.
WITH_MAPS_ONLY = {
    "model",
    "corpus",
    "output",
    "maps_only",
    "unannotated",
    "text_column",
    "id_column",
    "force",
}
UNANNOTATED_ONLY = ("text_column", "id_column")


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
    corpus: Path = typer.Argument(
        ...,
        help="The .spacy file to fit on: the training documents; with --maps-only, a few annotated "
        "notes of another source",
    ),
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
    maps_only: bool = typer.Option(
        False, help="Fit only the maps again, near those that MODEL has"
    ),
    unannotated: bool = typer.Option(
        False, help="With --maps-only: correct the prior alone; CORPUS is what `annotate` reads"
    ),
    text_column: str = typer.Option("text", help="Unannotated: the column, or key, of the text"),
    id_column: str = typer.Option("id", help="Unannotated: the column, or key, of the id"),
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
    --maps-only is for a pipeline that has maps, and notes of another source: 5 to 10 annotated ones
    are enough. Network, datastore and settings stay. With --unannotated it is rough, and can make
    confidence worse.
    """
    _check_unannotated(ctx, maps_only=maps_only, unannotated=unannotated)
    if maps_only:
        _check_maps_only(ctx)
        refuse_to_replace(output, force=force)
        _fit_maps_only(model, corpus, output, (text_column, id_column) if unannotated else None)
        return
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


def _check_maps_only(ctx: typer.Context) -> None:
    others = sorted(
        name for name in ctx.params if name not in WITH_MAPS_ONLY and _is_given(ctx, name)
    )
    unknown = [*ctx.args[:1], *(f"--{name.replace('_', '-')}" for name in others)]
    if unknown:
        raise typer.BadParameter(
            f"{unknown[0]} does not go with --maps-only, which keeps the settings."
        )


def _check_unannotated(ctx: typer.Context, *, maps_only: bool, unannotated: bool) -> None:
    given = [name for name in ("unannotated", *UNANNOTATED_ONLY) if _is_given(ctx, name)]
    if given and not (maps_only and unannotated):
        raise typer.BadParameter(
            f"--{given[0].replace('_', '-')} goes with --maps-only --unannotated only."
        )


def _fit_maps_only(model: str, notes: Path, output: Path, columns: tuple[str, str] | None) -> None:
    """columns (Optional[Tuple[str, str]]): Of the text and the id, of notes without annotation."""
    from spacy_btl.shift.recalibrate import recalibrate, recalibrate_unannotated

    if columns is None:
        recalibrate(model, notes, output)
    else:
        text, note_id = columns
        shift = recalibrate_unannotated(model, notes, output, text_column=text, id_column=note_id)
        warn(
            f"The log odds of all mentions changed by {shift:+.2f}, by an estimate that no "
            "annotation confirms. A few annotated notes are better."
        )
    msg.good(f"Saved {output}")


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
