"""Whether notes are like those that a pipeline was calibrated for, without any annotation."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from spacy.language import Language
from spacy.util import minibatch

from spacy_btl.errors import AnnotateError
from spacy_btl.notes.entities import docs_of, facts_of, unreadable
from spacy_btl.notes.notes import Note, counted_notes, read_notes, scan_notes
from spacy_btl.pipeline.unlike import find_reference
from spacy_btl.pipelines import load_pipeline

if TYPE_CHECKING:
    from spacy_btl.calibration.unlike import Comparison


class Checked(NamedTuple):
    """Notes against the held-out documents of a pipeline.

    comparison (Comparison): See `calibration.unlike.compare`.
    failed (int): Notes that could not be read.
    first_failure (str): The place of the first, and why.
    """

    comparison: "Comparison"
    failed: int
    first_failure: str


def check_notes(
    model: str,
    notes: Path,
    *,
    text_column: str = "text",
    id_column: str = "id",
    batch_size: int | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Checked:
    """Compare notes without annotation with the held-out documents of a pipeline.

    model (str): A package name or a folder of a pipeline whose calibration maps were fitted.
    notes (Path): See `read_notes`.
    on_progress (Callable[[int, int], None]): Called with the number of notes read, and of all.
    RAISES: BtlError, for a pipeline or input that cannot be used, or if no note can be read.

    >>> from spacy_btl import check_notes
    >>> checked = check_notes("mapped", Path("notes"))
    >>> checked.comparison.unlike
    False
    """
    from spacy_btl.calibration.unlike import compare

    nlp = load_pipeline(model)
    pipe, reference = find_reference(nlp, model)
    read = partial(read_notes, notes, text_column=text_column, id_column=id_column)
    total = scan_notes(read(), notes).notes
    rows: list[list[float]] = []
    failures: list[str] = []
    counting = counted_notes(read(), lambda done: on_progress(done, total))
    for found, of_batch in read_facts(nlp, counting, batch_size or nlp.batch_size):
        rows += found
        failures += of_batch
    if not rows:
        raise AnnotateError(f"{notes}: no note can be read. The first: {failures[0]}.")
    types = pipe.calibrator.fitted_datastore().labels
    comparison = compare(reference, np.array(rows), types)
    return Checked(comparison, len(failures), failures[0] if failures else "")


def read_facts(
    nlp: Language, notes: Iterator[Note], batch_size: int
) -> Iterator[tuple[list[list[float]], list[str]]]:
    """The rows of notes, batch by batch, and where notes failed and why."""
    for batch in minibatch(notes, size=batch_size):
        reasons = [unreadable(note, nlp.max_length) for note in batch]
        good = [note for note, reason in zip(batch, reasons, strict=True) if not reason]
        results = iter(docs_of(nlp, good) if good else [])
        rows, failures = [], []
        for note, reason in zip(batch, reasons, strict=True):
            result = reason or next(results)
            if isinstance(result, str):
                failures.append(f"{note.where}: {result}")
            else:
                rows += facts_of([result])
        yield rows, failures
