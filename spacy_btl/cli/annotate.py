"""`python -m spacy btl annotate`: write the entities of many notes to a file."""

import os
import sys
from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich import progress as bars
from rich.console import Console
from rich.table import Table
from rich.text import Text
from wasabi import msg

from spacy_btl.cli._run import btl, exits_on_error, warn_of_confidence
from spacy_btl.errors import counted

if TYPE_CHECKING:
    from spacy.language import Language

    from spacy_btl.annotate.annotate import Options
    from spacy_btl.annotate.job import Counts


OnLoaded = Callable[["Language"], None]


class Engine(StrEnum):
    """The values of --engine."""

    local = "local"
    spark = "spark"


@btl.command("annotate")
@exits_on_error
def annotate_cli(
    model: str = typer.Argument(..., help="A pipeline: a package name or a folder"),
    notes: Path = typer.Argument(
        ..., help="The notes: .parquet, .csv or .jsonl, or a folder of such or of .txt files"
    ),
    output: Path = typer.Argument(
        ...,
        help="OUT.parquet or OUT.jsonl for a row per entity, note_nlp.parquet or note_nlp.csv for "
        "the OMOP table, a name without suffix for a folder of brat files. Pre-annotations: "
        "label_studio.json, prodigy.jsonl, doccano.jsonl, and for INCEpTION NOTES.xmi or cas.json, "
        "which are folders. Each of these may have more before it: ward-a.prodigy.jsonl",
    ),
    text_column: str = typer.Option("text", help="The column, or key, of the text"),
    id_column: str = typer.Option("id", help="The column, or key, of the note's id"),
    only: Path | None = typer.Option(
        None, help="Only the notes that this ranking of `suggest`, or table of ids, names"
    ),
    with_text: bool = typer.Option(False, help="Also write the text of the entities"),
    batch_size: int | None = typer.Option(None, min=1, help="Notes per batch, if not the model's"),
    part_size: int = typer.Option(
        1000, min=1, help="Notes per part: a kill loses one part at most"
    ),
    strict: bool = typer.Option(False, help="Stop at the first note that fails"),
    from_name: str = typer.Option("label", help="Label Studio: the name of the Labels"),
    to_name: str = typer.Option("text", help="Label Studio: the name of the Text"),
    layer: str = typer.Option(
        "NamedEntity:value", help="INCEpTION: LAYER:FEATURE that is to hold the type"
    ),
    gpu_id: int = typer.Option(-1, "--gpu-id", "-g", help="The GPU, or -1 for the CPU"),
    engine: Engine = typer.Option("local", help="This process, or Apache Spark"),
) -> None:
    """Write the entities of many notes to a file.

    They are those of doc.ents. With the spans_key of btl_ner they are all its mentions, overlapping
    or not. Rerun the same command to resume after an interruption. Failed notes are listed by id in
    OUTPUT.errors.jsonl and do not stop the run. A folder is read with its sub-folders. It is
    refused if it holds a file of another kind that may be a note. Nothing is overwritten.
    """
    from spacy_btl.annotate.annotate import Options
    from spacy_btl.annotate.entities import spans_keys

    columns = (text_column, id_column, with_text, batch_size, part_size, strict, only)
    options = Options(*columns, from_name, to_name, layer)
    annotate = _on_spark if engine == Engine.spark else _here
    keys: list[str] = []  # of the pipeline

    def on_loaded(nlp: "Language") -> None:
        keys.extend(spans_keys(nlp))
        warn_of_confidence(nlp)

    counts = annotate(model, notes, output, options, gpu_id, on_loaded)
    _print(counts, keys)
    if counts.unlike:
        msg.warn(f"{counts.unlike} `btl check` says more.")
    if counts.failed:
        msg.warn(f"Failed notes and reasons: {output}.errors.jsonl")
    msg.good(f"Wrote {output}")


def _here(
    model: str, notes: Path, output: Path, options: "Options", gpu: int, on_loaded: OnLoaded
) -> "Counts":
    from spacy_btl.annotate.annotate import annotate_file
    from spacy_btl.gpu import use_gpu

    use_gpu(gpu)
    columns = (
        bars.TextColumn("{task.description}"),
        bars.BarColumn(),
        bars.MofNCompleteColumn(),
        _Speed(),
        bars.TextColumn("left:"),
        bars.TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    with bars.Progress(
        *columns, console=console, speed_estimate_period=600, transient=True
    ) as progress:
        task = progress.add_task("reading", total=None)

        def on_progress(done: int, total: int) -> None:
            progress.update(task, description="notes", completed=done, total=total)

        return annotate_file(
            model, notes, output, options, on_progress=on_progress, on_loaded=on_loaded
        )


def _on_spark(
    model: str, notes: Path, output: Path, options: "Options", gpu: int, on_loaded: OnLoaded
) -> "Counts":
    from spacy_btl.about import how_to_install
    from spacy_btl.errors import AnnotateError

    try:
        from pyspark.sql import SparkSession
    except ImportError:
        raise AnnotateError(
            f"Spark is not installed: install it {how_to_install('spark')}, and Java 17 or later."
        ) from None
    from spacy_btl.annotate.spark import annotate_file

    if gpu >= 0:
        raise AnnotateError("The Spark engine runs on CPUs only. Leave --gpu-id out.")
    if options.only is not None:
        raise AnnotateError("The Spark engine annotates all notes. Leave --only out.")
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)  # Spark would use another Python
    spark = SparkSession.builder.appName("spacy-btl").getOrCreate()
    try:
        return annotate_file(model, notes, output, options, spark, on_loaded=on_loaded)
    finally:
        spark.stop()


class _Speed(bars.ProgressColumn):
    """Notes per second in this run."""

    def render(self, task: bars.Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:.1f} notes/s")


def _print(counts: "Counts", keys: Sequence[str]) -> None:
    noun = "mention" if keys else "entity"
    total = counted(counts.entities.total(), noun)
    table = Table("type", "mentions" if keys else "entities", box=None)
    table.columns[1].justify = "right"
    for label, number in counts.entities.most_common():
        table.add_row(label, f"{number:,}")
    console = Console(markup=False, highlight=False)
    console.print(table)
    done = counts.notes - counts.failed
    groups = " and ".join(f"doc.spans[{key!r}]" for key in keys)
    source = f"all of {groups}, overlapping or not" if keys else "those of doc.ents"
    console.print(
        f"\n{counted(counts.notes, 'note')}, {done:,} annotated, {counts.failed:,} failed, "
        f"{total}: {source}\n"
    )
