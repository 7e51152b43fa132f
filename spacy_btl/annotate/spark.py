"""Annotate notes on a cluster, with Apache Spark: a DataFrame of notes to one of entities.

Spark's Python workers need spacy-btl and the pipeline, as an installed package or as a folder at
the same path.
"""

import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spacy.language import Language
from thinc.compat import has_torch, torch

from spacy_btl.annotate.annotate import Options, check_settings
from spacy_btl.annotate.job import MOST, Counts
from spacy_btl.errors import AnnotateError, BtlError, counted
from spacy_btl.folders import File
from spacy_btl.notes.entities import Annotated, annotate_notes
from spacy_btl.notes.loading import Source, open_pipeline
from spacy_btl.notes.notes import Note, make_note, no_notes, note_files, notes_of
from spacy_btl.notes.tables import import_pyarrow
from spacy_btl.outputs.columns import columns_of
from spacy_btl.outputs.formats import format_of, row_fields, rows
from spacy_btl.outputs.stamp import Stamp
from spacy_btl.pipeline.thresholds import Thresholds
from spacy_btl.pipeline.unlike import unlike_source
from spacy_btl.pipelines import model_name

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

SQL_TYPES = {"int64": "bigint", "string": "string", "float64": "double", "bool": "boolean"}
PARTITIONS_PER_CORE = 4  # so that the end does not wait for one slow partition


def annotate_dataframe(
    df: "DataFrame",
    model: str,
    *,
    text_col: str = "text",
    id_col: str = "id",
    with_text: bool = False,
    batch_size: int | None = None,
    code: Path | None = None,
    thresholds: Thresholds | None = None,
) -> "DataFrame":
    """Annotate the notes of a DataFrame.

    Each Python worker loads the pipeline once, and uses as many threads as its task has CPUs. The
    driver loads it too, for the columns.

    df (DataFrame): Its ids must be strings or whole numbers.
    model (str): A package name, or a folder that is at this path on every executor.
    with_text (bool): Whether rows have the text of the entity.
    batch_size (Optional[int]): Notes per batch; None uses the pipeline's own.
    code (Optional[Path]): A Python file that registers pipes of other packages, at this path on
        every executor.
    thresholds (Optional[Thresholds]): In place of the pipeline's own `min_confidence`.
    RETURNS (DataFrame): A row per entity, or, with the `spans_key` of `btl_ner`, per mention:
        `note_id`, `start`, `end`, `text` if asked for, `label`, `confidence`, `model`,
        `model_version`, `error`. Before `error`, if the pipeline has a `btl_context`, `negated`,
        `uncertain`, `historical`, `hypothetical` and `experiencer`; if it has a `btl_sections`,
        `section`; and if it carries promises, `promise`. A note that failed has one row,
        with its id and the reason in `error` only. Select the entities with `error IS NULL`.
    RAISES: AnnotateError, for a column that is missing or of another type.

    >>> from spacy_btl import annotate_dataframe
    >>> entities = annotate_dataframe(df, "calibrated")  # doctest: +SKIP
    """
    integer_ids = _has_integer_ids(df, text_col, id_col)
    source = Source(model, code, thresholds)
    columns = columns_of(open_pipeline(source), keeps_promises=thresholds is None)
    stamp = Stamp("", "", "", integer_ids, with_text, **columns)
    note_id = f"CAST(`{id_col}` AS bigint)" if stamp.integer_ids else f"`{id_col}`"
    read = (f"{note_id} AS id", f"`{text_col}` AS text", "CAST(NULL AS string) AS missing")
    return _annotate(df.selectExpr(*read), source, stamp, batch_size)


def _annotate(
    notes: "DataFrame",
    source: Source,
    stamp: Stamp,
    batch_size: int | None,
    *,
    with_facts: bool = False,
) -> "DataFrame":
    """Annotate the columns id, text and missing (why there is no text).

    with_facts (bool): Whether rows are added that have a note of `Annotated.facts` each, and
        nothing else, in a column `facts`.
    """
    fields = [(name, SQL_TYPES[kind]) for name, kind in row_fields(stamp)]
    fields += [("error", "string"), *([("facts", "array<double>")] if with_facts else [])]
    schema = ", ".join(f"`{name}` {kind}" for name, kind in fields)
    code = source.code and source.code.resolve()  # workers have folders of their own
    source = source._replace(code=code)
    return notes.mapInArrow(
        partial(
            _annotate_batches,
            source=source,
            stamp=stamp,
            batch_size=batch_size,
            with_facts=with_facts,
        ),
        schema,
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
    """Annotate the notes of a file or folder with Spark.

    Spark repeats failed tasks and writes the output of each once. An interrupted command starts
    again from the beginning.

    notes (Path): See `note_files`. One task reads a file; all tasks annotate its notes.
    output (Path): .parquet or .jsonl, as a folder of parts. The folder `OUTPUT.errors.jsonl` lists
        the notes that failed.
    options (Options): `part_size` is not used.
    on_loaded (Callable[[Language], None]): Called with the pipeline.
    RAISES: BtlError, for an input or output that cannot be used, if all notes fail, or, if strict,
        for a note that fails.
    """
    errors = output.with_name(f"{output.name}.errors.jsonl")
    for path in (output, errors):
        if path.exists():
            raise AnnotateError(f"{path} exists. Delete it, or give another name.")
    kind = format_of(output)
    if options.one_file:
        raise AnnotateError(
            "--one-file: the Spark engine writes a folder of parts. Leave it out, or use the local "
            "engine."
        )
    if kind.name not in ("parquet", "jsonl"):
        raise AnnotateError(
            f"{output}: the Spark engine writes .parquet or .jsonl only, with rows of entities."
        )
    check_settings(kind, options)
    source = Source(model, options.code, options.thresholds)
    nlp = open_pipeline(source)  # here, so that errors come before any task
    on_loaded(nlp)
    df, n_notes, integer_ids = _read(spark, notes, options)
    if df.groupBy("id").count().filter("count > 1").limit(1).count():
        raise AnnotateError(f"An '{options.id_column}' is used twice. Make the ids unique.")
    enough = PARTITIONS_PER_CORE * spark.sparkContext.defaultParallelism
    if df.rdd.getNumPartitions() < enough:
        df = df.repartition(enough)
    columns = columns_of(nlp, keeps_promises=options.thresholds is None)
    stamp = Stamp("", "", "", integer_ids, options.with_text, **columns)
    annotated = _annotate(df, source, stamp, options.batch_size, with_facts=True)
    combined = output.with_name(f"{output.name}.spark")
    try:
        # Entities and errors are both read from this file, so that the network runs once.
        annotated.write.mode("overwrite").parquet(str(combined))
        written = spark.read.parquet(str(combined))
        counts = _divide(written, n_notes, output, errors, options.strict)
        if options.thresholds is None:  # others than those that the pipeline knows its notes by
            counts.unlike = unlike_source(nlp, _facts(written))
        return counts
    finally:
        shutil.rmtree(combined, ignore_errors=True)


def _divide(
    annotated: "DataFrame", n_notes: int, output: Path, errors: Path, strict: bool
) -> Counts:
    """Write entities and errors to separate files, and count both."""
    failed = annotated.filter("error IS NOT NULL").selectExpr("note_id", "error AS reason")
    entities = annotated.filter("error IS NULL AND facts IS NULL").drop("error", "facts")
    labels = {row["label"]: row["count"] for row in entities.groupBy("label").count().collect()}
    counts = Counts(n_notes, failed.count(), Counter(labels))
    if counts.failed == n_notes or (strict and counts.failed):
        reasons = ", ".join(row["reason"] for row in failed.select("reason").distinct().take(5))
        raise AnnotateError(
            f"{counts.failed} of {counted(n_notes, 'note')} cannot be annotated: {reasons}. "
            "Nothing is written."
        )
    failed.coalesce(1).write.json(str(errors))
    writer = entities.write.option("ignoreNullFields", "false")
    (writer.json if format_of(output).name == "jsonl" else writer.parquet)(str(output))
    return counts


def _facts(annotated: "DataFrame") -> list[list[float]]:
    """Those of the notes, or of so many of them at random."""
    from pyspark.sql.functions import rand

    found = annotated.filter("facts IS NOT NULL").select("facts")
    return [row["facts"] for row in found.orderBy(rand(0)).limit(MOST).collect()]


def _annotate_batches(
    batches: Iterator[Any],
    *,
    source: Source,
    stamp: Stamp,
    batch_size: int | None,
    with_facts: bool = False,
) -> Iterator[Any]:
    """Annotate Arrow batches of notes, in a task."""
    nlp = _load(source)
    name, version = model_name(nlp)
    stamp = stamp._replace(model=name, version=version)
    for batch in batches:
        notes = [
            Note(row["id"], None, "", row["missing"])
            if row["missing"]
            else make_note(row["id"], row["text"], "")
            for row in batch.to_pylist()
        ]
        annotated = annotate_notes(nlp, notes, batch_size=batch_size or nlp.batch_size)
        yield _to_arrow(annotated, stamp, with_facts=with_facts)


@lru_cache(maxsize=1)
def _load(source: Source) -> Language:
    """Load the pipeline once in each Python worker, and use the threads of a Spark task."""
    from pyspark import TaskContext

    context = TaskContext.get()
    if has_torch:
        torch.set_num_threads(1 if context is None else context.cpus())
    return open_pipeline(source)


def _to_arrow(annotated: Annotated, stamp: Stamp, *, with_facts: bool) -> Any:
    pyarrow = import_pyarrow()
    fields = [*row_fields(stamp), ("error", "string")]
    types = [(name, pyarrow.type_for_alias(kind)) for name, kind in fields]
    others: list[dict[str, Any]] = [
        {"note_id": failure.note_id, "error": failure.reason} for failure in annotated.failures
    ]
    if with_facts:
        types.append(("facts", pyarrow.list_(pyarrow.float64())))
        others += [{"facts": facts} for facts in annotated.facts]
    found = [*rows(annotated, stamp), *others]
    return pyarrow.RecordBatch.from_pylist(found, schema=pyarrow.schema(types))


def _has_integer_ids(df: "DataFrame", text_col: str, id_col: str) -> bool:
    kinds = dict(df.dtypes)
    for name in (text_col, id_col):
        if name not in kinds:
            raise AnnotateError(  # without the names: in a CSV without a header they are a note
                f"No column '{name}' among the {len(kinds)} of the notes. Name it with text_col or "
                "id_col. A CSV file needs a header."
            )
    integers = kinds[id_col] in ("tinyint", "smallint", "int", "bigint")
    if kinds[text_col] != "string" or not (integers or kinds[id_col] == "string"):
        raise AnnotateError(
            f"Column '{text_col}' holds {kinds[text_col]} and '{id_col}' {kinds[id_col]}: texts "
            "must be strings, and ids strings or whole numbers."
        )
    return integers


def _read(spark: "SparkSession", path: Path, options: Options) -> tuple["DataFrame", int, bool]:
    """Read the notes of a file or folder with the readers of the local engine.

    RETURNS (Tuple[DataFrame, int, bool]): The columns id, text and missing; the number of notes;
        whether ids are whole numbers.
    """
    files = note_files(path.resolve())
    columns = (options.text_column, options.id_column)
    slices = min(len(files), PARTITIONS_PER_CORE * spark.sparkContext.defaultParallelism)
    shared = spark.sparkContext.parallelize(files, slices)
    kinds: Counter[type] = Counter()
    for problem, counts in shared.map(partial(_count_ids, columns)).collect():
        if problem:
            raise AnnotateError(problem)
        kinds.update(counts)
    if len(kinds) > 1:
        raise AnnotateError(
            f"{path}: some values of '{options.id_column}' are strings and others whole numbers. "
            "Make them all of one type."
        )
    if not kinds:
        raise no_notes(path)
    integer_ids = int in kinds
    schema = f"id {'bigint' if integer_ids else 'string'}, text string, missing string"
    rows = shared.flatMap(partial(_rows, columns))
    return spark.createDataFrame(rows, schema, verifySchema=False), kinds.total(), integer_ids


def _count_ids(columns: tuple[str, str], file: File) -> tuple[str, Counter[type]]:
    """Return the error of a file, and how many of its ids are of which type.

    The error is returned because Spark would wrap it in a traceback.
    """
    try:
        return "", Counter(type(note.id) for note in notes_of(file, *columns))
    except BtlError as error:
        return str(error), Counter()


def _rows(columns: tuple[str, str], file: File) -> Iterator[tuple[str | int, str | None, str]]:
    return ((note.id, note.text, note.missing) for note in notes_of(file, *columns))
