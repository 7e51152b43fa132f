"""The pipeline that answers requests, one at a time; another one can take its place."""

from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock
from typing import NamedTuple

from spacy.language import Language
from spacy.util import minibatch

from spacy_btl.errors import ServeError
from spacy_btl.notes.entities import Entity, annotate_notes
from spacy_btl.notes.loading import Source, open_pipeline
from spacy_btl.notes.notes import Note
from spacy_btl.pipeline.thresholds import Thresholds
from spacy_btl.pipelines import fingerprint, model_name
from spacy_btl.training.uncalibrated import uncalibrated

BATCH = 16  # notes: so few that `annotate_notes` never takes the pipeline for the cause of failures
DIGITS = 8  # of a fingerprint, in a version


@dataclass(frozen=True)
class Loaded:
    """A pipeline, and what answers say of it.

    name (str): Its name, as its package has it.
    version (str): Its version, and the beginning of its fingerprint: a tool takes predictions of
        the version that it is told for current, so another training has to be another version.
    uncalibrated (str): Why its confidence is not calibrated; empty if it is.
    """

    nlp: Language
    name: str
    version: str
    uncalibrated: str

    @property
    def system(self) -> str:
        """Its name and version."""
        return f"{self.name} {self.version}"


class Predicted(NamedTuple):
    """The mentions of each text, or why there are none, and what found them."""

    notes: list[list[Entity] | str]
    by: Loaded


class Model:
    """A pipeline for several threads.

    model (str): A package name or a folder.
    thresholds (Optional[Thresholds]): In place of its own `min_confidence`, and of its successors'.
    RAISES: BtlError, if it cannot be loaded.
    """

    def __init__(self, model: str, thresholds: Thresholds | None = None) -> None:
        self._lock = Lock()
        self._thresholds = thresholds
        self.current = _load(Source(model, thresholds=thresholds))

    def replace(self, model: str) -> None:
        """Take another pipeline. Requests wait for it. RAISES: As the class."""
        with self._lock:  # loading touches settings of torch that all threads share
            self.current = _load(Source(model, thresholds=self._thresholds))

    def predict(self, texts: Sequence[str]) -> Predicted:
        """Find the mentions of texts, in their order.

        Nothing of the texts is kept: what the pipeline's vocabulary learned of them is dropped.
        """
        found: list[list[Entity] | str] = []
        notes = (Note(number, text, where="") for number, text in enumerate(texts))
        with self._lock:
            by = self.current
            for batch in minibatch(notes, BATCH):
                with by.nlp.memory_zone():
                    annotated = annotate_notes(by.nlp, batch, batch_size=BATCH)
                of_note: dict[str | int, list[Entity]] = {note.id: [] for note in batch}
                for entity in annotated.entities:
                    of_note[entity.note_id].append(entity)
                reasons = {failure.note_id: failure.reason for failure in annotated.failures}
                found += [reasons.get(note.id) or of_note[note.id] for note in batch]
        return Predicted(found, by)


def _load(source: Source) -> Loaded:
    nlp = open_pipeline(source)
    if nlp.path is None:
        raise ServeError("This pipeline is not saved. Save it, and give its folder.")
    name, version = model_name(nlp)
    return Loaded(nlp, name, f"{version}-{fingerprint(nlp.path)[:DIGITS]}", uncalibrated(nlp))
