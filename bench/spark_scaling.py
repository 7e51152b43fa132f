"""What a second Spark worker brings: the same notes by one executor and by two, of a core each.

    python -m bench.spark_scaling assets/demo en_btl_clinical COMPILED

Each pipeline has a session of its own. Both sides are measured in turn, after a run that loads the
pipeline on both. A word is a
token that is not white space.
"""

import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyspark
import spacy
import torch
import typer
from pyspark.sql import DataFrame, SparkSession

from spacy_btl import annotate_dataframe
from spacy_btl.files import write_file
from spacy_btl.notes.notes import read_notes

WORKERS = (1, 2)
TASKS = 8  # for each worker: the last one then ends soon after the others


def seconds(df: DataFrame, model: str) -> float:
    """How long it takes to annotate a DataFrame."""
    begin = time.perf_counter()
    annotate_dataframe(df, model).count()
    return time.perf_counter() - begin


def peak_memory(batches: Iterator[Any]) -> Iterator[Any]:
    """The most memory that a Python worker has held, in MB."""
    import resource

    import pyarrow

    list(batches)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    yield pyarrow.RecordBatch.from_pydict({"peak": [peak]})


def main(
    notes: Path = typer.Argument(..., help="Notes to annotate"),
    trained: str = typer.Argument(..., help="A pipeline"),
    compiled: str = typer.Argument(..., help="The same, compiled"),
    repeat: int = typer.Option(2, help="How often each note is taken"),
    rounds: int = typer.Option(5, help="How often each side is measured"),
    output: Path = typer.Option(Path("bench/results/spark_scaling.json")),
) -> None:
    """Measure both and write words per second and their ratio."""
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    texts = [note.text for note in read_notes(notes) if note.text] * repeat
    nlp = spacy.blank("en")
    words = sum(not token.is_space for text in texts for token in nlp(text))
    pipelines = {"trained": trained, "compiled": compiled}
    measured = {name: _measure(model, texts, words, rounds) for name, model in pipelines.items()}
    machine = {
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "spacy": spacy.__version__,
        "pyspark": pyspark.__version__,
    }
    content = {"machine": machine, "words": words, "notes": len(texts), **measured}
    write_file(output, (json.dumps(content, indent=2) + "\n").encode())
    typer.echo(json.dumps(measured, indent=2))


def _measure(model: str, texts: list[str], words: int, rounds: int) -> dict[str, dict[str, float]]:
    """One pipeline: median, minimum and maximum of each figure."""
    spark = SparkSession.builder.master("local-cluster[2,1,2048]").getOrCreate()
    rows = spark.createDataFrame(list(enumerate(texts)), "id int, text string").cache()
    # One partition is one task: it has one executor.
    sides = {1: rows.coalesce(1).cache(), 2: rows.repartition(WORKERS[-1] * TASKS).cache()}
    for side in reversed(sides.values()):
        seconds(side, model)
    taken: dict[int, list[float]] = {workers: [] for workers in WORKERS}
    for _ in range(rounds):
        for workers, side in sides.items():
            taken[workers].append(seconds(side, model))
    peaks = [row["peak"] for row in sides[2].mapInArrow(peak_memory, "peak double").collect()]
    spark.stop()
    speeds = {
        f"words_per_second_{workers}": _row([words / value for value in values])
        for workers, values in taken.items()
    }
    ratios = [one / two for one, two in zip(taken[1], taken[2], strict=True)]
    return {"two_over_one": _row(ratios), **speeds, "worker_memory_mb": _row(peaks)}


def _row(values: list[float]) -> dict[str, float]:
    figures = {"value": statistics.median(values), "low": min(values), "high": max(values)}
    return {name: round(figure, 2) for name, figure in figures.items()}


if __name__ == "__main__":
    typer.run(main)
