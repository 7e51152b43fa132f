"""Forward passes of an encoder: windows of like length together, each pass of bounded size."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from spacy_transformers.data_classes import WordpieceBatch
from thinc.api import Model, PyTorchShim
from thinc.layers.pytorchwrapper import forward as pytorch_forward
from thinc.types import Ints2d
from transformers.file_utils import ModelOutput
from transformers.tokenization_utils_fast import PreTrainedTokenizerFast

from spacy_btl.errors import PipelineError
from spacy_btl.models.attention import PlainAttention
from spacy_btl.models.generator import new_generator
from spacy_btl.models.like_length import passes_of_like_length
from spacy_btl.models.shim import CheckedShim, shim_of
from spacy_btl.models.supported import SINGLE_PRECISION

# What a pass costs by itself, in wordpieces of padding.
PASS_ON_CPU = 128
PASS_ON_GPU = 4096


class Precision(NamedTuple):
    """Whether an encoder computes in bfloat16 on the CPU, in training and at prediction."""

    train: bool
    predict: bool

    @classmethod
    def of_processor(cls, *, train: bool, predict: bool) -> "Precision":
        """What is asked for, as far as the processor supports it."""
        supported = cpu_has_bfloat16()
        return cls(train and supported, predict and supported)


def cpu_has_bfloat16() -> bool:
    """Whether the processor has bfloat16 arithmetic. Elsewhere torch emulates it, which is slower
    than float32."""
    cpu = torch.cpu
    # torch has no public name for these.
    return cpu._is_avx512_bf16_supported() or cpu._is_amx_tile_supported()  # noqa: SLF001


def bounded_passes(
    wrapper: Model,
    shim: CheckedShim,
    max_wordpieces: int,
    *,
    precision: Precision,
    masking: float,
) -> Model[WordpieceBatch, ModelOutput]:
    """The Hugging Face layer of spacy-transformers with another shim and forward pass.

    max_wordpieces, masking: See `spacy_btl.WindowedTransformer.v1`.
    """
    # Not as `attrs`, which are saved and would win over another machine's and a changed config.
    forward = partial(_forward, max_wordpieces=max_wordpieces, precision=precision, masking=masking)
    dims: dict[str, int | None] = {"nI": None, "nO": None}
    return Model(wrapper.name, forward, attrs=wrapper.attrs, shims=[shim], dims=dims)


def _forward(
    model: Model,
    wordpieces: WordpieceBatch,
    is_train: bool,
    *,
    max_wordpieces: int,
    precision: Precision,
    masking: float,
) -> tuple[ModelOutput, Callable[[ModelOutput], None]]:
    on_cpu = cast(PyTorchShim, model.shims[0]).device.type == "cpu"
    if is_train and masking:
        wordpieces = _masked(wordpieces, masking, shim_of(model).tokenizer)
    # In training the batcher bounds the size. thinc's GradScaler, on a GPU, cannot add up the
    # gradients of several passes: it unscales those that are there already once more.
    limit = wordpieces.input_ids.size if is_train else max_wordpieces
    pass_cost = PASS_ON_CPU if on_cpu else np.inf if is_train else PASS_ON_GPU
    lengths = [int(length) for length in wordpieces.attention_mask.sum(axis=1)]
    inputs = [
        (rows, _take(wordpieces, rows, lengths[rows[0]]))  # as wide as the longest
        for rows in passes_of_like_length(lengths, limit, pass_cost)
    ]
    shim = shim_of(model)
    config = shim.transformer.config
    bfloat16 = precision.train if is_train else precision.predict
    bfloat16 = bfloat16 and on_cpu and config.model_type not in SINGLE_PRECISION
    shape = (*wordpieces.input_ids.shape, config.hidden_size)
    hidden = torch.zeros(shape, dtype=torch.float32, device=shim.device)
    passes: list[Any] = []
    # spacy-transformers' own autocast is for CUDA only, so this one never meets it.
    plain = PlainAttention() if bfloat16 and is_train else nullcontext()
    with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16), plain:
        for rows, batch in inputs:
            output, backprop = pytorch_forward(model, batch, is_train)
            part = output.last_hidden_state
            place = (torch.tensor(rows, device=part.device), slice(part.shape[1]))
            hidden[place] = part.detach().float()
            passes.append((place, part.dtype, backprop))

    def backprop_passes(d_output: ModelOutput) -> None:
        (d_hidden,) = d_output.values()
        for place, dtype, backprop in passes:
            backprop(ModelOutput(last_hidden_state=d_hidden[place].to(dtype)))

    return ModelOutput(last_hidden_state=hidden), backprop_passes


def _masked(
    wordpieces: WordpieceBatch, share: float, tokenizer: PreTrainedTokenizerFast
) -> WordpieceBatch:
    if tokenizer.mask_token_id is None:
        raise PipelineError("This encoder's tokenizer has no mask token: set masking to 0.")
    ids = np.array(wordpieces.input_ids)
    hidden = new_generator().random(ids.shape) < share
    hidden &= ~np.isin(ids, tokenizer.all_special_ids)
    ids[hidden] = tokenizer.mask_token_id
    return replace(wordpieces, input_ids=cast(Ints2d, ids))


def _take(wordpieces: WordpieceBatch, rows: list[int], width: int) -> WordpieceBatch:
    part = slice(width)
    types = wordpieces.token_type_ids
    return WordpieceBatch(
        strings=[],  # the network reads numbers
        input_ids=wordpieces.input_ids[rows, part],
        attention_mask=wordpieces.attention_mask[rows, part],
        lengths=[],
        token_type_ids=None if types is None else types[rows, part],
    )
