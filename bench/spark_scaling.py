"""What a second Spark worker brings: the same notes by one executor and by two, of a core each.

    python -m bench.spark_scaling en_btl_clinical assets/demo

Both are measured in turn in one session, after a run that loads the pipeline on both. A word is a
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
from spacy_btl.annotate.notes import read_notes
from spacy_btl.files import write_file

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
    model: str,
    notes: Path,
    repeat: int = typer.Option(2, help="How often each note is taken"),
    rounds: int = typer.Option(5, help="How often each side is measured"),
    output: Path = typer.Option(Path("bench/results/spark_scaling.json")),
) -> None:
    """Measure both and write words per second and their ratio."""
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    spark = SparkSession.builder.master("local-cluster[2,1,2048]").getOrCreate()
    texts = [note.text for note in read_notes(notes) if note.text] * repeat
    nlp = spacy.blank("en")
    words = sum(not token.is_space for text in texts for token in nlp(text))
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
    ratios = [one / two for one, two in zip(taken[1], taken[2], strict=True)]
    results: list[dict[str, Any]] = [_row("spark_two_over_one", ratios)]
    for workers, values in taken.items():
        speeds = [words / value for value in values]
        results.append(_row(f"words_per_second_{workers}", speeds))
    results.append(_row("worker_memory_mb", peaks))
    machine = {
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "spacy": spacy.__version__,
        "pyspark": pyspark.__version__,
    }
    content = {"machine": machine, "words": words, "notes": len(texts), "results": results}
    write_file(output, (json.dumps(content, indent=2) + "\n").encode())
    for row in results:
        typer.echo(f"{row['name']}: {row['value']} ({row['low']} to {row['high']})")


def _row(name: str, values: list[float]) -> dict[str, Any]:
    figures = (statistics.median(values), min(values), max(values))
    value, low, high = (round(figure, 2) for figure in figures)
    return {"name": name, "value": value, "low": low, "high": high}


if __name__ == "__main__":
    typer.run(main)
