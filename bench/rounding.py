"""What rounding the weights of an encoder to int8 changes, part by part.

Everything is computed in float32, so that nothing but the rounded weights differs.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from spacy.language import Language

from spacy_btl.compiled.encoder import shim_of
from spacy_btl.compiled.engine import load_library
from spacy_btl.compiled.export import to_network

EMBEDDINGS = "embeddings"
ALL = "all weights"
# The products of an encoder by the length of vectors behind them, against that before.
SAME, LONGER, SHORTER = "same length", "longer", "shorter"
PARTS = (EMBEDDINGS, SAME, LONGER, SHORTER, ALL)


def round_part(nlp: Language, upstream: str, part: str) -> None:
    """Round one part of the weights of a pipeline that was compiled in float32."""
    openvino, nncf = (load_library(name, "compile") for name in ("openvino", "nncf"))
    nncf.set_log_level(40)
    shim = shim_of(nlp.get_pipe(upstream).model)
    network = shim.network
    weights = openvino.Tensor(np.frombuffer(network.weights, dtype="uint8"))  # a copy
    model = openvino.Core().read_model(network.graph, weights)
    kept = [name for name, kind in _layers(model) if part not in (kind, ALL)]
    rounded = nncf.compress_weights(
        model,
        mode=nncf.CompressWeightsMode.INT8_ASYM,
        ignored_scope=nncf.IgnoredScope(names=kept, validate=False),
    )
    shim.hold(to_network(rounded, "fp32", network.width), shim.tokenizer)


def _layers(model: Any) -> Iterator[tuple[str, str]]:
    """The name and the part of each node that has weights to round."""
    for node in model.get_ops():
        kind = node.get_type_name()
        if kind == "Gather":
            yield node.friendly_name, EMBEDDINGS
        elif kind == "MatMul":
            before, after = node.input_value(0).partial_shape[-1], node.output(0).partial_shape[-1]
            if before.is_static and after.is_static:
                lengths = before.get_length(), after.get_length()
                longer = LONGER if lengths[1] > lengths[0] else SAME
                yield node.friendly_name, SHORTER if lengths[1] < lengths[0] else longer
