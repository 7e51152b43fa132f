"""Run a pipeline over notes: their entities, and the notes that fail."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from spacy.language import Language
from spacy.tokens import Doc, Span
from spacy.util import minibatch

from spacy_btl.annotate.notes import Note
from spacy_btl.errors import AnnotateError, BtlError
from spacy_btl.pipeline.annotations import confidence

MANY = 20  # notes: if so many fail and none succeeds, the cause is elsewhere
DIGITS = 6  # of a confidence: further ones depend on the batch


class Entity(NamedTuple):
    """An entity of a note.

    start, end (int): Characters of the note's text, end exclusive.
    confidence (Optional[float]): `ent._.confidence`; None if the pipeline gives none.
    """

    note_id: str | int
    start: int
    end: int
    text: str
    label: str
    confidence: float | None


class Failure(NamedTuple):
    """A note that was not annotated, and why. The reason never quotes the note."""

    note_id: str | int
    where: str
    reason: str


class Annotated(NamedTuple):
    """Notes, the entities of those that were annotated, and the failures."""

    notes: list[Note]
    entities: list[Entity]
    failures: list[Failure]


def annotate_notes(nlp: Language, notes: Sequence[Note], *, batch_size: int) -> Annotated:
    """Annotate notes in batches of fixed composition, so that results are reproducible exactly.

    A batch that fails in any pipe is halved until the failing notes are isolated.

    RAISES: AnnotateError, if all of many notes fail. Then the machine or the pipeline is the likely
        cause, and the notes are not listed as failed.
    """
    reasons = [unreadable(note, nlp.max_length) for note in notes]
    good = [note for note, reason in zip(notes, reasons, strict=True) if not reason]
    batches = minibatch(good, size=batch_size)
    docs = (doc for batch in batches for doc in docs_of(nlp, batch))
    entities: list[Entity] = []
    failures: list[Failure] = []
    for note, reason in zip(notes, reasons, strict=True):
        result = reason or next(docs)
        if isinstance(result, Doc):
            entities += entities_of(note.id, result.ents)
        else:
            failures.append(Failure(note.id, note.where, result))
    if len(good) >= MANY and len(failures) == len(notes):
        raise AnnotateError(
            f"All {len(good)} notes failed, the last with {failures[-1].reason}. The notes are "
            "unlikely to be the cause. Remove the cause and run the command again: finished parts "
            "are kept."
        )
    return Annotated(list(notes), entities, failures)


def stop_at_failure(annotated: Annotated) -> None:
    """Raise an AnnotateError if a note failed."""
    for failure in annotated.failures:
        raise AnnotateError(f"{failure.where}: this note cannot be annotated: {failure.reason}.")


def unreadable(note: Note, max_length: int) -> str:
    """Return why a pipeline cannot read a note; empty if it can."""
    if note.text is None:
        return note.missing
    if len(note.text) > max_length:
        return f"{len(note.text)} characters, and the pipeline reads at most {max_length}"
    return ""


def docs_of(nlp: Language, notes: list[Note]) -> list[Doc | str]:
    """Return the doc of each note, or why there is none."""
    reason = "dropped by the pipeline"  # by its error handler
    docs: list[Doc] = []
    try:
        docs = list(nlp.pipe([str(note.text) for note in notes]))
    except Exception as error:  # noqa: BLE001 - a pipe can fail in any way
        # Messages of other errors may quote the note.
        reason = type(error).__name__ + (f": {error}" if isinstance(error, BtlError) else "")
    if len(docs) == len(notes):
        return [*docs]
    if len(notes) == 1:
        return [reason]
    half = len(notes) // 2
    return docs_of(nlp, notes[:half]) + docs_of(nlp, notes[half:])


def entities_of(note_id: str | int, spans: Iterable[Span]) -> Iterator[Entity]:
    """Turn spans of a doc into entities of its note."""
    for ent in spans:
        value = confidence(ent)
        rounded = None if value is None else round(float(value), DIGITS)
        yield Entity(note_id, ent.start_char, ent.end_char, ent.text, ent.label_, rounded)
