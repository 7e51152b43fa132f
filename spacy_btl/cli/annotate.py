"""`python -m spacy btl annotate`: write the entities of many notes to a file."""

import os
import sys
from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.table import Table
from wasabi import msg

from spacy_btl.cli._progress import shown
from spacy_btl.cli._run import (
    INTERRUPTED,
    MIN_CONFIDENCE,
    btl,
    exits_on_error,
    warn,
    warn_of_confidence,
)
from spacy_btl.errors import counted, in_words

if TYPE_CHECKING:
    from spacy.language import Language

    from spacy_btl.annotate.annotate import Options
    from spacy_btl.annotate.job import Counts
    from spacy_btl.annotate.progress import Progress


OnLoaded = Callable[["Language"], None]
SOME_FAILED = 3  # the exit status


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
        "the OMOP table, fhir.json (a Bundle) or NAME.fhir (a folder of .ndjson) for FHIR, a name "
        "without suffix for a folder of brat files. Pre-annotations: "
        "label_studio.json, prodigy.jsonl, doccano.jsonl, and for INCEpTION NOTES.xmi or cas.json, "
        "which are folders. Each of these may have more before it: ward-a.prodigy.jsonl",
    ),
    text_column: str = typer.Option("text", help="The column, or key, of the text"),
    id_column: str = typer.Option("id", help="The column, or key, of the note's id"),
    only: Path | None = typer.Option(
        None, help="Only the notes that this ranking of `suggest`, or table of ids, names"
    ),
    code: Path | None = typer.Option(
        None, "--code", "-c", help="A Python file that registers pipes of other packages"
    ),
    min_confidence: list[str] = MIN_CONFIDENCE,
    with_text: bool = typer.Option(False, help="Also write the text of the entities"),
    batch_size: int | None = typer.Option(None, min=1, help="Notes per batch, if not the model's"),
    part_size: int = typer.Option(
        1000, min=1, help="Notes per part: a kill loses one part at most"
    ),
    strict: bool = typer.Option(False, help="Stop at the first note that fails"),
    from_name: str = typer.Option("label", help="Label Studio: the name of the Labels"),
    to_name: str = typer.Option("text", help="Label Studio: the name of the Text"),
    choices_name: str | None = typer.Option(
        None, help="Label Studio: the name of the Choices per region that are to hold assertions"
    ),
    layer: str = typer.Option(
        "NamedEntity:value", help="INCEpTION: LAYER:FEATURE that is to hold the type"
    ),
    assertion_features: bool = typer.Option(
        False, help="INCEpTION: also write assertions, as features of the layer"
    ),
    fhir: Path | None = typer.Option(
        None, help="FHIR: the YAML file that says which type is which resource"
    ),
    patients: Path | None = typer.Option(
        None, help="FHIR: a CSV file with the columns note_id and patient_id"
    ),
    concepts: Path | None = typer.Option(
        None, help="OMOP: a CSV file with the columns concept_id, and label or text or both"
    ),
    section_concepts: Path | None = typer.Option(
        None, help="OMOP: the same, of headings: a CSV file with the columns concept_id and text"
    ),
    one_file: bool = typer.Option(False, help="Parquet: one file, and not a folder of parts"),
    gpu_id: int = typer.Option(-1, "--gpu-id", "-g", help="The GPU, or -1 for the CPU"),
    engine: Engine = typer.Option("local", help="This process, or Apache Spark"),
) -> None:
    """Write the entities of many notes to a file.

    They are those of doc.ents. With the spans_key of btl_ner they are all its mentions, overlapping
    or not. Rerun the same command to resume after an interruption. Failed notes are listed by id in
    OUTPUT.errors.jsonl and do not stop the run; the exit status is then 3. A folder is read with
    its sub-folders. It is refused if it holds a file of another kind that may be a note. Nothing is
    overwritten.
    """
    from spacy_btl.annotate.annotate import Options
    from spacy_btl.annotate.processor import processor
    from spacy_btl.guarantee.promises import read_promises
    from spacy_btl.notes.entities import spans_keys
    from spacy_btl.pipeline.thresholds import read_thresholds

    thresholds = read_thresholds(min_confidence)
    columns = (text_column, id_column, with_text, batch_size, part_size, strict, only)
    of_tools = (from_name, to_name, layer, choices_name)
    tables = (fhir, patients, concepts, section_concepts)
    flags = (one_file, assertion_features)
    options = Options(*columns, thresholds, code, *of_tools, *tables, *flags)
    annotate = _on_spark if engine == Engine.spark else _here
    loaded: list[Language] = []

    def on_loaded(nlp: "Language") -> None:
        loaded.append(nlp)
        warn_of_confidence(nlp)

    counts = annotate(model, notes, output, options, gpu_id, on_loaded)
    (nlp,) = loaded
    promises = list(map(str, read_promises(nlp)))
    _print(counts, spans_keys(nlp), promises if thresholds is None else [])
    if promises and thresholds is not None:
        warn("What is promised of this pipeline holds without --min-confidence only.")
    if counts.unlike:
        warn(f"{counts.unlike} `btl check` says more.")
    if counts.unsure:
        share = f"{counts.unsure:,} of {counts.entities.total():,}"
        msg.info(f"Confidence below 0.5: {share}. --min-confidence 0.5 leaves them out.")
    if counts.left_out:
        found = [f"{number:,} {reason}" for reason, number in counts.left_out.most_common()]
        warn(f"Left out of the output: {', '.join(found)}")
    if counts.words and counts.seconds:
        speed = f"{counts.words / counts.seconds:,.0f} words/s"
        took = f"{in_words(counts.seconds)}: {speed}" if counts.seconds >= 1 else "under a second"
        msg.info(f"{counts.words:,} words in {took} ({processor(nlp)})")
    if counts.failed:
        warn(f"Failed notes and reasons: {output}.errors.jsonl")
    msg.good(f"Wrote {output}")
    if counts.failed:
        raise typer.Exit(SOME_FAILED)


def _here(
    model: str, notes: Path, output: Path, options: "Options", gpu: int, on_loaded: OnLoaded
) -> "Counts":
    from spacy_btl.annotate.annotate import annotate_file
    from spacy_btl.gpu import use_gpu

    use_gpu(gpu)
    last: list[Progress] = []
    with shown("notes") as show:

        def on_progress(progress: "Progress") -> None:
            last[:] = [progress]
            show(progress.notes, progress.of_notes, _rest(progress))

        try:
            return annotate_file(
                model, notes, output, options, on_progress=on_progress, on_loaded=on_loaded
            )
        except KeyboardInterrupt:
            done = [one for one in last if one.of_notes is not None]
            found = f" at {done[0].notes:,} of {done[0].of_notes:,} notes" if done else ""
            warn(
                f"Stopped{found}. The same command goes on: finished parts, of up to "
                f"{counted(options.part_size, 'note')} each, are kept."
            )
            raise typer.Exit(INTERRUPTED) from None


def _rest(progress: "Progress") -> str:
    """The speed, and the time left."""
    if progress.of_notes is None:
        return "read"
    if progress.words_per_second is None or progress.seconds_left is None:
        return ""
    left = in_words(progress.seconds_left)
    return f"{progress.words_per_second:,.0f} words/s, left: {left}"


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


def _print(counts: "Counts", keys: Sequence[str], promises: Sequence[str]) -> None:
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
    for promise in promises:
        console.print(f"Promised, for notes like those that it rests on: {promise}.\n")
