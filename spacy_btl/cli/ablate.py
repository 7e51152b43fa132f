"""`python -m spacy btl ablate`: run an experiment, arms x folds x seeds, and sum it up."""

from pathlib import Path

import typer
from wasabi import msg

from spacy_btl.cli import btl
from spacy_btl.cli._run import FORCE, exits_on_error


@btl.command("ablate")
@exits_on_error
def ablate_cli(
    experiment: Path = typer.Argument(..., help="The experiment file (.yml)"),
    output: Path = typer.Option(Path("experiments/results"), help="The folder for the results"),
    cache: Path = typer.Option(Path("experiments/cells"), help="The folder of finished cells"),
    workers: int = typer.Option(1, min=1, help="Cells that are trained at the same time"),
    gpu_id: int = typer.Option(-1, "--gpu-id", "-g", help="The GPU, or -1 for the CPU"),
    summary_only: bool = typer.Option(
        False, help="Train nothing: sum up the cells that are done, without corpora and encoders"
    ),
    force: bool = FORCE,
) -> None:
    """Train and score every arm of an experiment on every fold.

    A cell that is done is kept, and not done again: stop the command when you like, and give it
    again. Cells of several machines are merged by copying their folders into one cache. The counts
    that the results are computed from are kept beside them, in one file.
    """
    from spacy_btl.errors import FileError
    from spacy_btl.experiments.config import read_experiment
    from spacy_btl.experiments.finished import FinishedCells
    from spacy_btl.experiments.plan import plan
    from spacy_btl.experiments.result_files import refuse_other_results, write_results
    from spacy_btl.experiments.results import summarize
    from spacy_btl.experiments.runner import run_cells
    from spacy_btl.gpu import use_gpu
    from spacy_btl.metrics.significance import require_statsmodels

    require_statsmodels()  # not after hours of training
    spec = read_experiment(experiment)
    results = output / experiment.stem
    cells = plan(spec, cache, gpu=gpu_id, documents=not summary_only)
    finished = FinishedCells(cache, results)
    if not summary_only:
        if not force:
            refuse_other_results(results, finished.names(cells, planned=True), cells)
        use_gpu(gpu_id)
        run_cells(cells, finished, workers=workers, gpu=gpu_id)
    summary = summarize(spec, cells, finished)
    if not summary["results"]:
        raise FileError(
            f"No cell of {experiment} is done, in {cache} or {finished.archive}. What makes a cell "
            "are its config, its documents, the files of its encoder, and the precision and the "
            "threads of its training."
        )
    if not force:
        refuse_other_results(results, summary["counts"], cells)
    if summary["missing"]:
        msg.warn(f"{len(summary['missing'])} of {len(cells)} cells are not done")
    files = [*write_results(summary, results), *finished.write_archive(cells)]
    msg.good(f"Wrote {', '.join(map(str, files))}")
