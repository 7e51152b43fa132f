"""From a torch encoder to a network of the engine, which is compared with it."""

import tempfile
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel
from transformers.utils import logging

from spacy_btl.compiled.engine import Inputs, Network, Precision, load_library, make_inputs
from spacy_btl.errors import PipelineError

# As a share of the largest value: rounding is a hundred times smaller.
SAME = 1e-3
# Wordpieces of the example that the encoder is traced with.
TRACED = 24
# Of a text in a comparison, as shares of the window.
LENGTHS = (0.05, 0.3, 0.7, 1.0)


class _Hidden(torch.nn.Module):
    """The encoder with its last hidden state as its only output."""

    def __init__(self, encoder: PreTrainedModel) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        token_type_ids: torch.Tensor | None = None,
    ) -> torch.Tensor:
        types = {} if token_type_ids is None else {"token_type_ids": token_type_ids}
        output = self.encoder(input_ids=input_ids, attention_mask=attention_mask, **types)
        return output.last_hidden_state


def export(encoder: PreTrainedModel, window: int, *, with_types: bool) -> Any:
    """Convert an encoder to a model of OpenVINO, in float32.

    window (int): The wordpieces that it will read at once.
    with_types (bool): Whether it reads token types.
    RAISES: PipelineError, if it cannot be converted, or if the vectors are not those of the
        encoder.
    """
    openvino = load_library("openvino", "compile")
    kind = encoder.config.model_type
    encoder.eval()
    example = next(_examples(encoder, TRACED, with_types=with_types))
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of tracing: what it gets wrong is found below
            model = openvino.convert_model(
                _Hidden(encoder),
                example_input={name: torch.from_numpy(array) for name, array in example.items()},
            )
        network = to_network(model, "fp32", encoder.config.hidden_size)
        pairs = list(_compare(encoder, network, window, with_types=with_types))
    except Exception as error:  # of torch and of the engine, each its own
        raise PipelineError(
            f"An encoder of the kind {kind} cannot be compiled: OpenVINO cannot convert it, or not "
            f"run it ({type(error).__name__})."
        ) from error
    finally:
        logging.set_verbosity(verbosity)
    for found, expected in pairs:
        if not np.abs(found - expected).max() <= SAME * np.abs(expected).max():  # nan is not
            raise PipelineError(
                f"An encoder of the kind {kind} cannot be compiled: OpenVINO computes other "
                "vectors than torch."
            )
    return model


def to_network(model: Any, precision: Precision, width: int) -> Network:
    """A model of OpenVINO as bytes. Weights that are not integers are kept in float16 unless the
    precision is fp32."""
    openvino = load_library("openvino", "compile")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "encoder.xml"
        openvino.save_model(model, path, compress_to_fp16=precision != "fp32")
        weights = bytearray(path.with_suffix(".bin").read_bytes())
        return Network(path.read_bytes(), weights, precision, width)


def quantize(model: Any, windows: Sequence[Inputs]) -> Any:
    """Quantize weights and activations to int8, by the ranges that values have in some windows.

    model: A model of OpenVINO; it stays as it is.
    windows (Sequence[Inputs]): The inputs of each.
    """
    nncf = load_library("nncf", "compile")
    nncf.set_log_level(40)
    return nncf.quantize(
        model,
        nncf.Dataset(list(windows)),
        model_type=nncf.ModelType.TRANSFORMER,
        subset_size=len(windows),
    )


def round_weights(network: Network) -> Any:
    """Round weights to int8, with a scale and a zero for each of their rows.

    Those of layers that make vectors narrower, as the last layer of each feed-forward block does,
    stay in float16: they are a sixth of the weights of a BERT without its embeddings, and rounding
    them costs more than rounding all others.

    network (Network): One of float16 weights.
    RETURNS: A model of OpenVINO.
    """
    openvino, nncf = (load_library(name, "compile") for name in ("openvino", "nncf"))
    nncf.set_log_level(40)
    weights = openvino.Tensor(np.frombuffer(network.weights, dtype="uint8"))  # a copy
    model = openvino.Core().read_model(network.graph, weights)
    kept = nncf.IgnoredScope(names=list(_narrowing(model)), validate=False)
    mode = nncf.CompressWeightsMode.INT8_ASYM
    return nncf.compress_weights(model, mode=mode, ignored_scope=kept)


def _narrowing(model: Any) -> Iterator[str]:
    """The names of the products by which vectors become shorter."""
    for node in model.get_ops():
        if node.get_type_name() == "MatMul":
            before, after = node.input_value(0).partial_shape[-1], node.output(0).partial_shape[-1]
            if before.is_static and after.is_static and before.get_length() > after.get_length():
                yield node.friendly_name


def _examples(encoder: PreTrainedModel, length: int, *, with_types: bool) -> Iterator[Inputs]:
    """Random wordpieces: two texts, one of which is shorter; then each alone."""
    generator = np.random.default_rng(0)
    ids = generator.integers(0, encoder.config.vocab_size, (2, length), dtype="int64")
    mask = np.ones(ids.shape, dtype="float32")
    short = max(1, 2 * length // 3)
    mask[1, short:] = 0
    for part in (np.s_[:, :], np.s_[:1, :], np.s_[1:, :short]):
        types = np.zeros_like(ids[part]) if with_types else None
        yield make_inputs(ids[part], mask[part], types)


def _compare(
    encoder: PreTrainedModel, network: Network, window: int, *, with_types: bool
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    for share in LENGTHS:
        for inputs in _examples(encoder, max(2, int(share * window)), with_types=with_types):
            tensors = {name: torch.from_numpy(array) for name, array in inputs.items()}
            with torch.no_grad():
                expected = encoder(**tensors).last_hidden_state.numpy()
            read = inputs["attention_mask"] > 0
            yield network.run(inputs)[read], expected[read]
