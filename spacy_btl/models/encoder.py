"""A spacy-transformers encoder for notes of any length, on a CPU or a GPU.

It differs from the stock `TransformerModel` in three ways: windows are counted in wordpieces and
overlap, so only a token longer than all that the encoder reads is cut; at prediction a forward pass
has a bounded size, so a long note needs no more memory than a batch of short ones; mixed precision
serves the CPU too. Of the encoder's output only the last hidden state is kept.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from spacy import registry
from spacy.tokens import Doc
from spacy_transformers.align import get_alignment_via_offset_mapping
from spacy_transformers.data_classes import FullTransformerBatch, WordpieceBatch
from spacy_transformers.layers import split_trf_batch, trfs2arrays
from spacy_transformers.layers.transformer_model import TransformerModel
from thinc.api import Model, chain, get_torch_default_device
from thinc.layers.pytorchwrapper import forward as pytorch_forward
from thinc.types import Floats2d, Ragged
from transformers import PreTrainedTokenizerFast
from transformers.file_utils import ModelOutput

from spacy_btl.errors import PipelineError
from spacy_btl.models.alignment import readable, trim_offsets
from spacy_btl.models.checkpoint import load_checkpoint
from spacy_btl.models.draws import new_generator
from spacy_btl.models.names import check_name
from spacy_btl.models.shim import CheckedShim
from spacy_btl.models.supported import SINGLE_PRECISION, check_encoder, takes
from spacy_btl.models.windows import TOKENIZING, WordpieceWindows

# Fast, for its character offsets; and a literal "[SEP]" in a note stays the text that it is.
TOKENIZER_DEFAULTS = {"use_fast": True, "split_special_tokens": True}

# What a pass costs by itself, in wordpieces of padding.
PASS_ON_CPU = 128
PASS_ON_GPU = 4096


@registry.architectures("spacy_btl.WindowedTransformer.v1")
def windowed_transformer(
    name: str,
    window: int = 256,
    overlap: int = 64,
    max_wordpieces: int = 8192,
    mixed_precision: bool = False,
    predict_bfloat16: bool = False,
    masking: float = 0.0,
    random_windows: bool = False,
    tokenizer_config: dict[str, Any] | None = None,
    transformer_config: dict[str, Any] | None = None,
    grad_scaler_config: dict[str, Any] | None = None,
) -> Model[list[Doc], FullTransformerBatch]:
    """The model of a `transformer` pipe.

    name (str): A Hugging Face model name, or the path of a saved one.
    window (int): Wordpieces per window.
    overlap (int): Wordpieces that neighbouring windows share. With 0, windows end where a sentence
        or a line does, which costs less: nothing is read twice.
    max_wordpieces (int): Wordpieces, padding included, of one forward pass at prediction.
    mixed_precision (bool): On the CPU, train in bfloat16 if the processor has its arithmetic, and
        predict in float32 all the same. On CUDA, train and predict in float16.
    predict_bfloat16 (bool): On the CPU, predict in bfloat16 too if the processor has it. It is
        faster, and predictions then depend on the processor a little.
    masking (float): The share of wordpieces that training hides behind the tokenizer's mask token,
        drawn anew for each batch, so that types are learned from their context too.
    random_windows (bool): Whether training cuts a long note elsewhere each time, so that a token is
        read at another place beside other neighbours.
    tokenizer_config (Optional[Dict]): For the tokenizer's `from_pretrained`.
    transformer_config (Optional[Dict]): Keys of the encoder's config, as `hidden_dropout_prob`.
    grad_scaler_config (Optional[Dict]): For thinc's PyTorchGradScaler, on CUDA.
    """
    precision = {
        "mixed_precision": mixed_precision and get_torch_default_device().type == "cuda",
        "grad_scaler_config": dict(grad_scaler_config or {}),
    }
    encoder = TransformerModel(
        name,
        get_spans=None,
        tokenizer_config={**TOKENIZER_DEFAULTS, **(tokenizer_config or {})},
        transformer_config=dict(transformer_config or {}),
        **precision,
    )
    wrapper = encoder.layers[0]
    encoder.init = _init
    wrapper.shims[:] = [CheckedShim(wrapper.shims[0]._hfmodel, **precision)]
    _read_by_windows(encoder, WordpieceWindows(encoder, window, overlap, random_windows))
    encoder.attrs["replace_listener"] = _replace_listener
    encoder.attrs["replace_listener_cfg"] = _replace_listener_cfg
    encoder.layers[0] = _bounded(
        wrapper, max_wordpieces, mixed_precision, predict_bfloat16, masking
    )
    return encoder


@registry.architectures("spacy_btl.WindowedTok2Vec.v1")
def windowed_tok2vec(
    encoder: TransformerModel, pooling: Model[Ragged, Floats2d], grad_factor: float = 1.0
) -> Model[list[Doc], list[Floats2d]]:
    """The same encoder owned by one pipe, as its `tok2vec`.

    encoder (Model[List[Doc], FullTransformerBatch]): `spacy_btl.WindowedTransformer.v1`.
    pooling (Model[Ragged, float32 [T, W]]): From wordpiece to token vectors: `reduce_mean.v1`.
    grad_factor (float): Scales the gradient that reaches the encoder.
    """
    # A chain in a chain, as `nlp.replace_listeners` leaves it: saved layers are matched by place.
    return chain(chain(encoder, split_trf_batch()), trfs2arrays(pooling, grad_factor))


def _replace_listener(encoder: TransformerModel) -> Model:
    """For `nlp.replace_listeners`: the layers of a copied encoder, which is a stock one again."""
    windows = encoder.attrs["get_spans"]
    windows = WordpieceWindows(encoder, windows.window, windows.overlap, windows.random)
    _read_by_windows(encoder, windows)
    return chain(encoder, split_trf_batch())


def _replace_listener_cfg(encoder: dict[str, Any], listener: dict[str, Any]) -> dict[str, Any]:
    """For `nlp.replace_listeners`: the config of the encoder once a pipe owns its copy."""
    return {
        "@architectures": "spacy_btl.WindowedTok2Vec.v1",
        "encoder": encoder,
        "pooling": listener["pooling"],
        "grad_factor": listener.get("grad_factor", 1.0),
    }


def _init(encoder: TransformerModel, X: Any = None, Y: Any = None) -> None:
    """Load the encoder that the config names, and see that it can read."""
    if encoder.attrs["has_transformer"]:
        return
    name, windows = encoder.attrs["name"], encoder.attrs["get_spans"]
    check_name(name)
    tokenizer, transformer = load_checkpoint(
        name, encoder._init_tokenizer_config, encoder._init_transformer_config
    )
    encoder.layers[0].shims[0].hold(tokenizer, transformer)
    encoder.attrs["has_transformer"] = True
    windows([])  # whether they fit
    check_encoder(tokenizer, transformer, name, windows.window)
    encoder.set_dim("nO", transformer.config.hidden_size)


def _read_by_windows(encoder: TransformerModel, windows: WordpieceWindows) -> None:
    encoder.attrs["get_spans"] = windows
    encoder._func = _read


def _read(
    encoder: TransformerModel, docs: list[Doc], is_train: bool
) -> tuple[FullTransformerBatch, Callable[[FullTransformerBatch], list[Doc]]]:
    """The stock forward pass, save that an overlong token is cut by the tokenizer. The stock one
    pads every window to that token's length first, in gigabytes."""
    spans = encoder.attrs["get_spans"](docs, is_train)
    windows = [window for doc_windows in spans for window in doc_windows]
    tokenizer = encoder.tokenizer
    texts = [readable(window.text) for window in windows]
    settings = {
        "truncation": True,
        "return_attention_mask": True,
        "return_offsets_mapping": True,
        "return_tensors": "np",
        # None: if the tokenizer has them.
        "return_token_type_ids": None if takes(encoder.transformer, "token_type_ids") else False,
    }
    with TOKENIZING:
        limit = encoder.attrs["get_spans"].limit
        encoding = tokenizer(texts, padding="longest", max_length=limit, **settings)
        if not encoding.input_ids.size:  # no special tokens, and nothing else that it knows
            encoding = tokenizer(texts, padding="max_length", max_length=1, **settings)
    encoding["input_texts"] = [tokenizer.convert_ids_to_tokens(ids) for ids in encoding.input_ids]
    encoding["pad_token"] = tokenizer.pad_token
    wordpieces = WordpieceBatch.from_batch_encoding(encoding)
    mapping = zip(encoding["offset_mapping"], texts, strict=True)
    offsets = [trim_offsets(in_window, text) for in_window, text in mapping]
    align = get_alignment_via_offset_mapping(windows, offsets)
    output, backprop_output = encoder.layers[0](wordpieces, is_train)

    def backprop(d_batch: FullTransformerBatch) -> list[Doc]:
        backprop_output(d_batch.model_output)
        return docs

    return FullTransformerBatch(spans, wordpieces, output, align), backprop


def _bounded(
    wrapper: Model,
    max_wordpieces: int,
    mixed_precision: bool,
    predict_bfloat16: bool,
    masking: float,
) -> Model:
    """The Hugging Face layer with our forward pass; it keeps its shim, hence how it is saved."""
    # Not as `attrs`, which are saved and would win over another machine's and a changed config.
    forward = partial(
        _forward,
        max_wordpieces=max_wordpieces,
        training_bfloat16=mixed_precision and cpu_has_bfloat16(),
        prediction_bfloat16=predict_bfloat16 and cpu_has_bfloat16(),
        masking=masking,
    )
    return Model(
        wrapper.name,
        forward,
        attrs=wrapper.attrs,
        shims=wrapper.shims,
        dims={"nI": None, "nO": None},
    )


def cpu_has_bfloat16() -> bool:
    """Whether the processor has the arithmetic that mixed precision trains in on the CPU."""
    # Elsewhere torch emulates it, which is slower than float32.
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def _forward(
    model: Model,
    wordpieces: WordpieceBatch,
    is_train: bool,
    *,
    max_wordpieces: int,
    training_bfloat16: bool,
    prediction_bfloat16: bool,
    masking: float,
) -> tuple[ModelOutput, Callable[[ModelOutput], Any]]:
    """Windows of like length together, back in their order: little is spent on padding."""
    if is_train and masking:
        wordpieces = _masked(wordpieces, masking, model.shims[0]._hfmodel.tokenizer)
    lengths = wordpieces.attention_mask.sum(axis=1).astype("int64")
    # In training the batcher bounds the size. thinc's GradScaler, on a GPU, cannot add up the
    # gradients of several passes: it unscales those that are there already once more.
    shim = model.shims[0]
    on_cpu = shim.device.type == "cpu"
    limit = wordpieces.input_ids.size if is_train else max_wordpieces
    pass_cost = PASS_ON_CPU if on_cpu else np.inf if is_train else PASS_ON_GPU
    config = shim._model.config
    bfloat16 = training_bfloat16 if is_train else prediction_bfloat16
    bfloat16 = bfloat16 and on_cpu and config.model_type not in SINGLE_PRECISION
    shape = (*wordpieces.input_ids.shape, config.hidden_size)
    hidden = torch.zeros(shape, dtype=torch.float32, device=shim.device)
    passes: list[Any] = []
    # spacy-transformers' own autocast is for CUDA only, so this one never meets it.
    with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
        for rows in _passes(lengths, limit, pass_cost):
            width = int(lengths[rows].max())
            output, backprop = pytorch_forward(model, _take(wordpieces, rows, width), is_train)
            part = output.last_hidden_state
            place = (torch.from_numpy(rows).to(part.device), slice(width))
            hidden[place] = part.detach().float()
            passes.append((place, part.dtype, backprop))

    def backprop_passes(d_output: ModelOutput) -> None:
        (d_hidden,) = d_output.values()
        for place, dtype, backprop in passes:
            backprop(ModelOutput(last_hidden_state=d_hidden[place].to(dtype)))

    return ModelOutput(last_hidden_state=hidden), backprop_passes


def _passes(
    lengths: NDArray[np.integer], max_wordpieces: int, pass_cost: float
) -> Iterator[NDArray[np.integer]]:
    """Rows by length, the longest first; in a pass as many as fit, and no much shorter ones. A text
    without a wordpiece, as there is where no special token is added, is in none."""
    order = np.argsort(-lengths, kind="stable")
    order = order[lengths[order] > 0]
    while len(order):
        longest = int(lengths[order[0]])
        saved = (longest - lengths[order]) * np.arange(len(order), 0, -1)
        shorter = np.flatnonzero(saved >= pass_cost)
        end = min([max(1, max_wordpieces // longest), *shorter[:1], len(order)])
        yield order[:end]
        order = order[end:]


def _masked(
    wordpieces: WordpieceBatch, share: float, tokenizer: PreTrainedTokenizerFast
) -> WordpieceBatch:
    if tokenizer.mask_token_id is None:
        raise PipelineError("This encoder's tokenizer has no mask token: set masking to 0.")
    ids = wordpieces.input_ids
    hidden = new_generator().random(ids.shape) < share
    hidden &= ~np.isin(ids, tokenizer.all_special_ids)
    return replace(wordpieces, input_ids=np.where(hidden, tokenizer.mask_token_id, ids))


def _take(wordpieces: WordpieceBatch, rows: NDArray[np.integer], width: int) -> WordpieceBatch:
    types = wordpieces.token_type_ids
    return WordpieceBatch(
        strings=[wordpieces.strings[row][:width] for row in rows],
        input_ids=wordpieces.input_ids[rows, :width],
        attention_mask=wordpieces.attention_mask[rows, :width],
        lengths=[wordpieces.lengths[row] for row in rows],
        token_type_ids=None if types is None else types[rows, :width],
    )
