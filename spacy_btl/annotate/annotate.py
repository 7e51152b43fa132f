"""Annotate a file of notes of any size."""

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any

import spacy
from spacy.language import Language
from spacy.util import minibatch

from spacy_btl.about import __version__
from spacy_btl.annotate.job import Counts, Job
from spacy_btl.annotate.progress import Meter, Progress
from spacy_btl.errors import AnnotateError, BtlWarning, counted
from spacy_btl.inception.write import require_cassis, type_system
from spacy_btl.notes.entities import annotate_notes, stop_at_failure
from spacy_btl.notes.loading import Source, open_pipeline
from spacy_btl.notes.notes import (
    Note,
    Summary,
    counted_notes,
    read_ids,
    read_notes,
    scan_notes,
)
from spacy_btl.outputs.columns import columns_of
from spacy_btl.outputs.concepts import Concepts, read_concepts
from spacy_btl.outputs.fhir_settings import read_fhir
from spacy_btl.outputs.formats import FORMATS, Format, format_of
from spacy_btl.outputs.stamp import NOTE_ID, Stamp
from spacy_btl.pipeline.thresholds import Thresholds
from spacy_btl.pipeline.unlike import unlike_source
from spacy_btl.pipelines import fingerprint, model_name

PART_SIZE = 1000


@dataclass(frozen=True)
class Options:
    """How to annotate notes.

    text_column, id_column (str): The columns of a table.
    with_text (bool): Write the text of entities. Only rows of entities can be without it.
    batch_size (Optional[int]): Notes per batch; None uses the pipeline's own.
    part_size (int): Notes per part. A kill loses the work on one part at most.
    strict (bool): Stop at the first note that fails, instead of listing it.
    only (Optional[Path]): A ranking of `suggest`, or a table: only the notes with its ids. It warns
        of ids that are not among the notes.
    thresholds (Optional[Thresholds]): In place of the pipeline's own `min_confidence`.
    code (Optional[Path]): A Python file that registers pipes of other packages.
    from_name, to_name, layer, choices_name, assertion_features: See `Stamp`: for Label Studio, and
        for INCEpTION.
    fhir, patients (Optional[Path]): See `read_fhir`.
    concepts, section_concepts (Optional[Path]): See `read_concepts`: for the OMOP table.
    one_file (bool): Write Parquet as one file, and not as a folder of parts.
    """

    text_column: str = "text"
    id_column: str = "id"
    with_text: bool = False
    batch_size: int | None = None
    part_size: int = PART_SIZE
    strict: bool = False
    only: Path | None = None
    thresholds: Thresholds | None = None
    code: Path | None = None
    from_name: str = "label"
    to_name: str = "text"
    layer: str = "NamedEntity:value"
    choices_name: str | None = None
    fhir: Path | None = None
    patients: Path | None = None
    concepts: Path | None = None
    section_concepts: Path | None = None
    one_file: bool = False
    assertion_features: bool = False


def annotate_file(
    model: str,
    notes: Path,
    output: Path,
    options: Options = Options(),
    *,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    on_loaded: Callable[[Language], None] = lambda nlp: None,
) -> Counts:
    """Annotate all notes of an input, or resume a job that was interrupted.

    The entities are those of `doc.ents`; with the `spans_key` of `btl_ner` all its mentions,
    overlapping or not.

    model (str): A package name or a folder.
    notes (Path): See `read_notes`.
    output (Path): Its suffix selects the format: see `format_of`. `OUTPUT.errors.jsonl` lists the
        notes that failed, and `OUTPUT.manifest.json` records the job.
    on_progress (Callable[[Progress], None]): Called for each note while the input is counted, and
        then for each batch.
    on_loaded (Callable[[Language], None]): Called with the pipeline.
    RETURNS (Counts): Of the whole output, also if it was complete before.
    RAISES: BtlError, for an input or output that cannot be used, if all notes fail, or, if strict,
        for a note that fails.

    >>> from spacy_btl import annotate_file
    >>> counts = annotate_file("calibrated", Path("notes"), Path("entities.jsonl"))
    >>> counts.notes
    1
    """
    kind = format_of(output)
    check_settings(kind, options)
    fhir = read_fhir(options.fhir, options.patients) if "fhir" in kind.settings else None
    for table in (options.concepts, options.section_concepts):
        _concepts(table)  # here, so that its errors come before the pipeline is loaded
    kind = kind if options.one_file else kind._replace(merge=None)
    if output.resolve().is_relative_to(notes.resolve()):
        raise AnnotateError(f"{output} is inside the input. Give an output elsewhere.")
    nlp = open_pipeline(Source(model, options.code, options.thresholds))
    on_loaded(nlp)
    read: Callable[[], Iterator[Note]] = partial(
        read_notes,
        notes,
        text_column=options.text_column,
        id_column=options.id_column,
        integer_ids=kind.integer_ids,
    )
    if options.only is not None:
        read = _only(read, notes, options, integer_ids=kind.integer_ids)
    reading = counted_notes(read(), lambda number: on_progress(Progress(number)))
    summary = scan_notes(reading, notes)
    batch_size = options.batch_size or nlp.batch_size
    job = Job(output, kind, _identity(nlp, summary, options, batch_size, kind))
    if job.finished:
        return _checked(job.total(), job, options)
    with job:
        total = Counts()
        meter = Meter(summary.notes, summary.characters, on_progress)
        stamp = Stamp(
            *model_name(nlp),
            job.started,
            summary.integer_ids,
            options.with_text,
            options.text_column,
            options.from_name,
            options.to_name,
            options.layer,
            options.choices_name,
            options.assertion_features,
            fhir=fhir,
            concepts=_concepts(options.concepts),
            section_concepts=_concepts(options.section_concepts),
            **columns_of(nlp, keeps_promises=options.thresholds is None),
        )
        for part, chunk in enumerate(minibatch(read(), size=options.part_size)):
            counts = job.counts(part)
            if counts is not None:
                meter.pass_over(chunk)
            else:
                notes_of_part = [_possible(note, kind) for note in chunk]
                annotated = annotate_notes(
                    nlp,
                    notes_of_part,
                    batch_size=batch_size,
                    with_words=kind.with_words,
                    on_batch=meter.annotated,
                )
                if options.strict:
                    stop_at_failure(annotated)
                counts = job.write(part, annotated, stamp, total.entities.total())
            total.add(_checked(counts, job, options))
        if total.notes != summary.notes:
            raise AnnotateError(f"{notes} changed while it was read. Run the command again.")
        if options.thresholds is None:  # others than those that the pipeline knows its notes by
            total.unlike = unlike_source(nlp, total.facts)
        _finish(job, total, stamp)
    return job.total()


def _only(
    read: Callable[[], Iterator[Note]], notes: Path, options: Options, *, integer_ids: bool
) -> Callable[[], Iterator[Note]]:
    """What reads the notes that `options.only` names. Warns of ids that are not among the notes.

    RAISES: AnnotateError, if none of these is there.
    """
    assert options.only is not None
    ids = read_ids(options.only, options.id_column, integer_ids=integer_ids)
    gone = len(ids - {str(note.id) for note in read()})
    if gone == len(ids):
        raise AnnotateError(
            f"{options.only}: of its {counted(gone, 'id')} none is among the notes of {notes}. "
            "Give the notes that it was made of."
        )
    if gone:
        message = f"{options.only}: {gone:,} of its {counted(len(ids), 'id')} are not in {notes}."
        warnings.warn(message, BtlWarning, stacklevel=3)
    return lambda: (note for note in read() if str(note.id) in ids)


def _concepts(table: Path | None) -> Concepts | None:
    return None if table is None else read_concepts(table)


def check_settings(kind: Format, options: Options) -> None:
    """RAISES: BtlError, for a setting that another format has, or that cannot be used."""
    for name in (
        "from_name",
        "to_name",
        "choices_name",
        "layer",
        "assertion_features",
        "fhir",
        "patients",
        "concepts",
        "section_concepts",
        "one_file",
    ):
        if name not in kind.settings and getattr(options, name) != getattr(Options(), name):
            endings = [ending for ending, other in FORMATS.items() if name in other.settings]
            raise AnnotateError(
                f"--{name.replace('_', '-')} is for {' and '.join(endings)}, and not for an output "
                f"of {kind.name}. Leave it out, or give another output."
            )
    if "text_column" in kind.settings and options.text_column == NOTE_ID:
        raise AnnotateError(
            f"--text-column {NOTE_ID}: Label Studio's tasks have the id of the note under this "
            "name. Give the column of the texts another name."
        )
    if "layer" in kind.settings:
        require_cassis()
        # Here, so that its error comes before any note.
        type_system(options.layer, asserts=options.assertion_features)


def _possible(note: Note, kind: Format) -> Note:
    """Take a text away that the format cannot hold, so that its note fails."""
    problem = "" if note.text is None else kind.problem(note.text)
    return note._replace(text=None, missing=problem) if problem else note


def _finish(job: Job, total: Counts, stamp: Stamp) -> None:
    """Put the output in place, unless all notes failed."""
    if total.failed == total.notes:
        first = job.discard()
        raise AnnotateError(
            f"Of {counted(total.notes, 'note')} none could be annotated. The first failure: "
            f"{first}. Nothing is written."
        )
    job.finish(total, stamp)


def _checked(counts: Counts, job: Job, options: Options) -> Counts:
    """Return counts; with `strict`, raise if an earlier run left failed notes."""
    if options.strict and counts.failed:
        raise AnnotateError(
            f"{counted(counts.failed, 'note')} failed in an earlier run, which was not strict. "
            f"Delete {job.output if job.output.exists() else job.parts} and run the command again."
        )
    return counts


def _identity(
    nlp: Language, summary: Summary, options: Options, batch_size: int, kind: Format
) -> dict[str, Any]:
    """What the output depends on."""
    if nlp.path is None:
        raise AnnotateError("This pipeline is not saved. Save it, and give its folder.")
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
        "code": _value(options.code),
        "min_confidence": _confidences(options.thresholds),
        **{name: _value(getattr(options, name)) for name in kind.settings},
    }


def _value(setting: str | bool | Path | None) -> str | bool | None:
    """A setting as a JSON value: what a file holds, by its digest."""
    if isinstance(setting, Path):
        return blake2b(setting.read_bytes(), digest_size=16).hexdigest()
    return setting


def _confidences(thresholds: Thresholds | None) -> dict[str, float] | None:
    return None if thresholds is None else {"": thresholds.others, **dict(thresholds.by_type)}
