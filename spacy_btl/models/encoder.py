"""A spacy-transformers encoder for notes of any length, on a CPU or a GPU.

It is the stock `TransformerModel` with four parts replaced:

- windows (`windows.py`) are counted in wordpieces and overlap, so that only a token longer than all
  that the encoder reads is cut;
- a doc is tokenized once (`wordpieces.py`), and its windows and the alignment are arrays;
- forward passes (`passes.py`) have a bounded size at prediction, so that a long note needs no more
  memory than a batch of short ones, and know mixed precision on the CPU;
- the shim (`shim.py`) checks what is loaded.

Only the last hidden state of the encoder's output is kept.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from spacy import registry
from spacy.tokens import Doc
from spacy_transformers.data_classes import (
    FullTransformerBatch,
    HFObjects,
    TransformerData,
    WordpieceBatch,
)
from spacy_transformers.layers import split_trf_batch, trfs2arrays
from spacy_transformers.layers.transformer_model import TransformerModel
from thinc.api import Model, chain, get_torch_default_device, torch2xp
from thinc.types import Floats2d, Ints1d, Ints2d, Ragged
from transformers.file_utils import ModelOutput

from spacy_btl.models.checkpoint import load_checkpoint
from spacy_btl.models.generator import new_generator
from spacy_btl.models.names import check_name
from spacy_btl.models.passes import Precision, bounded_passes
from spacy_btl.models.shim import CheckedShim, shim_of
from spacy_btl.models.supported import check_encoder
from spacy_btl.models.windows import WindowBatch, WordpieceWindows

# Fast, for its character offsets; and a literal "[SEP]" in a note stays the text that it is.
TOKENIZER_DEFAULTS = {"use_fast": True, "split_special_tokens": True}


@registry.architectures("spacy_btl.WindowedTransformer.v1")
def windowed_transformer(  # noqa: PLR0913, PLR0917 - an argument is a setting of the config
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
    """Build the model of a `transformer` pipe.

    name (str): A Hugging Face model name, or the path of a saved one.
    window (int): Wordpieces per window.
    overlap (int): Wordpieces that neighbouring windows share. With 0, windows end where a sentence
        or a line does, which costs less: nothing is read twice.
    max_wordpieces (int): Wordpieces, padding included, of one forward pass at prediction.
    mixed_precision (bool): On the CPU, train in bfloat16 if the processor supports it, and predict
        in float32. On CUDA, train and predict in float16.
    predict_bfloat16 (bool): On the CPU, predict in bfloat16 too if the processor supports it. It is
        faster, and predictions then depend slightly on the processor.
    masking (float): The share of wordpieces that training hides behind the tokenizer's mask token,
        sampled anew for each batch, so that types are learned from their context too.
    random_windows (bool): Whether training cuts a long note elsewhere each time, so that a token is
        read at another position beside other neighbours.
    tokenizer_config (Optional[Dict]): For the tokenizer's `from_pretrained`.
    transformer_config (Optional[Dict]): Keys of the encoder's config, as `hidden_dropout_prob`.
    grad_scaler_config (Optional[Dict]): For thinc's PyTorchGradScaler, on CUDA.
    RETURNS (Model[List[Doc], FullTransformerBatch]): The model. `initialize` loads the encoder.

    >>> from spacy_btl import windowed_transformer
    >>> encoder = windowed_transformer("microsoft/deberta-v3-base", window=384, overlap=96)
    """
    tokenizer_config = {**TOKENIZER_DEFAULTS, **(tokenizer_config or {})}
    transformer_config = dict(transformer_config or {})
    windows = WordpieceWindows(window, overlap, random_windows)
    # Its default is one dict for all encoders, which it writes into.
    encoder = TransformerModel(name, windows, grad_scaler_config={})
    shim = CheckedShim(
        HFObjects(None, None, None, tokenizer_config, transformer_config),
        mixed_precision=mixed_precision and get_torch_default_device().type == "cuda",
        grad_scaler_config=dict(grad_scaler_config or {}),
    )
    precision = Precision.of_processor(train=mixed_precision, predict=predict_bfloat16)
    encoder.layers[0] = bounded_passes(
        encoder.layers[0], shim, max_wordpieces, precision=precision, masking=masking
    )
    encoder.init = partial(_init, configs=(tokenizer_config, transformer_config))
    encoder.attrs["replace_listener"] = _replace_listener
    encoder.attrs["replace_listener_cfg"] = _replace_listener_cfg
    return _with_forward(encoder)


@registry.architectures("spacy_btl.WindowedTok2Vec.v1")
def windowed_tok2vec(
    encoder: TransformerModel, pooling: Model[Ragged, Floats2d], grad_factor: float = 1.0
) -> Model[list[Doc], list[Floats2d]]:
    """Build the same encoder as the `tok2vec` of one pipe, which then owns it.

    encoder (Model[List[Doc], FullTransformerBatch]): `spacy_btl.WindowedTransformer.v1`.
    pooling (Model[Ragged, float32 [T, W]]): From wordpiece to token vectors: `reduce_mean.v1`.
    grad_factor (float): Scales the gradient that reaches the encoder.

    >>> from spacy_btl import windowed_tok2vec, windowed_transformer
    >>> from thinc.api import reduce_mean
    >>> tok2vec = windowed_tok2vec(windowed_transformer("bert-base-cased"), reduce_mean())
    """
    # A chain in a chain, as `nlp.replace_listeners` leaves it: saved layers are matched by place.
    return chain(chain(encoder, split_trf_batch()), trfs2arrays(pooling, grad_factor))


def _with_forward(encoder: TransformerModel) -> TransformerModel:
    # The stock model's constructor takes no forward pass.
    encoder._func = _forward  # noqa: SLF001
    return encoder


def _forward(
    encoder: TransformerModel, docs: list[Doc], is_train: bool
) -> tuple[FullTransformerBatch, Callable[[FullTransformerBatch], list[Doc]]]:
    """Docs to windows, wordpieces, and their vectors."""
    windows: WordpieceWindows = encoder.attrs["get_spans"]
    tokenizer = cast(CheckedShim, encoder.layers[0].shims[0]).wordpieces
    batch = windows(docs, tokenizer.read(docs), tokenizer, new_generator if is_train else None)
    wordpieces = WordpieceBatch(
        strings=tokenizer.vocabulary[batch.ids].tolist(),
        input_ids=cast(Ints2d, batch.ids),
        attention_mask=cast(Floats2d, batch.mask),
        lengths=batch.mask.sum(axis=1).astype(int).tolist(),
        token_type_ids=cast(Ints2d | None, batch.types),
    )
    output, backprop_output = encoder.layers[0](wordpieces, is_train)

    def backprop(d_batch: FullTransformerBatch) -> list[Doc]:
        backprop_output(d_batch.model_output)
        return docs

    return (
        FullTransformerBatch(
            spans=[
                [doc[start:end] for start, end in of_doc]
                for doc, of_doc in zip(docs, batch.borders, strict=True)
            ],
            wordpieces=wordpieces,
            model_output=output,
            align=_ragged(batch.places, batch.lengths),
            cached_doc_data=_data_of_docs(docs, batch, wordpieces, output),
        ),
        backprop,
    )


def _data_of_docs(
    docs: list[Doc], batch: WindowBatch, wordpieces: WordpieceBatch, output: ModelOutput
) -> list[TransformerData]:
    """What is left on each doc. spacy-transformers would find it token by token."""
    hidden = torch2xp(output["last_hidden_state"])
    width = batch.ids.shape[1]
    token_ends = np.cumsum([len(doc) for doc in docs])
    place_ends = np.append(0, np.cumsum(batch.lengths))
    data, row = [], 0
    for doc, borders, end in zip(docs, batch.borders, token_ends, strict=True):
        if not borders:
            data.append(TransformerData.empty())
            continue
        start, rows = end - len(doc), slice(row, row + len(borders))
        places = batch.places[place_ends[start] : place_ends[end]] - row * width
        data.append(
            TransformerData(
                wordpieces=wordpieces[rows],
                model_output=ModelOutput(last_hidden_state=hidden[rows]),
                align=_ragged(places, batch.lengths[start:end]),
            )
        )
        row += len(borders)
    return data


def _ragged(places: NDArray[np.int32], lengths: NDArray[np.int32]) -> Ragged:
    return Ragged(cast(Ints1d, places), cast(Ints1d, lengths))


def _init(
    encoder: TransformerModel,
    X: Any = None,
    Y: Any = None,
    *,
    configs: tuple[dict[str, Any], dict[str, Any]],
) -> None:
    """Load the encoder that the config names, and check that it can serve.

    configs (Tuple[Dict, Dict]): The settings of the tokenizer and of the encoder.
    """
    if encoder.attrs["has_transformer"]:
        return
    name: str = encoder.attrs["name"]
    windows: WordpieceWindows = encoder.attrs["get_spans"]
    check_name(name)
    tokenizer, transformer = load_checkpoint(name, *configs)
    shim = shim_of(encoder.layers[0])
    shim.hold(tokenizer, transformer)
    encoder.attrs["has_transformer"] = True
    windows.check(shim.wordpieces)
    check_encoder(tokenizer, transformer, name, windows.window)
    encoder.set_dim("nO", transformer.config.hidden_size)


def _replace_listener(encoder: TransformerModel) -> Model:
    """For `nlp.replace_listeners`: the layers of a copied encoder, which is a stock one again."""
    return chain(_with_forward(encoder), split_trf_batch())


def _replace_listener_cfg(encoder: dict[str, Any], listener: dict[str, Any]) -> dict[str, Any]:
    """For `nlp.replace_listeners`: the config of the encoder once a pipe owns its copy."""
    return {
        "@architectures": "spacy_btl.WindowedTok2Vec.v1",
        "encoder": encoder,
        "pooling": listener["pooling"],
        "grad_factor": listener.get("grad_factor", 1.0),
    }
