"""`python -m spacy btl ablate`: run an experiment and summarize it."""

from pathlib import Path

import typer
from wasabi import msg

from spacy_btl.cli._run import FORCE, btl, exits_on_error


@btl.command("ablate")
@exits_on_error
def ablate_cli(
    experiment: Path = typer.Argument(..., help="The experiment file (.yml)"),
    output: Path = typer.Option(Path("experiments/results"), help="The folder for the results"),
    cache: Path = typer.Option(Path("experiments/cells"), help="The folder of the cells"),
    workers: int = typer.Option(1, min=1, help="Parallel trainings"),
    gpu_id: int = typer.Option(-1, "--gpu-id", "-g", help="The GPU, or -1 for the CPU"),
    summary_only: bool = typer.Option(
        False, help="Only summarize finished cells; needs no corpora and no encoders"
    ),
    force: bool = FORCE,
) -> None:
    """Train and score every arm of an experiment on every fold.

    Rerun the same command to resume: finished cells are kept. To merge the cells of several
    machines, copy their folders into one cache. The counts that the results are computed from are
    written beside them.
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

    require_statsmodels()  # before hours of training
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
            f"No cell of {experiment} is finished, in {cache} or {finished.archive}. A cell is "
            "identified by its config, its documents, the files of its encoder, and the precision "
            "and threads of its training."
        )
    if not force:
        refuse_other_results(results, summary["counts"], cells)
    if summary["missing"]:
        msg.warn(f"{len(summary['missing'])} of {len(cells)} cells are not finished:")
        for name in summary["missing"]:
            msg.text(f"  {name}")
    files = write_results(summary, finished.to_archive(cells), results)
    msg.good(f"Wrote {', '.join(map(str, files))}")
