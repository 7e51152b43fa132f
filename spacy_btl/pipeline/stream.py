"""Running a pipe over a stream so that a failing note takes no other note with it."""

from collections.abc import Iterable, Iterator
from typing import Any

from spacy.pipeline import Pipe
from spacy.tokens import Doc
from spacy.util import minibatch


def annotate_stream(
    pipe: Pipe, stream: Iterable[Doc], batch_size: int, **settings: Any
) -> Iterator[Doc]:
    """Predict and annotate in batches; a batch that fails is tried again note by note.

    spaCy's own `TrainablePipe.pipe` hands its error handler the whole batch, whose good notes are
    then lost. Here the handler gets the failing note alone.

    settings: For the pipe's `set_annotations`.
    """
    for docs in minibatch(stream, size=batch_size):
        try:
            pipe.set_annotations(docs, pipe.predict(docs), **settings)
        except Exception:
            yield from _annotate_singly(pipe, docs, settings)
        else:
            yield from docs


def _annotate_singly(pipe: Pipe, docs: list[Doc], settings: dict[str, Any]) -> Iterator[Doc]:
    for doc in docs:
        try:
            pipe.set_annotations([doc], pipe.predict([doc]), **settings)
        except Exception as error:
            pipe.get_error_handler()(pipe.name, pipe, [doc], error)
        else:
            yield doc
