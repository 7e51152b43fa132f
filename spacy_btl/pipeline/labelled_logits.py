"""What a calibrator is fitted to: the logits of annotated tokens, and how often each tag occurs."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Example

from spacy_btl.errors import CalibratorError
from spacy_btl.neighbors.store import Store
from spacy_btl.pipeline.annotations import LOGITS
from spacy_btl.pipeline.btl_ner import BtlNer
from spacy_btl.tags import MISSING

# Docs that are held with all that the encoder left on them.
BATCH_SIZE = 32


def labelled_logits(
    nlp: Language, examples: Iterable[Example], *, ner: BtlNer, before: str
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Run part of a pipeline over copies of the predicted docs and read their logits.

    ner (BtlNer): The pipe that the logits come from.
    before (str): The first pipe that is not run.
    RETURNS (Tuple[float32 [M, C], int64 [M]]): Logits and gold tags of the tokens that are
        annotated and that the encoder saw.
    RAISES: CalibratorError, if the docs carry no logits; PipelineError, for an entity type that
        the `ner` pipe lacks.
    """
    names = nlp.pipe_names
    if before not in names:
        raise CalibratorError(f"'{before}' is not in the pipeline {names}: add or enable it first.")
    scheme = ner.tag_scheme
    logits = [np.zeros((0, len(scheme)), dtype="float32")]
    tags = [np.zeros(0, dtype="int64")]
    # As tuples, so that a doc that an error handler drops takes its annotation with it.
    pairs = ((example.predicted.copy(), example.reference) for example in examples)
    with nlp.select_pipes(disable=names[names.index(before) :]):
        for doc, reference in nlp.pipe(pairs, as_tuples=True, batch_size=BATCH_SIZE):
            doc_logits = read_logits(doc, len(scheme), ner=ner.name, reader=before)
            doc_tags = scheme.encode(Example(doc, reference))
            keep = (doc_tags != MISSING) & doc_logits.any(axis=1)
            logits.append(doc_logits[keep])
            tags.append(doc_tags[keep])
    return np.concatenate(logits), np.concatenate(tags)


def read_logits(doc: Doc, n_tags: int, *, ner: str, reader: str) -> NDArray[np.float32]:
    """The raw logits on a doc, float32 [T, C].

    ner (str): The name of the pipe that wrote them, for an error.
    reader (str): The name of the pipe that wants them.
    RAISES: CalibratorError, if there are none, or those of another number of tags.
    """
    logits = doc._.get(LOGITS)
    if logits is None:
        raise CalibratorError(
            f"A doc reached '{reader}' without token logits. It must run after the btl_ner pipe "
            f"'{ner}' and before any doc_cleaner that drops `doc._.{LOGITS}`."
        )
    if logits.shape[1] != n_tags:
        raise CalibratorError(
            f"'{reader}' was fitted to {n_tags} tags, and the pipe '{ner}' emits "
            f"{logits.shape[1]}. Fit the calibrator again."
        )
    return logits


def make_store(ner: BtlNer, logits: NDArray[np.float32], tags: NDArray[np.int64]) -> Store:
    """A store of labelled logits [M, C] with the training frequencies of the `ner` pipe's tags."""
    return Store(
        logits=logits,
        tags=tags.astype("int16"),
        prior=ner.prior,
        labels=ner.labels,
        scheme=ner.tag_scheme.scheme,
    )


def empty_store(ner: BtlNer) -> Store:
    """A store without rows, for where only the softmax is read."""
    n_tags = len(ner.tag_scheme)
    return make_store(ner, np.zeros((0, n_tags), "float32"), np.zeros(0, "int64"))
