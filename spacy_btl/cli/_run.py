"""What every command shares: errors of ours are one line on stderr and exit status 1."""

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import typer

from spacy_btl.errors import BtlError

Command = TypeVar("Command", bound=Callable[..., Any])


def exits_on_error(command: Command) -> Command:
    """Print a BtlError as one line and exit with status 1; anything else stays a traceback."""

    @functools.wraps(command)
    def run(*args: Any, **kwargs: Any) -> Any:
        try:
            return command(*args, **kwargs)
        except BtlError as err:
            typer.secho(f"✘ {err}", fg="red", err=True)
            raise typer.Exit(1) from None

    return run  # type: ignore[return-value]
