"""The encoder of a compiled pipeline, as the model of spaCy's own `tok2vec` pipe."""

from collections.abc import Callable
from functools import partial
from typing import Any, cast

import numpy as np
from spacy import registry
from spacy.tokens import Doc
from thinc.api import Model
from thinc.types import Floats2d, Ints1d, Ragged

from spacy_btl.compiled.engine import make_inputs
from spacy_btl.compiled.shim import CANNOT_TRAIN, CompiledShim
from spacy_btl.errors import PipelineError
from spacy_btl.models.like_length import passes_of_like_length
from spacy_btl.models.windows import WordpieceWindows

# What a pass costs by itself, in wordpieces of padding.
PASS = 128

Vectors = list[Floats2d]


@registry.architectures("spacy_btl.CompiledTransformer.v1")
def compiled_transformer(
    pooling: Model[Ragged, Floats2d],
    window: int = 256,
    overlap: int = 64,
    max_wordpieces: int = 8192,
) -> Model[list[Doc], Vectors]:
    """Build the model of a `tok2vec` pipe that reads docs by a compiled encoder. It predicts only;
    `python -m spacy btl compile` makes it of a trained pipeline, whose settings it keeps.

    pooling (Model[Ragged, float32 [T, D]]): From wordpiece to token vectors: `reduce_mean.v1`.
    window (int): Wordpieces per window.
    overlap (int): Wordpieces that neighbouring windows share.
    max_wordpieces (int): Wordpieces, padding included, of one forward pass.
    RETURNS (Model[List[Doc], List[float32 [T, D]]]): A vector for each token; zeros for one that
        the encoder did not see.

    >>> from spacy_btl import compiled_transformer
    >>> from thinc.api import reduce_mean
    >>> encoder = compiled_transformer(reduce_mean(), window=256, overlap=32)
    """
    windows = WordpieceWindows(window, overlap)
    forward = partial(_forward, windows=windows, max_wordpieces=max_wordpieces)
    return Model(
        "compiled_transformer",
        forward,
        init=_init,
        layers=[pooling],
        shims=[CompiledShim()],
        dims={"nO": None},
    )


def shim_of(model: Model[list[Doc], Vectors]) -> CompiledShim:
    """What a compiled encoder holds."""
    return cast(CompiledShim, model.shims[0])


def _init(model: Model, X: Any = None, Y: Any = None) -> None:
    raise PipelineError(CANNOT_TRAIN)


def _forward(
    model: Model,
    docs: list[Doc],
    is_train: bool,
    *,
    windows: WordpieceWindows,
    max_wordpieces: int,
) -> tuple[Vectors, Callable[[Vectors], list[Doc]]]:
    shim = shim_of(model)
    if is_train:
        raise PipelineError(CANNOT_TRAIN)
    if shim.network is None:
        raise PipelineError("This compiled encoder is empty: load it from a saved pipeline.")
    batch = windows(docs, shim.tokenizer.read(docs), shim.tokenizer)
    if not len(batch.places):
        unseen = [model.ops.alloc2f(len(doc), shim.network.width) for doc in docs]
        return unseen, lambda d_vectors: docs
    # Of the passes only the vectors of wordpieces of tokens are kept.
    window, column = np.divmod(batch.places, batch.ids.shape[1])
    found = np.zeros((len(batch.places), shim.network.width), dtype="float32")
    sizes = batch.mask.sum(axis=1).astype(int).tolist()
    for rows in passes_of_like_length(sizes, max_wordpieces, PASS):
        part = (rows, slice(sizes[rows[0]]))  # as wide as the longest
        types = None if batch.types is None else batch.types[part]
        hidden = shim.network.run(make_inputs(batch.ids[part], batch.mask[part], types))
        in_pass = np.full(len(batch.ids), -1)
        in_pass[rows] = np.arange(len(rows))
        read = np.flatnonzero(in_pass[window] >= 0)
        found[read] = hidden[in_pass[window[read]], column[read]]
    lengths = cast(Ints1d, batch.lengths)
    pooled = model.layers[0].predict(Ragged(model.ops.asarray2f(cast(Floats2d, found)), lengths))
    borders = np.cumsum([len(doc) for doc in docs])[:-1].tolist()
    return model.ops.xp.split(pooled, borders), lambda d_vectors: docs
