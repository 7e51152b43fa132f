"""What a pipeline runs on, in words, for the summary of a job."""

from collections.abc import Iterator
from typing import Any

from spacy.language import Language
from thinc.api import Model, NumpyOps, get_current_ops
from thinc.util import has_torch

from spacy_btl.compiled.engine import Network, threads
from spacy_btl.compiled.shim import CompiledShim
from spacy_btl.errors import counted


def processor(nlp: Language) -> str:
    """What the encoder of a pipeline runs on: "GPU", or "CPU, 2 threads, bfloat16"."""
    if not isinstance(get_current_ops(), NumpyOps):
        return "GPU"
    for network in _compiled(nlp):
        return f"CPU, {counted(threads(), 'thread')}, compiled as {network.precision}"
    if not has_torch:
        return "CPU"
    import torch

    from spacy_btl.models.passes import cpu_has_bfloat16

    asked = any(_asks_for_bfloat16(nlp.get_pipe_config(name)) for name in nlp.component_names)
    precision = "bfloat16" if asked and cpu_has_bfloat16() else "float32"
    return f"CPU, {counted(torch.get_num_threads(), 'thread')}, {precision}"


def _compiled(nlp: Language) -> Iterator[Network]:
    for _, pipe in nlp.components:
        model = getattr(pipe, "model", None)
        for layer in model.walk() if isinstance(model, Model) else ():
            for shim in layer.shims:
                if isinstance(shim, CompiledShim) and shim.network is not None:
                    yield shim.network


def _asks_for_bfloat16(config: dict[str, Any]) -> bool:
    """Whether an encoder of a pipe, at any depth, predicts in bfloat16."""
    inner = (value for value in config.values() if isinstance(value, dict))
    return bool(config.get("predict_bfloat16")) or any(map(_asks_for_bfloat16, inner))
