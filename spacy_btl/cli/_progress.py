"""How far a command is: a bar on a terminal, a line a minute in a log."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

MINUTE = 60.0  # seconds between two lines of a log

# Called with how many are done, of how many if that is known, and what else to say.
Update = Callable[[float, float | None, str], None]


@contextmanager
def shown(what: str, console: Console | None = None) -> Iterator[Update]:
    """Show how far a command is, on stderr.

    what (str): What is counted: "notes".
    """
    console = Console(stderr=True) if console is None else console
    if not console.is_terminal:
        yield _Log(what, console)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rest]}"),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(what, total=None, rest="")

        def update(done: float, total: float | None, rest: str) -> None:
            progress.update(task, completed=done, total=total, rest=rest)

        yield update


class _Log:
    """Prints a line a minute."""

    def __init__(self, what: str, console: Console) -> None:
        self.what, self.console = what, console
        self._next = time.monotonic() + MINUTE

    def __call__(self, done: float, total: float | None, rest: str) -> None:
        now = time.monotonic()
        if now >= self._next:
            self._next = now + MINUTE
            found = f"{done:,}" if total is None else f"{done:,} of {total:,}"
            line = ", ".join(filter(None, (f"{found} {self.what}", rest)))
            self.console.print(line, markup=False, highlight=False, soft_wrap=True)
