"""The state of the page: a pipeline, and a note that is decoded again for each tau.

Nothing here depends on Streamlit, and nothing is written to disk.
"""

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from functools import cache
from threading import Lock

from spacy.language import Language
from spacy.tokens import Doc, Span

from spacy_btl.arrays import Probabilities
from spacy_btl.calibration.calibrator import Calibrator
from spacy_btl.calibration.decisions import Tau
from spacy_btl.context.pipe import find_contexts
from spacy_btl.errors import PageError
from spacy_btl.guarantee.promises import read_promises
from spacy_btl.notes.entities import docs_of, mentions_of, spans_keys, unreadable
from spacy_btl.notes.notes import Note
from spacy_btl.pipeline.annotations import confidence, write_mentions
from spacy_btl.pipeline.decoding import decode
from spacy_btl.pipeline.knn_calibrator import KnnCalibrator, find_calibrator
from spacy_btl.pipeline.logits import has_logits_of, hiding_pipes, run_before
from spacy_btl.pipeline.unlike import is_far
from spacy_btl.pipelines import load_pipeline

NO_CALIBRATOR = (
    "This pipeline has no fitted `knn_calibrator`, so the page shows no {missing}tau or "
    "neighbours. Add one with `python -m spacy btl calibrate`."
)


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

    name (str): The name of downloads.
    probabilities (Optional[float64 [T, C]]): The calibrator's; None without a calibrator.
    far (bool): Whether it is far from all that the pipeline knows.
    """

    name: str
    doc: Doc
    probabilities: Probabilities | None
    far: bool = False


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


def read_note(pipeline: OpenPipeline, text: str, name: str = "note") -> OpenNote:
    """Run the pipeline over a note.

    RAISES: PageError, for a note that is empty, too long, or makes a pipe fail. The message never
        quotes the note.
    """
    if not text.strip():
        raise PageError("The note is empty. Paste one, or open a file.")
    note = Note(name, text, where=name)
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
    return OpenNote(name, doc, probabilities, far)


def read_file(data: bytes) -> str:
    """Decode a file. RAISES: PageError, if it is not UTF-8."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise PageError("This file is not UTF-8. Save the note as UTF-8 text.") from None


def chosen_entities(
    pipeline: OpenPipeline,
    note: OpenNote,
    *,
    tau: Tau | None = None,
    min_confidence: float = 0.0,
    labels: Collection[str] = (),
) -> list[Span]:
    """Decode the note again, without running the pipeline, and select entities, or all mentions of
    a pipeline whose mentions can overlap.

    tau (Optional[float | Dict[str, float]]): Instead of the calibrator's own.
    min_confidence (float): Entities of other pipes, which have no confidence, are always selected.
    labels (Collection[str]): The types to select; all if empty.
    """
    if pipeline.pipe is not None and note.probabilities is not None:
        calibrator = pipeline.pipe.calibrator
        (decoded,) = decode([note.doc], [note.probabilities], calibrator, tau=tau)
        write_mentions(note.doc, *decoded, labels=calibrator.fitted_datastore().labels)
        for context in find_contexts(pipeline.nlp):
            context(note.doc)
    found = mentions_of(note.doc, pipeline.keys)
    ents = [ent for ent in found if not labels or ent.label_ in labels]
    return [ent for ent in ents if (value := confidence(ent)) is None or value >= min_confidence]


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
