"""The same on a cluster: a DataFrame of notes in, a DataFrame of entities out (Apache Spark).

Spark's Python workers need spacy-btl and the pipeline: a package that is installed there, or a
folder at the same path.
"""

import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from spacy.language import Language

from spacy_btl.annotate.annotate import Options
from spacy_btl.annotate.entities import Annotated, annotate_notes
from spacy_btl.annotate.formats import Stamp, format_of, row_fields, rows
from spacy_btl.annotate.job import Counts
from spacy_btl.annotate.notes import Note, make_note, note_files, notes_of
from spacy_btl.annotate.tables import import_pyarrow
from spacy_btl.errors import AnnotateError, BtlError
from spacy_btl.folders import File
from spacy_btl.pipelines import load_pipeline, model_name

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

SQL_TYPES = {"int64": "bigint", "string": "string", "float64": "double"}
PARTITIONS_PER_CORE = 4  # so that a slow partition does not hold up the end


def annotate_dataframe(
    df: "DataFrame",
    model: str,
    *,
    text_col: str = "text",
    id_col: str = "id",
    with_text: bool = False,
    batch_size: int | None = None,
) -> "DataFrame":
    """Annotate the notes of a DataFrame.

    Each Python worker loads the pipeline once, and uses as many threads as its task has CPUs.

    df (DataFrame): Its ids are strings or whole numbers.
    model (str): A package name, or a folder that is at this path on every executor.
    with_text (bool): Whether rows hold the text of the entity.
    batch_size (Optional[int]): Notes at a time; None is the pipeline's own.
    RETURNS (DataFrame): A row per entity: `note_id`, `start`, `end`, `text` if it is asked for,
        `label`, `confidence`, `model`, `model_version`, `error`. A note that failed has one row,
        with nothing but its id and the reason in `error`: pass over it with `error IS NULL`.
    RAISES: AnnotateError, for a column that is missing or of another type.

    >>> from spacy_btl import annotate_dataframe
    >>> entities = annotate_dataframe(df, "calibrated")  # doctest: +SKIP
    """
    stamp = Stamp("", "", "", _has_integer_ids(df, text_col, id_col), with_text)
    note_id = f"CAST(`{id_col}` AS bigint)" if stamp.integer_ids else f"`{id_col}`"
    columns = (f"{note_id} AS id", f"`{text_col}` AS text", "CAST(NULL AS string) AS missing")
    return _annotate(df.selectExpr(*columns), model, stamp, batch_size)


def _annotate(notes: "DataFrame", model: str, stamp: Stamp, batch_size: int | None) -> "DataFrame":
    """`annotate` of the columns id, text and missing (why there is no text, where it is known)."""
    fields = [(name, SQL_TYPES[kind]) for name, kind in row_fields(stamp)]
    schema = ", ".join(f"`{name}` {kind}" for name, kind in [*fields, ("error", "string")])
    return notes.mapInArrow(
        partial(_annotate_batches, model=model, stamp=stamp, batch_size=batch_size), schema
    )


def annotate_file(
    model: str,
    notes: Path,
    output: Path,
    options: Options,
    spark: "SparkSession",
    *,
    on_loaded: Callable[[Language], None] = lambda nlp: None,
) -> Counts:
    """Annotate the notes of a file or folder by Spark.

    Spark repeats a task that fails, and puts the output of each into place once. A command that is
    cut short begins anew.

    notes (Path): See `note_files`. A file is read by one task, and its notes are shared out.
    output (Path): .parquet or .jsonl, which will be a folder of parts. The notes that failed are
        listed in the folder `OUTPUT.errors.jsonl`.
    options (Options): `part_size` has no meaning here.
    on_loaded (Callable[[Language], None]): Called with the pipeline.
    RAISES: BtlError, for an input or output that does not do, if all notes fail, or, if strict, a
        note that fails.
    """
    errors = output.with_name(f"{output.name}.errors.jsonl")
    for path in (output, errors):
        if path.exists():
            raise AnnotateError(f"{path} exists. Delete it, or give another name.")
    if format_of(output).name not in ("parquet", "jsonl"):
        raise AnnotateError(
            f"{output}: the Spark engine writes rows of entities, in .parquet or .jsonl."
        )
    on_loaded(load_pipeline(model))  # to say so here, if that cannot be done
    df, n_notes, integer_ids = _read(spark, notes, options)
    if df.groupBy("id").count().filter("count > 1").limit(1).count():
        raise AnnotateError(f"An '{options.id_column}' is used twice. Make the ids unique.")
    enough = PARTITIONS_PER_CORE * spark.sparkContext.defaultParallelism
    if df.rdd.getNumPartitions() < enough:
        df = df.repartition(enough)
    stamp = Stamp("", "", "", integer_ids, options.with_text)
    found = _annotate(df, model, stamp, options.batch_size)
    both = output.with_name(f"{output.name}.spark")
    try:
        # The network runs once: entities and errors are both read from what it found.
        found.write.mode("overwrite").parquet(str(both))
        return _divide(spark.read.parquet(str(both)), n_notes, output, errors, options.strict)
    finally:
        shutil.rmtree(both, ignore_errors=True)


def _divide(found: "DataFrame", n_notes: int, output: Path, errors: Path, strict: bool) -> Counts:
    """Write entities and errors to files of their own, and count both."""
    failed = found.filter("error IS NOT NULL").selectExpr("note_id", "error AS reason")
    entities = found.filter("error IS NULL").drop("error")
    labels = {row["label"]: row["count"] for row in entities.groupBy("label").count().collect()}
    counts = Counts(n_notes, failed.count(), Counter(labels))
    if counts.failed == n_notes or (strict and counts.failed):
        reasons = ", ".join(row["reason"] for row in failed.select("reason").distinct().take(5))
        raise AnnotateError(
            f"{counts.failed} of {n_notes} notes cannot be annotated: {reasons}. Nothing is "
            "written."
        )
    failed.coalesce(1).write.json(str(errors))
    writer = entities.write.option("ignoreNullFields", "false")
    (writer.json if format_of(output).name == "jsonl" else writer.parquet)(str(output))
    return counts


def _annotate_batches(
    batches: Iterator[Any], *, model: str, stamp: Stamp, batch_size: int | None
) -> Iterator[Any]:
    """What a task does with its notes: Arrow batches in, Arrow batches out."""
    nlp = _load(model)
    name, version = model_name(nlp)
    stamp = stamp._replace(model=name, version=version)
    for batch in batches:
        notes = [
            Note(row["id"], None, "", row["missing"])
            if row["missing"]
            else make_note(row["id"], row["text"], "")
            for row in batch.to_pylist()
        ]
        found = annotate_notes(nlp, notes, batch_size=batch_size or nlp.batch_size)
        yield _to_arrow(found, stamp)


@lru_cache(maxsize=1)
def _load(model: str) -> Language:
    """The pipeline, once in each Python worker, with the threads that Spark gives a task."""
    from pyspark import TaskContext

    context = TaskContext.get()
    torch.set_num_threads(1 if context is None else context.cpus())
    return load_pipeline(model)


def _to_arrow(found: Annotated, stamp: Stamp) -> Any:
    pyarrow = import_pyarrow()
    fields = [*row_fields(stamp), ("error", "string")]
    schema = pyarrow.schema([(name, pyarrow.type_for_alias(kind)) for name, kind in fields])
    failures = [{"note_id": failure.note_id, "error": failure.reason} for failure in found.failures]
    return pyarrow.RecordBatch.from_pylist([*rows(found, stamp), *failures], schema=schema)


def _has_integer_ids(df: "DataFrame", text_col: str, id_col: str) -> bool:
    kinds = dict(df.dtypes)
    for name in (text_col, id_col):
        if name not in kinds:
            raise AnnotateError(  # not what they have: of a CSV without a header it is a note
                f"The notes have no column '{name}' among their {len(kinds)}. Name it by text_col "
                "and id_col, or --text-column and --id-column; a CSV needs a header."
            )
    integers = kinds[id_col] in ("tinyint", "smallint", "int", "bigint")
    if kinds[text_col] != "string" or not (integers or kinds[id_col] == "string"):
        raise AnnotateError(
            f"Column '{text_col}' holds {kinds[text_col]} and '{id_col}' {kinds[id_col]}: texts "
            "must be strings, and ids strings or whole numbers."
        )
    return integers


def _read(spark: "SparkSession", path: Path, options: Options) -> tuple["DataFrame", int, bool]:
    """The notes of a file or folder, read by the local engine's own readers, so that both engines
    read and refuse the same.

    RETURNS: Columns id, text, missing; how many notes; whether ids are whole numbers.
    """
    files = note_files(path.resolve())
    columns = (options.text_column, options.id_column)
    slices = min(len(files), PARTITIONS_PER_CORE * spark.sparkContext.defaultParallelism)
    shared = spark.sparkContext.parallelize(files, slices)
    kinds: Counter[type] = Counter()
    for problem, counts in shared.map(partial(_survey, columns)).collect():
        if problem:
            raise AnnotateError(problem)
        kinds.update(counts)
    if len(kinds) > 1:
        raise AnnotateError(
            f"{path}: some values of '{options.id_column}' are strings and some whole numbers. "
            "Make them all of one kind."
        )
    if not kinds:
        raise AnnotateError("The input holds no note.")
    integer_ids = int in kinds
    schema = f"id {'bigint' if integer_ids else 'string'}, text string, missing string"
    rows = shared.flatMap(partial(_rows, columns))
    return spark.createDataFrame(rows, schema, verifySchema=False), kinds.total(), integer_ids


def _survey(columns: tuple[str, str], file: File) -> tuple[str, Counter[type]]:
    """What is wrong with a file, in our words: Spark would wrap them in a trace. How many notes
    have ids of which type."""
    try:
        return "", Counter(type(note.id) for note in notes_of(file, *columns))
    except BtlError as error:
        return str(error), Counter()


def _rows(columns: tuple[str, str], file: File) -> Iterator[tuple[str | int, str | None, str]]:
    return ((note.id, note.text, note.missing) for note in notes_of(file, *columns))
