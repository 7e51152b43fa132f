"""Annotate a file of notes of any size: read it, run the pipeline, write its entities."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import spacy
from spacy.language import Language
from spacy.util import minibatch

from spacy_btl.about import __version__
from spacy_btl.annotate.entities import annotate_notes, stop_at_failure
from spacy_btl.annotate.formats import Stamp, format_of
from spacy_btl.annotate.job import Counts, Job
from spacy_btl.annotate.notes import Summary, read_notes, survey
from spacy_btl.errors import AnnotateError
from spacy_btl.pipelines import fingerprint, load_pipeline, model_name

PART_SIZE = 1000


@dataclass(frozen=True)
class Options:
    """How notes are annotated.

    text_column, id_column (str): Where a table has them.
    with_text (bool): Whether rows of entities hold their text. brat files and NOTE_NLP always do.
    batch_size (Optional[int]): Notes at a time; None is the pipeline's own.
    part_size (int): Notes that are written at a time, and lost to a kill at most.
    strict (bool): Stop at the first note that fails, instead of listing it.
    """

    text_column: str = "text"
    id_column: str = "id"
    with_text: bool = False
    batch_size: int | None = None
    part_size: int = PART_SIZE
    strict: bool = False


def annotate_file(
    model: str,
    notes: Path,
    output: Path,
    options: Options = Options(),
    *,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
    on_loaded: Callable[[Language], None] = lambda nlp: None,
) -> Counts:
    """Annotate all notes of an input. A job that was cut short goes on where it was.

    model (str): A package name or a folder.
    notes (Path): See `read_notes`.
    output (Path): Its ending tells what is written: see `format_of`. `OUTPUT.errors.jsonl` lists
        the notes that failed, `OUTPUT.manifest.json` says what was done.
    on_progress (Callable[[int, int], None]): Called with the notes that are done, and all notes.
    on_loaded (Callable[[Language], None]): Called with the pipeline.
    RETURNS (Counts): Of the whole output, whether it was there already or not.
    RAISES: BtlError, for an input or output that does not do, if all notes fail, or, if strict, a
        note that fails.

    >>> from spacy_btl import annotate_file
    >>> counts = annotate_file("calibrated", Path("notes"), Path("entities.jsonl"))
    >>> counts.notes
    1
    """
    kind = format_of(output)
    if output.resolve().is_relative_to(notes.resolve()):
        raise AnnotateError(f"{output} is inside of the input: write it elsewhere.")
    nlp = load_pipeline(model)
    on_loaded(nlp)
    read = partial(
        read_notes,
        notes,
        text_column=options.text_column,
        id_column=options.id_column,
        integer_ids=kind.integer_ids,
    )
    summary = survey(read())
    batch_size = options.batch_size or nlp.batch_size
    job = Job(output, kind, _what(nlp, summary, options, batch_size))
    if job.finished:
        return _checked(job.total(), job, options)
    with job:
        total = Counts()
        stamp = Stamp(*model_name(nlp), job.started, summary.integer_ids, options.with_text)
        for part, chunk in enumerate(minibatch(read(), size=options.part_size)):
            counts = job.counts(part)
            if counts is None:
                annotated = annotate_notes(nlp, chunk, batch_size=batch_size)
                if options.strict:
                    stop_at_failure(annotated)
                counts = job.write(part, annotated, stamp, total.entities.total())
            total.add(_checked(counts, job, options))
            on_progress(total.notes, summary.notes)
        if total.notes != summary.notes:
            raise AnnotateError(f"{notes} changed while it was read. Give the command again.")
        if total.failed == total.notes:
            first = job.discard()
            raise AnnotateError(
                f"None of the {total.notes} notes could be annotated, the first for this reason: "
                f"{first}. Nothing is written."
            )
        job.finish(total)
    return job.total()


def _checked(counts: Counts, job: Job, options: Options) -> Counts:
    """Counts, if they may be: what an earlier run did was perhaps not strict."""
    if options.strict and counts.failed:
        raise AnnotateError(
            f"{counts.failed} notes failed in an earlier run, which was not strict. Delete "
            f"{job.output if job.output.exists() else job.parts}, and give the command again."
        )
    return counts


def _what(nlp: Language, summary: Summary, options: Options, batch_size: int) -> dict[str, Any]:
    """All that the entities depend on."""
    if nlp.path is None:
        raise AnnotateError("This pipeline is in no folder: save it, and give the folder.")
    model, version = model_name(nlp)
    return {
        "input": summary.fingerprint,
        "model": model,
        "model_version": version,
        "model_files": fingerprint(nlp.path),
        "spacy_btl_version": __version__,
        "spacy_version": spacy.__version__,
        "with_text": options.with_text,
        "batch_size": batch_size,
        "part_size": options.part_size,
    }
