"""Soft labels: the probabilities of a calibrated pipeline, by which another one is trained.

This is knowledge distillation (Hinton et al. 2015, arXiv 1503.02531) for decisions per type: the
copy for a type needs to know of a token only how probable that type is.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from spacy.tokens import Doc
from spacy.training import Example

from spacy_btl.errors import PipelineError
from spacy_btl.lines import white_space
from spacy_btl.mentions import OverlappingScheme
from spacy_btl.pipeline.annotations import PROBABILITIES, WRITER
from spacy_btl.tags import MISSING, TagScheme

# In `doc.user_data`: float16 [T, K, W + 2], for each of K types the probability of its W tags, and
# of a mention that begins, or ends, with the token.
SOFT_LABELS = "btl_soft_labels"


def label_softly(doc: Doc, source: Doc) -> None:
    """Give a doc the probabilities that a calibrator left on another one, of the same tokens."""
    doc.user_data[SOFT_LABELS] = source._.get(PROBABILITIES)[:, :, 1:].astype("float16")
    doc.user_data[WRITER] = {"tags": source.user_data[WRITER]["tags"]}


def targets_of(example: Example, scheme: TagScheme) -> NDArray[np.number]:
    """What a network learns of an example: its soft labels if it has some, or its annotation.

    RAISES: PipelineError, for soft labels of other tags or tokens, or where types compete.
    """
    if SOFT_LABELS not in example.reference.user_data:
        return scheme.targets(example)
    if not isinstance(scheme, OverlappingScheme):
        raise PipelineError(
            "Soft labels are probabilities of types that are decided one by one: give the pipe a "
            "spans_key to train by them."
        )
    return _read(example, scheme)


def _read(example: Example, scheme: OverlappingScheme) -> NDArray[np.float32]:
    """float32 [T, C - 1]; those of white space are MISSING."""
    doc, reference = example.predicted, example.reference
    p = np.asarray(reference.user_data[SOFT_LABELS], dtype="float32")
    if tuple(reference.user_data[WRITER]["tags"]) != scheme.tags:
        raise PipelineError(
            "The soft labels of a document are of other types than this pipe has: make them with a "
            "pipeline of the same types."
        )
    if [token.text for token in doc] != [token.text for token in reference]:
        raise PipelineError(
            "The soft labels of a document are of other tokens than this pipeline makes of it: "
            "make them with a pipeline that has the same tokenizer."
        )
    n_tokens = len(doc)
    tags, starts, ends = p[:, :, :-2], p[:, :, -2], p[:, :, -1]
    soft = np.hstack([tags.reshape(n_tokens, -1), starts, ends])
    soft[white_space(doc)] = MISSING
    return soft


def joined(targets: Sequence[NDArray[np.number]], scheme: TagScheme) -> NDArray[np.number]:
    """The targets of several examples in one array. If one has soft labels, annotation is brought
    into their form."""
    if isinstance(scheme, OverlappingScheme) and any(one.dtype.kind == "f" for one in targets):
        targets = [one if one.dtype.kind == "f" else _as_soft(one, scheme) for one in targets]
    return np.concatenate(targets)


def _as_soft(targets: NDArray[np.number], scheme: OverlappingScheme) -> NDArray[np.float32]:
    n_types = len(scheme.types)
    tags, borders = targets[:, :n_types], targets[:, n_types:]
    of_tags = tags[:, :, None] == 1 + np.arange(scheme.width)
    soft = np.hstack([of_tags.reshape(len(tags), -1), borders]).astype("float32")
    soft[(tags == MISSING).any(axis=1)] = MISSING
    return soft
