"""What all commands share: one-line errors and warnings, and the option --force."""

import functools
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import typer

from spacy_btl.about import needs_training
from spacy_btl.errors import BtlError, BtlWarning, FileError

if TYPE_CHECKING:
    from spacy.language import Language

Command = TypeVar("Command", bound=Callable[..., Any])

btl = typer.Typer(
    name="btl",
    help="Clinical NER with Binary Token Labels.",
    no_args_is_help=True,
)
INTERRUPTED = 130  # the exit status after Ctrl-C, as a shell says it
MIN_CONFIDENCE = typer.Option(
    [], help="Leave out entities of less confidence: 0.5, or Type=0.6 for one type; may be repeated"
)
FORCE = typer.Option(False, "--force", "-F", help="Replace the output of an earlier run")


def exits_on_error(command: Command) -> Command:
    """Print a BtlError as one line and exit with status 1; other errors keep their traceback.

    A BtlWarning is printed as one line, without the line of source code that Python adds.
    """

    @functools.wraps(command)
    def run(*args: Any, **kwargs: Any) -> Any:
        with warnings.catch_warnings():
            warnings.showwarning = _show_with(warnings.showwarning)
            try:
                return command(*args, **kwargs)
            except BtlError as err:
                typer.secho(f"✘ {err}", fg="red", err=True)
                raise typer.Exit(1) from None
            except ModuleNotFoundError as err:
                if not (problem := needs_training(err)):
                    raise
                typer.secho(f"✘ {problem}", fg="red", err=True)
                raise typer.Exit(1) from None

    return run  # type: ignore[return-value]


def warn(text: str) -> None:
    """Print a warning on stderr."""
    typer.secho(f"⚠ {text}", fg="yellow", err=True)


def warn_of_confidence(nlp: "Language") -> None:
    """Warn if the confidence of a pipeline is not calibrated."""
    from spacy_btl.training.uncalibrated import uncalibrated

    if reason := uncalibrated(nlp):
        warn(f"Confidence is not calibrated: {reason}")


def warn_of_untrained(models: Iterable[str]) -> None:
    """Warn of pipelines that learned nothing and are combined with others."""
    for model in models:
        warn(
            f"{model} predicted no correct entity when its training evaluated it. It has learned "
            "nothing and makes the result worse. Train it longer, or use its model-last."
        )


def refuse_to_replace(*outputs: Path, force: bool) -> None:
    """Refuse to replace a file or pipeline without --force.

    Other folders are never replaced: see `refuse_foreign_folder`.

    RAISES: FileError, for the first output that exists, unless forced.
    """
    for output in outputs:
        if not force and (output.is_file() or (output / "meta.json").is_file()):
            raise FileError(f"{output} exists: give another name, or --force to replace it.")


def _show_with(default: Callable[..., None]) -> Callable[..., None]:
    """Return what shows a BtlWarning as one line, and other warnings by `default`."""

    def show(message: Any, category: type[Warning], *args: Any, **kwargs: Any) -> None:
        if issubclass(category, BtlWarning):
            warn(str(message))
        else:
            default(message, category, *args, **kwargs)

    return show
