"""From notes to the entities that a pipeline finds in them, and to the notes that fail."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from spacy.language import Language
from spacy.tokens import Doc, Span
from spacy.util import minibatch

from spacy_btl.annotate.notes import Note
from spacy_btl.errors import AnnotateError, BtlError
from spacy_btl.pipeline.annotations import confidence

MANY = 20  # notes that do not all fail by chance
DIGITS = 6  # of a confidence: what is beyond them depends on the batch


class Entity(NamedTuple):
    """An entity of a note.

    start, end (int): Characters of the note's text, end exclusive.
    confidence (Optional[float]): `ent._.confidence`; None where the pipeline gives none.
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
    """Some notes, the entities of those that were annotated, and those that were not."""

    notes: list[Note]
    entities: list[Entity]
    failures: list[Failure]


def annotate_notes(nlp: Language, notes: Sequence[Note], *, batch_size: int) -> Annotated:
    """Annotate notes in batches of a fixed composition, so that the same notes give the same
    figures to the last digit.

    A batch that fails, in whatever pipe, is halved until the notes that fail are alone.

    RAISES: AnnotateError, if all of many notes fail: a broken machine is not the notes' fault, and
        to list them as failed would be to lose them.
    """
    reasons = [unreadable(note, nlp.max_length) for note in notes]
    good = [note for note, reason in zip(notes, reasons, strict=True) if not reason]
    batches = minibatch(good, size=batch_size)
    docs = (doc for batch in batches for doc in docs_of(nlp, batch))
    entities: list[Entity] = []
    failures: list[Failure] = []
    for note, reason in zip(notes, reasons, strict=True):
        found = reason or next(docs)
        if isinstance(found, Doc):
            entities += entities_of(note.id, found.ents)
        else:
            failures.append(Failure(note.id, note.where, found))
    if len(good) >= MANY and len(failures) == len(notes):
        raise AnnotateError(
            f"All of {len(good)} notes failed, the last with {failures[-1].reason}: that is hardly "
            "the notes' fault. Mend the cause and give the command again; what is done stays done."
        )
    return Annotated(list(notes), entities, failures)


def stop_at_failure(annotated: Annotated) -> None:
    """RAISES: AnnotateError, if a note failed."""
    for failure in annotated.failures:
        raise AnnotateError(f"{failure.where}: this note cannot be annotated: {failure.reason}.")


def unreadable(note: Note, max_length: int) -> str:
    """Why a note cannot be given to a pipeline; empty if it can."""
    if note.text is None:
        return note.missing
    if len(note.text) > max_length:
        return f"{len(note.text)} characters, and the pipeline reads {max_length} at most"
    return ""


def docs_of(nlp: Language, notes: list[Note]) -> list[Doc | str]:
    """The doc of each note, or the reason why there is none."""
    reason = "dropped by the pipeline"  # whose error handler passes over what fails
    docs: list[Doc] = []
    try:
        docs = list(nlp.pipe([note.text or "" for note in notes]))
    except Exception as error:  # noqa: BLE001 - a pipe may raise any
        # Only our own messages are known to quote no text.
        reason = type(error).__name__ + (f": {error}" if isinstance(error, BtlError) else "")
    if len(docs) == len(notes):
        return [*docs]
    if len(notes) == 1:
        return [reason]
    half = len(notes) // 2
    return docs_of(nlp, notes[:half]) + docs_of(nlp, notes[half:])


def entities_of(note_id: str | int, spans: Iterable[Span]) -> Iterator[Entity]:
    """The entities of a note, from spans of its doc."""
    for ent in spans:
        value = confidence(ent)
        rounded = None if value is None else round(float(value), DIGITS)
        yield Entity(note_id, ent.start_char, ent.end_char, ent.text, ent.label_, rounded)
