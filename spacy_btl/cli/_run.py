"""What every command shares: errors and warnings of ours are one line each on stderr, and nothing
is replaced unless --force asks for it."""

import functools
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import typer

from spacy_btl.errors import BtlError, BtlWarning, FileError

Command = TypeVar("Command", bound=Callable[..., Any])

btl = typer.Typer(
    name="btl",
    help="Clinical NER with Binary Token Labels.",
    no_args_is_help=True,
)
FORCE = typer.Option(False, "--force", "-F", help="Replace the output of an earlier run")


def exits_on_error(command: Command) -> Command:
    """Print a BtlError as one line and exit with status 1; anything else stays a traceback. Print a
    BtlWarning as one line, without the line of source that Python names."""

    @functools.wraps(command)
    def run(*args: Any, **kwargs: Any) -> Any:
        with warnings.catch_warnings():
            warnings.showwarning = _shown_by(warnings.showwarning)
            try:
                return command(*args, **kwargs)
            except BtlError as err:
                typer.secho(f"✘ {err}", fg="red", err=True)
                raise typer.Exit(1) from None

    return run  # type: ignore[return-value]


def warn(text: str) -> None:
    """Print a warning."""
    typer.secho(f"⚠ {text}", fg="yellow", err=True)


def warn_of_idle(models: Iterable[str]) -> None:
    """Warn of networks that learned nothing and are put together with others."""
    for model in models:
        warn(
            f"{model} found no right entity when its training evaluated it: it has learned nothing "
            "and spoils the result. Train it for longer, or take its model-last."
        )


def refuse_to_replace(*outputs: Path, force: bool) -> None:
    """Keep files and pipelines that are there. Other folders are kept anyway: see
    `refuse_foreign_folder`.

    RAISES: FileError, for the first that exists, unless forced.
    """
    for output in outputs:
        if not force and (output.is_file() or (output / "meta.json").is_file()):
            raise FileError(f"{output} exists: give another name, or --force to replace it.")


def _shown_by(others: Callable[..., None]) -> Callable[..., None]:
    """What shows a warning: ours as a line, others as before."""

    def show(message: Any, category: type[Warning], *args: Any, **kwargs: Any) -> None:
        if issubclass(category, BtlWarning):
            warn(str(message))
        else:
            others(message, category, *args, **kwargs)

    return show
