"""What the page knows: a pipeline, and a note that is read once and decoded for any tau.

Plain Python: nothing here knows Streamlit, and nothing is written to disk.
"""

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from functools import cache
from threading import Lock

from spacy.language import Language
from spacy.tokens import Doc, Span

from spacy_btl.annotate.entities import docs_of, unreadable
from spacy_btl.annotate.notes import Note
from spacy_btl.arrays import Probabilities
from spacy_btl.calibration.calibrator import Calibrator
from spacy_btl.calibration.decisions import Tau
from spacy_btl.errors import PageError
from spacy_btl.pipeline.annotations import confidence, set_entities
from spacy_btl.pipeline.decoding import decode
from spacy_btl.pipeline.knn_calibrator import KnnCalibrator, find_calibrator
from spacy_btl.pipeline.logits import has_logits_of, hiding_pipes, run_before
from spacy_btl.pipelines import load_pipeline

NO_CALIBRATOR = (
    "This pipeline has no fitted `knn_calibrator`: entities are those of its own pipes, without "
    "confidence, tau or neighbours. Add one with `python -m spacy btl calibrate`."
)


@dataclass(frozen=True)
class OpenPipeline:
    """A pipeline whose docs keep their logits.

    pipe (Optional[KnnCalibrator]): None where there is none that is fitted: `missing` then
        says what the page cannot show, and why.
    labels (Tuple[str, ...]): The types that it may find.
    lock (Lock): Held while it reads a note: every tab of a browser has a thread of its own.
    """

    nlp: Language
    pipe: KnnCalibrator | None
    missing: str
    labels: tuple[str, ...]
    lock: Lock = field(default_factory=Lock, compare=False)


@dataclass(frozen=True)
class OpenNote:
    """A note after the encoder.

    name (str): What to call it in a download.
    probabilities (Optional[float64 [T, C]]): What any tau decides on; None without a calibrator.
    """

    name: str
    doc: Doc
    probabilities: Probabilities | None


@cache
def open_pipeline(model: str) -> OpenPipeline:
    """Load a pipeline, once in a process. RAISES: PipelineError, if there is none of that name."""
    return opened(load_pipeline(model))


def opened(nlp: Language) -> OpenPipeline:
    """Make a pipeline ready: pipes that would take logits and tokens from its docs are disabled."""
    for name in hiding_pipes(nlp):
        nlp.disable_pipe(name)
    pipe = find_calibrator(nlp)
    missing = NO_CALIBRATOR if pipe is None else ""
    finders = [name for name in nlp.pipe_names if "doc.ents" in nlp.get_pipe_meta(name).assigns]
    labels = {label for name in finders for label in nlp.pipe_labels.get(name, ())}
    return OpenPipeline(nlp, pipe, missing, tuple(sorted(labels)))


def read_note(pipeline: OpenPipeline, text: str, name: str = "note") -> OpenNote:
    """Run the pipeline over a note, the encoder included.

    RAISES: PageError, for a note that is empty, too long, or that a pipe fails on. It never quotes
        the note.
    """
    if not text.strip():
        raise PageError("The note is empty: paste one, or open a file.")
    note = Note(name, text, where=name)
    with pipeline.lock:
        doc = unreadable(note, pipeline.nlp.max_length) or docs_of(pipeline.nlp, [note])[0]
        if isinstance(doc, str):
            raise PageError(f"This note cannot be annotated: {doc}.")
        if doc.has_extension("trf_data"):
            doc._.trf_data = None  # nine tenths of its memory, and never read again
        pipe, probabilities = pipeline.pipe, None
        if pipe is not None:
            kept = has_logits_of(doc, pipe.calibrator.fitted_datastore().network)
            read = doc if kept else run_before(pipeline.nlp, doc, pipe.name)
            (probabilities,) = pipe.predict([read])
    return OpenNote(name, doc, probabilities)


def read_file(data: bytes) -> str:
    """The text of a file. RAISES: PageError, if it is not UTF-8."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise PageError("This file is not UTF-8: save the note as UTF-8 text.") from None


def chosen_entities(
    pipeline: OpenPipeline,
    note: OpenNote,
    *,
    tau: Tau | None = None,
    least: float = 0.0,
    labels: Collection[str] = (),
) -> list[Span]:
    """The entities to show, by decoding again; the encoder is not run.

    tau (Optional[float | Dict[str, float]]): In place of the calibrator's own.
    least (float): The least confidence. An entity without one, of another pipe, is always shown.
    labels (Collection[str]): The types to show; all if empty.
    """
    if pipeline.pipe is not None and note.probabilities is not None:
        calibrator = pipeline.pipe.calibrator
        (decoded,) = decode([note.doc], [note.probabilities], calibrator, tau=tau)
        set_entities(note.doc, *decoded, labels=calibrator.fitted_datastore().labels)
    ents = [ent for ent in note.doc.ents if not labels or ent.label_ in labels]
    return [ent for ent in ents if (sure := confidence(ent)) is None or sure >= least]


def caveat(calibrator: Calibrator, tau: Tau) -> str:
    """What to know of the confidences at this tau; empty if they are what they were fitted for."""
    if calibrator.maps is None:
        return (
            "Confidence was not fitted on held-out documents, and is likely to be too high: "
            "`python -m spacy btl calibrate --held-out`."
        )
    fitted = calibrator.maps.settings
    if replace(calibrator.settings, tau=fitted.tau) != fitted:
        return (
            "Confidence was fitted for other settings of the calibrator: a rough guide. Fit it "
            "again: `python -m spacy btl calibrate --held-out`."
        )
    if tau != fitted.tau:
        return f"Confidence was fitted for tau = {fitted.tau}; elsewhere it is a rougher guide."
    return ""
