"""Running the unfinished cells of an experiment, with a progress bar."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from multiprocessing import get_context, parent_process
from pathlib import Path
from threading import Thread
from traceback import extract_tb
from typing import Any

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from spacy_btl.errors import BtlError, PipelineError
from spacy_btl.experiments.cells import run_cell, untrained
from spacy_btl.experiments.finished import FinishedCells
from spacy_btl.experiments.networks import drop_network, train_network
from spacy_btl.experiments.plan import Cell, Network
from spacy_btl.training.subprocess import RUNNING


def run_cells(
    cells: Sequence[Cell], finished: FinishedCells, *, workers: int = 1, gpu: int = -1
) -> None:
    """Run the unfinished cells. A failed cell does not stop the others.

    workers (int): Parallel trainings, each with the threads of its cell.
    gpu (int): As for `spacy train`; -1 is the CPU.
    RAISES: BtlError, after all cells have run, if a training or a decoding failed.
    """
    cache = finished.cache
    open_cells = [cell for cell in cells if not finished.is_done(cell)]
    _drop_networks(cells, open_cells, cache)
    columns = [
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left:"),
        TimeRemainingColumn(elapsed_when_finished=True),
    ]
    # Not forked: torch's threads do not survive a fork.
    pool = ProcessPoolExecutor(
        workers, mp_context=get_context("spawn"), initializer=_end_with_parent
    )
    with Progress(*columns, speed_estimate_period=86_400) as progress, pool:
        task = progress.add_task("cells", total=len(cells), completed=len(cells) - len(open_cells))
        try:
            failed = []
            for cell, error in _finished(pool, open_cells, cache, workers, gpu):
                if error is not None:
                    failed.append(error)
                    progress.console.print(f"failed: {cell.name}: {error}", markup=False)
                else:
                    _drop_networks([cell], open_cells, cache)
                    progress.console.print(f"done: {cell.name}", markup=False)
                    progress.advance(task)
            if failed:
                raise failed[0]
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _finished(
    pool: Executor, open_cells: list[Cell], cache: Path, workers: int, gpu: int
) -> Iterator[tuple[Cell, BtlError | None]]:
    """Train the networks that cells need, and run the cells. Removes each finished cell from
    `open_cells` and yields it, with its error if it failed."""
    running: dict[Future[Any], Cell | Network] = {}
    while open_cells or running:
        while len(running) < workers and (job := _next(open_cells, running.values(), cache)):
            running[pool.submit(_run, job, cache, gpu)] = job
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            job, error = running.pop(future), None
            try:
                future.result()
            except BtlError as raised:
                error = raised
            else:
                if isinstance(job, Network):
                    continue
            for cell in [cell for cell in open_cells if job.key in _keys(cell)]:
                open_cells.remove(cell)
                yield cell, error


def _run(job: Cell | Network, cache: Path, gpu: int) -> None:
    """Run a job in a worker process. Other errors are replaced by a PipelineError: some cannot be
    pickled and would break the pool, and their messages may quote a note."""
    run: Callable[..., Any] = run_cell if isinstance(job, Cell) else train_network
    try:
        run(job, cache, gpu=gpu)
    except BtlError:
        raise
    except Exception as error:  # noqa: BLE001 - see above
        place = extract_tb(error.__traceback__)[-1]
        raise PipelineError(
            f"{type(error).__name__} in {place.filename}, line {place.lineno}."
        ) from None


def _next(
    open_cells: Sequence[Cell], running: Iterable[Cell | Network], cache: Path
) -> Cell | Network | None:
    """The next job in the order of the plan: an untrained network, or a cell without any."""
    busy = {job.key for job in running}
    for cell in open_cells:
        missing = untrained(cell, cache)
        jobs: list[Cell | Network] = [*missing] if missing else [cell]
        for job in jobs:
            if job.key not in busy:
                return job
    return None


def _keys(cell: Cell) -> set[str]:
    return {cell.key, *(network.key for network in cell.networks)}


def _drop_networks(cells: Sequence[Cell], open_cells: Sequence[Cell], cache: Path) -> None:
    """Delete the networks of cells that no unfinished cell needs."""
    needed = {key for cell in open_cells for key in _keys(cell)}
    for network in (network for cell in cells for network in cell.networks):
        if network.key not in needed:
            drop_network(network, cache)


def _end_with_parent() -> None:
    """End a worker and its training when the command ends, so that a killed command leaves no
    process running."""
    parent = parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
        for training in RUNNING:
            training.kill()
        os._exit(1)

    Thread(target=watch, daemon=True).start()
