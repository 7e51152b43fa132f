"""What every command shares: errors and warnings of ours are one line each on stderr."""

import functools
import warnings
from collections.abc import Callable
from typing import Any, TypeVar

import typer

from spacy_btl.errors import BtlError, BtlWarning

Command = TypeVar("Command", bound=Callable[..., Any])


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


def _shown_by(others: Callable[..., None]) -> Callable[..., None]:
    """What shows a warning: ours as a line, others as before."""

    def show(message: Any, category: type[Warning], *args: Any, **kwargs: Any) -> None:
        if issubclass(category, BtlWarning):
            warn(str(message))
        else:
            others(message, category, *args, **kwargs)

    return show
