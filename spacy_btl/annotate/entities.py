"""From notes to the entities that a pipeline finds in them, and to the notes that fail."""

from collections.abc import Sequence
from typing import NamedTuple

from spacy.language import Language
from spacy.tokens import Doc
from spacy.util import minibatch

from spacy_btl.annotate.notes import Note
from spacy_btl.errors import AnnotateError, BtlError

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

    A batch that fails is tried again note by note, whatever pipe it is that fails.
    """
    entities: list[Entity] = []
    failures = [
        Failure(note.id, note.where, reason)
        for note in notes
        if (reason := _unreadable(note, nlp.max_length))
    ]
    good = [note for note in notes if not _unreadable(note, nlp.max_length)]
    for batch in minibatch(good, size=batch_size):
        for note, doc in zip(batch, _docs(nlp, batch), strict=True):
            if isinstance(doc, Doc):
                entities += _entities(note, doc)
            else:
                failures.append(Failure(note.id, note.where, doc))
    return Annotated(list(notes), entities, failures)


def stop_at_failure(annotated: Annotated) -> None:
    """RAISES: AnnotateError, if a note failed."""
    for failure in annotated.failures:
        raise AnnotateError(f"{failure.where}: this note cannot be annotated: {failure.reason}.")


def _unreadable(note: Note, max_length: int) -> str:
    if note.text is None:
        return note.missing
    if len(note.text) > max_length:
        return f"{len(note.text)} characters, and the pipeline reads {max_length} at most"
    return ""


def _docs(nlp: Language, notes: list[Note]) -> list[Doc | str]:
    """The doc of each note, or the reason why there is none."""
    try:
        texts = ((note.text, number) for number, note in enumerate(notes))
        found = {number: doc for doc, number in nlp.pipe(texts, as_tuples=True)}
    except Exception:
        return [_doc(nlp, note) for note in notes]
    # A pipe whose error handler drops a note leaves a gap.
    return [
        found[number] if number in found else _doc(nlp, note) for number, note in enumerate(notes)
    ]


def _doc(nlp: Language, note: Note) -> Doc | str:
    try:
        docs = list(nlp.pipe([note.text]))
    except Exception as error:
        # Only our own messages are known to quote no text.
        name = type(error).__name__
        return f"{name}: {error}" if isinstance(error, BtlError) else name
    return docs[0] if docs else "dropped by the pipeline"


def _entities(note: Note, doc: Doc) -> list[Entity]:
    has_confidence = doc.ents and doc.ents[0].has_extension("confidence")
    found = []
    for ent in doc.ents:
        value = ent._.confidence if has_confidence else None
        confidence = None if value is None else round(float(value), DIGITS)
        found.append(
            Entity(note.id, ent.start_char, ent.end_char, ent.text, ent.label_, confidence)
        )
    return found
