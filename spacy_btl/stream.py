"""Run a pipe over a stream so that a failing note does not fail others."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

from spacy.tokens import Doc
from spacy.util import minibatch


class AnnotatingPipe(Protocol):
    """A pipe that predicts and annotates in two steps, as spaCy's `TrainablePipe` does."""

    name: str

    def get_error_handler(self) -> Callable[..., None]:
        """The function that takes the docs that fail, as for `Pipe`."""
        ...

    def predict(self, docs: Iterable[Doc]) -> Any:
        """Compute what is to be written on docs."""
        ...

    @property
    def set_annotations(self) -> Callable[..., None]:
        """Write a prediction on docs."""
        ...


def annotate_stream(
    pipe: AnnotatingPipe, stream: Iterable[Doc], batch_size: int, **settings: Any
) -> Iterator[Doc]:
    """Predict and annotate in batches; a batch that fails is tried again note by note.

    spaCy's own `TrainablePipe.pipe` hands its error handler the whole batch, whose good notes are
    then lost. Here the handler gets the failing note alone.

    settings: For the pipe's `set_annotations`.
    """
    for docs in minibatch(stream, size=batch_size):
        try:
            pipe.set_annotations(docs, pipe.predict(docs), **settings)
        except Exception:  # noqa: BLE001 - the error handler decides
            yield from _annotate_singly(pipe, docs, settings)
        else:
            yield from docs


def _annotate_singly(
    pipe: AnnotatingPipe, docs: list[Doc], settings: dict[str, Any]
) -> Iterator[Doc]:
    for doc in docs:
        try:
            pipe.set_annotations([doc], pipe.predict([doc]), **settings)
        except Exception as error:  # noqa: BLE001 - the error handler decides
            pipe.get_error_handler()(pipe.name, pipe, [doc], error)
        else:
            yield doc
