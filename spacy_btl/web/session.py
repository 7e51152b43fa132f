"""The state of the page: a pipeline, and a note that is decoded again for each tau.

Nothing here depends on Streamlit, and nothing is written to disk.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import islice
from pathlib import Path
from threading import Lock

from spacy.language import Language
from spacy.tokens import Doc, Span

from spacy_btl.arrays import Probabilities
from spacy_btl.calibration.calibrator import Calibrator
from spacy_btl.calibration.decisions import Tau
from spacy_btl.context.pipe import find_contexts
from spacy_btl.context.sections import find_sections
from spacy_btl.errors import PageError
from spacy_btl.guarantee.promises import read_promises
from spacy_btl.notes.entities import (
    Entity,
    docs_of,
    entities_of,
    mentions_of,
    spans_keys,
    unreadable,
)
from spacy_btl.notes.notes import Note, read_notes
from spacy_btl.pipeline.annotations import write_mentions
from spacy_btl.pipeline.decoding import decode
from spacy_btl.pipeline.knn_calibrator import KnnCalibrator, find_calibrator
from spacy_btl.pipeline.logits import has_logits_of, hiding_pipes, run_before
from spacy_btl.pipeline.unlike import is_far
from spacy_btl.pipelines import load_pipeline
from spacy_btl.preannotations.words import words_of

NO_CALIBRATOR = (
    "This pipeline has no fitted `knn_calibrator`, so the page shows no {missing}tau or "
    "neighbours. Add one with `python -m spacy btl calibrate`."
)

MAX_NOTES = 10_000  # of a file or folder: they are in memory


@dataclass(frozen=True)
class OpenPipeline:
    """A pipeline whose docs keep their logits.

    pipe (Optional[KnnCalibrator]): None if the pipeline has none that is fitted.
    missing (str): What the page cannot show without a calibrator; empty with one.
    labels (Tuple[str, ...]): The types that it can predict.
    keys (Tuple[str, ...]): The groups of spans that hold its mentions, if these can overlap.
    promises (Tuple[str, ...]): What `btl guarantee` promised of it, in words.
    lock (Lock): Held while a note is read, since each browser tab has its own thread.
    """

    nlp: Language
    pipe: KnnCalibrator | None
    missing: str
    labels: tuple[str, ...]
    keys: tuple[str, ...] = ()
    promises: tuple[str, ...] = ()
    lock: Lock = field(default_factory=Lock, compare=False)


@dataclass(frozen=True)
class OpenNote:
    """A note that the pipeline has read.

    note (Note): With its words.
    probabilities (Optional[float64 [T, C]]): The calibrator's; None without a calibrator.
    far (bool): Whether it is far from all that the pipeline knows.
    """

    note: Note
    doc: Doc
    probabilities: Probabilities | None
    far: bool = False

    def span(self, start: int, end: int, label: str) -> Span:
        """The whole words that characters are in, without white space around them, as a span.

        RAISES: PageError, if there are none.
        """
        text = self.note.text or ""
        words = text[start:end]
        start, end = (
            start + len(words) - len(words.lstrip()),
            end - len(words) + len(words.rstrip()),
        )
        if start < end:
            span = self.doc.char_span(start, end, label=label, alignment_mode="expand")
            if span is not None:
                return span
        raise PageError("This is white space. Select words.")


@cache
def listed_notes(path: Path, text_column: str, id_column: str) -> tuple[Note, ...]:
    """Read the first `MAX_NOTES` notes of a file or folder once per process.

    RAISES: BtlError, as `read_notes`.
    """
    notes = read_notes(path, text_column=text_column, id_column=id_column)
    return tuple(islice(notes, MAX_NOTES))


@cache
def open_pipeline(model: str) -> OpenPipeline:
    """Load a pipeline once per process. RAISES: PipelineError, if it cannot be loaded."""
    return opened(load_pipeline(model))


def opened(nlp: Language) -> OpenPipeline:
    """Prepare a pipeline: disable the pipes that would remove logits or merge tokens."""
    for name in hiding_pipes(nlp):
        nlp.disable_pipe(name)
    pipe = find_calibrator(nlp)
    keys = spans_keys(nlp)
    missing = ""
    if pipe is None:
        missing = NO_CALIBRATOR.format(missing="" if keys else "confidence, ")
    finders = [name for name in nlp.pipe_names if "doc.ents" in nlp.get_pipe_meta(name).assigns]
    labels = {label for name in finders for label in nlp.pipe_labels.get(name, ())}
    promises = tuple(map(str, read_promises(nlp)))
    return OpenPipeline(nlp, pipe, missing, tuple(sorted(labels)), tuple(keys), promises)


def read_note(pipeline: OpenPipeline, text: str, name: str | int = "note") -> OpenNote:
    """Run the pipeline over a note.

    name (Union[str, int]): Its id.

    RAISES: PageError, for a note that is empty, too long, or makes a pipe fail. The message never
        quotes the note.
    """
    if not text.strip():
        raise PageError("The note is empty. Paste one, or open a file.")
    note = Note(name, text, where=str(name))
    with pipeline.lock:
        doc = unreadable(note, pipeline.nlp.max_length) or docs_of(pipeline.nlp, [note])[0]
        if isinstance(doc, str):
            raise PageError(f"This note cannot be annotated: {doc}.")
        if doc.has_extension("trf_data"):
            doc._.trf_data = None  # nine tenths of its memory, and never read again
        pipe, probabilities, far = pipeline.pipe, None, False
        if pipe is not None:
            far = is_far(pipe, doc)
            kept = has_logits_of(doc, pipe.calibrator.fitted_datastore().network)
            read = doc if kept else run_before(pipeline.nlp, doc, pipe.name)
            (probabilities,) = pipe.predict([read])
    return OpenNote(note._replace(words=words_of(doc)), doc, probabilities, far)


def read_file(data: bytes, name: str) -> str:
    """Decode a file. RAISES: PageError, if it is not UTF-8."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise PageError(f"{name}: not UTF-8. Save the note as UTF-8 text.") from None


def decided(pipeline: OpenPipeline, note: OpenNote, tau: Tau | None = None) -> list[Entity]:
    """Decide the entities of a note again, without running the pipeline, or all mentions of a
    pipeline whose mentions can overlap.

    tau (Optional[float | Dict[str, float]]): Instead of the calibrator's own.
    """
    if pipeline.pipe is not None and note.probabilities is not None:
        calibrator = pipeline.pipe.calibrator
        (found,) = decode([note.doc], [note.probabilities], calibrator, tau=tau)
        write_mentions(note.doc, *found, labels=calibrator.fitted_datastore().labels)
        for sections in find_sections(pipeline.nlp):
            sections(note.doc)
        for context in find_contexts(pipeline.nlp):
            context(note.doc)
    return list(entities_of(note.note.id, mentions_of(note.doc, pipeline.keys)))


def shown(
    entities: Sequence[Entity], *, min_confidence: float = 0.0, labels: Collection[str] = ()
) -> tuple[list[Entity], int]:
    """The entities to show, and how many of these types are hidden by their confidence.

    min_confidence (float): Entities without a confidence, of other pipes, are always shown.
    labels (Collection[str]): The types to show; all if empty.
    """
    of_types = [one for one in entities if not labels or one.label in labels]
    sure = [one for one in of_types if one.confidence is None or one.confidence >= min_confidence]
    return sure, len(of_types) - len(sure)


def caveat(calibrator: Calibrator, tau: Tau) -> str:
    """Return a warning if confidence was not fitted for this tau; empty if it was."""
    if calibrator.maps is None:
        return (
            "Confidence was not fitted on held-out documents and is likely too high. Fit it with "
            "`python -m spacy btl calibrate --held-out`."
        )
    fitted = calibrator.maps.settings
    if replace(calibrator.settings, tau=fitted.tau) != fitted:
        return (
            "Confidence was fitted for other settings of the calibrator and is a rough guide. Fit "
            "it again with `python -m spacy btl calibrate --held-out`."
        )
    if not calibrator.maps.hold_for(replace(calibrator.settings, tau=tau)):
        return f"Confidence was fitted for tau = {fitted.tau} and is a rough guide at others."
    return ""
