"""Running the cells of an experiment that are not done yet, with progress and time left."""

import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context, parent_process
from pathlib import Path
from threading import Thread

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from spacy_btl.errors import BtlError
from spacy_btl.evaluation.cells import is_done, run_cell
from spacy_btl.evaluation.experiment import Cell
from spacy_btl.pipeline.training import RUNNING


def run_cells(cells: Sequence[Cell], cache: Path, *, workers: int = 1, gpu: int = -1) -> None:
    """Run the cells that are not done. One that fails costs no other.

    workers (int): Cells at a time. They share the CPU's cores among them.
    gpu (int): As for `spacy train`; -1 is the CPU.
    RAISES: BtlError, at the end, where a training or a decoding failed.
    """
    open_cells = [cell for cell in cells if not is_done(cell, cache)]
    threads = max(1, (os.cpu_count() or 1) // workers)
    columns = [
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left:"),
        TimeRemainingColumn(elapsed_when_finished=True),
    ]
    # Not forked: torch's threads do not survive it.
    pool = ProcessPoolExecutor(
        workers, mp_context=get_context("spawn"), initializer=_end_with_parent
    )
    with Progress(*columns, speed_estimate_period=86_400) as progress, pool:
        task = progress.add_task("cells", total=len(cells), completed=len(cells) - len(open_cells))
        jobs = {
            pool.submit(run_cell, cell, cache, gpu=gpu, threads=threads): cell
            for cell in open_cells
        }
        try:
            failed = []
            for job in as_completed(jobs):
                try:
                    job.result()
                except BtlError as error:
                    failed.append(error)
                    progress.console.print(f"failed: {jobs[job].name}: {error}", markup=False)
                else:
                    progress.console.print(f"done: {jobs[job].name}")
                    progress.advance(task)
            if failed:
                raise failed[0]
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _end_with_parent() -> None:
    """Let a worker end as soon as the command does, and its training too: a killed command would
    leave both running beside the next one's."""
    parent = parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
        for training in RUNNING:
            training.kill()
        os._exit(1)

    Thread(target=watch, daemon=True).start()
