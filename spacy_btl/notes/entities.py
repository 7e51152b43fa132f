"""Run a pipeline over notes: their mentions, and the notes that fail."""

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import NamedTuple

from spacy.language import Language
from spacy.pipeline import EntityLinker
from spacy.tokens import Doc, Span
from spacy.util import minibatch

from spacy_btl.context.assertions import Assertions, assertions
from spacy_btl.context.sections import section
from spacy_btl.errors import AnnotateError, BtlError
from spacy_btl.notes.notes import Note
from spacy_btl.pipeline.annotations import FACTS, confidence
from spacy_btl.pipeline.btl_ner import BtlNer
from spacy_btl.preannotations.words import words_of

MANY = 20  # notes: if so many fail and none succeeds, the cause is elsewhere
COMPARED = 100  # notes of a part that are compared with the pipeline's held-out documents
DIGITS = 6  # of a confidence: further ones depend on the batch


class Entity(NamedTuple):
    """An entity of a note, or a mention that may overlap others.

    start, end (int): Characters of the note's text, end exclusive.
    confidence (Optional[float]): `span._.confidence`; None if the pipeline gives none.
    assertions (Optional[Assertions]): None if the pipeline writes none of it.
    section (Optional[str]): The heading above it, in lower case; None if there is none.
    kb_id (Optional[str]): The id that an `entity_linker` gave it, `ent.kb_id_`; None without one.
    """

    note_id: str | int
    start: int
    end: int
    text: str
    label: str
    confidence: float | None
    assertions: Assertions | None = None
    section: str | None = None
    kb_id: str | None = None


class Failure(NamedTuple):
    """A note that was not annotated, and why. The reason never quotes the note."""

    note_id: str | int
    where: str
    reason: str


class Annotated(NamedTuple):
    """Notes, the entities of those that were annotated, and the failures.

    words (int): The tokens of those that were annotated.
    seconds (float): What it took.
    facts (List[List[float]]): What some of the notes are compared with others by, evenly chosen;
        none where the pipeline has no held-out documents to compare with.
    """

    notes: list[Note]
    entities: list[Entity]
    failures: list[Failure]
    words: int = 0
    seconds: float = 0.0
    facts: Sequence[list[float]] = ()


def annotate_notes(
    nlp: Language,
    notes: Sequence[Note],
    *,
    batch_size: int,
    with_words: bool = False,
    on_batch: Callable[[Sequence[Note], int], None] = lambda notes, words: None,
) -> Annotated:
    """Annotate notes in batches of fixed composition, so that results are reproducible exactly.

    A batch that fails in any pipe is halved until the failing notes are isolated.

    with_words (bool): Add their tokens to the notes.
    on_batch (Callable[[Sequence[Note], int], None]): Called with the notes of a batch that is done,
        and the number of its tokens; and first with notes that cannot be read, if any, and 0.
    RAISES: AnnotateError, if all of many notes fail. Then the machine or the pipeline is the likely
        cause, and the notes are not listed as failed. Also for a pipeline whose mentions cannot be
        read: see `spans_keys` and `mentions_of`.
    """
    start = time.perf_counter()
    keys = spans_keys(nlp)
    reasons = [unreadable(note, nlp.max_length) for note in notes]
    good = [note for note, reason in zip(notes, reasons, strict=True) if not reason]
    if unread := [note for note, reason in zip(notes, reasons, strict=True) if reason]:
        on_batch(unread, 0)
    docs = _docs_of_batches(nlp, good, batch_size, on_batch)
    entities: list[Entity] = []
    failures: list[Failure] = []
    done: list[Note] = []
    n_words = 0
    facts: list[list[float]] = []
    for note, reason in zip(notes, reasons, strict=True):
        result = reason or next(docs)
        if isinstance(result, Doc):
            n_words += len(result)
            entities += entities_of(note.id, mentions_of(result, keys))
            facts += facts_of([result])
            words = words_of(result) if with_words else None
            done.append(note._replace(words=words))
        else:
            failures.append(Failure(note.id, note.where, result))
            done.append(note)
    if len(good) >= MANY and len(failures) == len(notes):
        raise AnnotateError(
            f"All {len(good)} notes failed, the last with {failures[-1].reason}. The notes are "
            "unlikely to be the cause. Remove the cause and run the command again: finished parts "
            "are kept."
        )
    return Annotated(
        done,
        entities,
        failures,
        n_words,
        time.perf_counter() - start,
        thinned(facts, COMPARED),
    )


def _docs_of_batches(
    nlp: Language,
    notes: Sequence[Note],
    batch_size: int,
    on_batch: Callable[[Sequence[Note], int], None],
) -> Iterator[Doc | str]:
    for batch in minibatch(notes, size=batch_size):
        docs = docs_of(nlp, batch)
        on_batch(batch, sum(len(doc) for doc in docs if isinstance(doc, Doc)))
        yield from docs


def facts_of(docs: Iterable[Doc]) -> list[list[float]]:
    """The rows by which notes are compared, see `calibration.reference`, of docs that have one."""
    return [doc.user_data[FACTS].tolist() for doc in docs if FACTS in doc.user_data]


def thinned(rows: list[list[float]], most: int) -> list[list[float]]:
    """At most so many rows, evenly chosen."""
    return rows[:: max(1, -(-len(rows) // most))]


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


def spans_keys(nlp: Language) -> list[str]:
    """The groups of spans that hold the mentions of a pipeline: the `spans_key` of each `btl_ner`.
    Without any, its mentions are those of `doc.ents`.

    RAISES: AnnotateError, for a pipe that merges or splits tokens behind such a `btl_ner`. spaCy
        leaves the token numbers of `doc.spans` as they are, so the spans would be of other words.
    """
    keys: list[str] = []
    for name, pipe in nlp.pipeline:
        if keys and nlp.get_pipe_meta(name).retokenizes:
            raise AnnotateError(
                f"The pipe '{name}' merges or splits tokens, and spaCy does not move the spans of "
                f"doc.spans[{keys[-1]!r}] with them. Remove it, or put it before the encoder."
            )
        if isinstance(pipe, BtlNer) and pipe.spans_key is not None:
            keys.append(pipe.spans_key)
    return keys


def mentions_of(doc: Doc, keys: Collection[str]) -> list[Span]:
    """The mentions of a doc, sorted by their boundaries, then by type; none twice.

    keys (Collection[str]): From `spans_keys`. The entities of other pipes, which are in `doc.ents`
        alone, are mentions too.
    RAISES: AnnotateError, for a doc without such a group.
    """
    found: dict[tuple[int, int, str], Span] = {}
    for key in keys:
        if key not in doc.spans:
            raise AnnotateError(
                f"The pipeline leaves no doc.spans[{key!r}], which holds its mentions: remove the "
                "pipe that deletes the group."
            )
        found |= {_place(span): span for span in doc.spans[key]}
    found |= {_place(ent): ent for ent in doc.ents}  # which alone have ids of a linker
    return [found[place] for place in sorted(found)]


def _place(span: Span) -> tuple[int, int, str]:
    return span.start_char, span.end_char, span.label_


def entities_of(note_id: str | int, spans: Iterable[Span]) -> Iterator[Entity]:
    """Turn spans of a doc into entities of its note."""
    for ent in spans:
        value = confidence(ent)
        rounded = None if value is None else round(float(value), DIGITS)
        kb_id = None if ent.kb_id_ in ("", EntityLinker.NIL) else ent.kb_id_
        yield Entity(
            note_id,
            ent.start_char,
            ent.end_char,
            ent.text,
            ent.label_,
            rounded,
            assertions(ent),
            section(ent),
            kb_id,
        )
