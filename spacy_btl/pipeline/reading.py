"""Reading documents for a calibrator: their logits by a pipeline, beside what is annotated."""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from spacy.language import Language
from spacy.training import Example

from spacy_btl.calibration.held_out import HeldOut, concatenate
from spacy_btl.lines import read_lines
from spacy_btl.pipeline.btl_ner import BtlNer
from spacy_btl.pipeline.logits import read_logits
from spacy_btl.tags import TagScheme, trim_gold

# Docs that are held with all that the encoder left on them.
BATCH_SIZE = 32


def read_held_out(
    nlp: Language,
    examples: Iterable[Example],
    *,
    ner: BtlNer,
    reader: str,
    disable: Sequence[str] = (),
    strict: bool = False,
) -> HeldOut:
    """Run a pipeline over copies of the predicted docs of examples and read the tokens.

    ner (BtlNer): The pipe that the logits come from.
    reader (str): What wants them, for an error.
    disable (Sequence[str]): Pipes that are not run.
    strict (bool): Whether an entity type that the `ner` pipe lacks is an error. Otherwise its
        tokens have no tag (with `spans_key`, those of the other types), and its entities are there
        to be missed.
    RAISES: CalibratorError, if the docs carry no logits; PipelineError, for such a type, if strict.
    """
    scheme = ner.tag_scheme
    pairs = (
        (example.predicted.copy(), (number, example.reference))
        for number, example in enumerate(examples)
    )
    parts = [_empty(scheme)]
    docs = nlp.pipe(pairs, as_tuples=True, batch_size=BATCH_SIZE, disable=list(disable))
    for doc, (number, reference) in docs:
        logits = read_logits([doc], scheme, ner=ner.name, reader=reader)
        example = trim_gold(Example(doc, reference))
        parts.append(_read(example, logits, scheme, number, strict))
    return concatenate(parts)


def _empty(scheme: TagScheme) -> HeldOut:
    return HeldOut(
        logits=np.zeros((0, scheme.n_columns), "float32"),
        tags=np.zeros((0, *scheme.tag_shape), scheme.tag_dtype),
        documents=np.zeros(0, "int32"),
        starts=np.zeros(0, "int32"),
        ends=np.zeros(0, "int32"),
        breaks=np.zeros(0, "int8"),
        short=np.zeros(0, "bool"),
        gold_starts=np.zeros(0, "int64"),
        gold_ends=np.zeros(0, "int64"),
        annotated=np.zeros(0, "bool"),
        gold_ents=np.zeros((0, 3), "int64"),
    )


def _read(
    example: Example, logits: NDArray[np.float32], scheme: TagScheme, number: int, strict: bool
) -> HeldOut:
    doc, reference = example.predicted, example.reference
    tags = scheme.encode(example, strict=strict).astype(scheme.tag_dtype)
    mentions, known = scheme.annotation(reference)
    numbers, breaks, short = read_lines(doc)
    words = [doc[i] for i in numbers.tolist()]
    aligned = [example.alignment.x2y[token.i] for token in words]
    types = {label: i for i, label in enumerate(scheme.types, start=1)}
    ents = [(start, end, types.get(label, 0)) for start, end, label in mentions]
    return HeldOut(
        logits=logits[numbers],
        tags=tags[numbers],
        documents=np.full(len(words), number, dtype="int32"),
        starts=np.array([token.idx for token in words], dtype="int32"),
        ends=np.array([token.idx + len(token) for token in words], dtype="int32"),
        breaks=breaks,
        short=short,
        gold_starts=np.array([a[0] if len(a) else -1 for a in aligned], dtype="int64"),
        gold_ends=np.array([a[-1] + 1 if len(a) else -1 for a in aligned], dtype="int64"),
        annotated=known,
        gold_ents=np.array(ents, dtype="int64").reshape(-1, 3),
    )
