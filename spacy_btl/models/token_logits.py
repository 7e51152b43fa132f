"""The head: a linear layer from token vectors to raw logits."""

from collections.abc import Callable, Iterable
from functools import partial
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray
from spacy import registry
from spacy.tokens import Doc
from thinc.api import Dropout, Linear, Model, Ops, chain, glorot_uniform_init
from thinc.types import Floats2d

Vectors = list[Floats2d]
OVER_SEEN = "over_seen_tokens"  # the name of the layer around the head


@registry.architectures("spacy_btl.TokenLogits.v1")
def token_logits(
    tok2vec: Model[list[Doc], Vectors], nO: int | None = None, scale: float = 1.0
) -> Model[list[Doc], Vectors]:
    """A linear layer over token vectors, without softmax.

    A token that the encoder never saw (white space, a lone zero-width character) has a zero vector.
    Its logits are zero too, without the bias, so that argmax is `O` and `unseen_tokens` counts it.

    tok2vec (Model[List[Doc], List[float32 [T, W]]]): Any token encoder: a TransformerListener, an
        encoder of the pipe's own, spaCy's HashEmbedCNN.
    nO (Optional[int]): The number of tags C; left open, `initialize` finds it.
    scale (float): Multiplies the logits. Adam moves each weight by about the learning rate, so this
        multiplies the head's rate: 10 lets a new head keep up with a pretrained encoder.
    RETURNS (Model[List[Doc], List[float32 [T, C]]]): Raw logits, one row per token.

    >>> from spacy_btl import token_logits
    >>> tok2vec = nlp.get_pipe("ner").model.get_ref("tok2vec")
    >>> token_logits(tok2vec, nO=3).get_dim("nO")
    3
    """
    width = tok2vec.get_dim("nO") if tok2vec.has_dim("nO") else None
    head = Linear(nO=nO, nI=width, init_W=partial(_init_weights, scale=scale))
    model: Model[list[Doc], Vectors] = chain(tok2vec, Dropout(), over_seen_tokens(head, scale))
    model.set_ref("tok2vec", tok2vec)
    return model


def start_from(model: Model, logits: NDArray[np.floating]) -> None:
    """Let an initialized network begin with the same logits for all tokens, as its bias: those of
    the frequencies of tags spare it to learn first that most of them are rare (Lin et al. 2017,
    section 3.3). Other architectures are left as they are.

    logits (float [C]): Raw logits.
    """
    for layer in model.walk():
        if layer.name == OVER_SEEN and layer.layers[0].has_param("b"):
            head, scale = layer.layers[0], layer.attrs["scale"]
            head.set_param("b", head.ops.asarray1f(logits / scale))


def missing_upstream(model: Model, docs: Iterable[Doc]) -> str | None:
    """Find a pipe that a model listens to and that did not run on one of the docs. Such a listener
    gives zeros, as for unseen tokens.

    RETURNS (Optional[str]): "transformer", "tok2vec", or None if none is missing.
    """
    layers = {layer.name for layer in model.walk()}
    for doc in filter(len, docs):
        vectors = doc._.trf_data if doc.has_extension("trf_data") else None
        if "transformer-listener" in layers and vectors is None:
            return "transformer"
        if "tok2vec-listener" in layers and not doc.tensor.size:
            return "tok2vec"
    return None


def head_digest(model: Model) -> str:
    """A digest of the weights behind the `tok2vec` of a model, which changes when it is trained.

    A frozen head keeps its digest. The encoder's weights are too many to read for each batch.
    """
    encoder = model.get_ref("tok2vec").walk() if "tok2vec" in model.ref_names else ()
    passed_over = {layer.id for layer in encoder}
    digest = blake2b(digest_size=16)
    for layer in model.walk():
        for name in layer.param_names if layer.id not in passed_over else ():
            if layer.has_param(name):
                digest.update(layer.ops.to_numpy(layer.get_param(name)).tobytes())
    return digest.hexdigest()


def _init_weights(ops: Ops, shape: tuple[int, int], scale: float) -> Floats2d:
    return glorot_uniform_init(ops, shape) / scale


def over_seen_tokens(layer: Model[Floats2d, Floats2d], scale: float) -> Model[Vectors, Vectors]:
    """Run a layer over the tokens that have a vector, of all docs at once; the rest stay zero."""
    return Model(
        OVER_SEEN,
        _forward,
        init=_init,
        layers=[layer],
        dims={"nO": layer.get_dim("nO") if layer.has_dim("nO") else None},
        attrs={"scale": scale},
    )


def _forward(
    model: Model[Vectors, Vectors], X: Vectors, is_train: bool
) -> tuple[Vectors, Callable[[Vectors], Vectors]]:
    xp = model.ops.xp
    layer, scale = model.layers[0], model.attrs["scale"]
    width = layer.get_dim("nI")
    # The vectors of an empty doc have no width at all.
    X = [x if len(x) else model.ops.alloc2f(0, width) for x in X]
    splits = np.cumsum([len(x) for x in X])[:-1].tolist()
    vectors = xp.concatenate(X)
    seen = vectors.any(axis=1)
    Y_seen, backprop_layer = layer(vectors[seen], is_train)
    Y = model.ops.alloc2f(len(vectors), layer.get_dim("nO"))
    Y[seen] = Y_seen * scale

    def backprop(dY: Vectors) -> Vectors:
        dX = xp.zeros_like(vectors)
        dX[seen] = backprop_layer(xp.concatenate(dY)[seen] * scale)
        return xp.split(dX, splits)

    return xp.split(Y, splits), backprop


def _init(
    model: Model[Vectors, Vectors], X: Vectors | None = None, Y: Vectors | None = None
) -> None:
    layer = model.layers[0]
    xp = model.ops.xp
    layer.initialize(
        X=xp.concatenate([x for x in X if len(x)]) if X is not None and any(map(len, X)) else None,
        Y=xp.concatenate(Y) if Y is not None else None,
    )
    model.set_dim("nO", layer.get_dim("nO"))
