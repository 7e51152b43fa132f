"""The shim around an encoder: safe loading, exact saving, averaged weights, and threads.

The saved bytes are msgpack: the encoder's config, its weights as a file of torch, which torch reads
in weights-only mode, and the tokenizer as files, of which `tokenizer.json` is the one that counts.
spacy-transformers has the same format, with two differences: it needs the files of slow tokenizers,
and its JSON of the config rounds BERT's layer_norm_eps, 1e-12, to 0.
"""

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, cast

import srsly
import torch
from spacy_transformers.data_classes import HFObjects
from spacy_transformers.layers.hf_shim import HFShim
from thinc.api import Model, get_torch_default_device, xp2torch
from thinc.shims.pytorch import default_deserialize_torch_model, default_serialize_torch_model
from thinc.types import ArgsKwargs, FloatsXd
from transformers import AutoConfig, AutoModel, PretrainedConfig, PreTrainedModel
from transformers.tokenization_utils_fast import PreTrainedTokenizerFast

from spacy_btl.errors import PipelineError
from spacy_btl.models.checkpoint import read_tokenizer
from spacy_btl.models.supported import SINGLE_PRECISION, arguments, prepare, settle_config
from spacy_btl.models.wordpieces import TOKENIZING, WordpieceTokenizer

CODE = (".py", ".pyc", ".so", ".pyd")


class CheckedShim(HFShim):
    """The shim of spacy-transformers, safe to load from untrusted bytes.

    It refuses code, and files outside of the tokenizer's own folder. It also makes
    `training.optimizer.use_averages` reach the encoder.

    wordpieces (WordpieceTokenizer): Its tokenizer, as the encoder uses it.
    """

    wordpieces: WordpieceTokenizer

    @property
    def tokenizer(self) -> PreTrainedTokenizerFast:
        """The tokenizer of the encoder that it holds."""
        return self._hfmodel.tokenizer

    @property
    def transformer(self) -> PreTrainedModel:
        """The encoder that it holds."""
        return self._hfmodel.transformer

    def predict(self, inputs: ArgsKwargs) -> Any:
        """Run the encoder in evaluation mode, and leave that on.

        thinc's own shim switches back to training mode, which turns dropout on in what another
        thread computes. `begin_update` switches by itself.
        """
        self._model.eval()
        with torch.no_grad(), torch.autocast("cuda", enabled=self._mixed_precision):
            return self._model(*inputs.args, **inputs.kwargs)

    def hold(self, tokenizer: PreTrainedTokenizerFast, transformer: PreTrainedModel) -> None:
        """Hold a loaded encoder."""
        self._hfmodel, self._model = HFObjects(tokenizer, transformer, None), transformer
        reads_types = "token_type_ids" in arguments(type(transformer).forward)
        self.wordpieces = WordpieceTokenizer.from_fast(tokenizer, reads_types=reads_types)
        if transformer.config.model_type in SINGLE_PRECISION:
            self._mixed_precision = False

    @contextmanager
    def use_params(self, params: dict[tuple[int, str], FloatsXd]) -> Iterator[None]:
        """Use other weights within a block.

        thinc's optimizer keeps averages by the shim's id and the weight's name; its own shim looks
        for keys of another form.
        """
        weights = dict(self._model.named_parameters())
        before = {}
        for (owner, name), values in params.items():
            if owner == self.id:
                before[name] = weights[name].data
                weights[name].data = xp2torch(values, device=self.device)
        try:
            yield
        finally:
            for name, values in before.items():
                weights[name].data = values

    def to_bytes(self) -> bytes:
        """Save an encoder, without the path that it was loaded from."""
        if self._hfmodel.transformer is None:  # nothing but settings
            return super().to_bytes()
        saved = {
            "config": _config(self.transformer.config),
            "state": default_serialize_torch_model(self.transformer),
            "tokenizer": {"kwargs": {"use_fast": True}, **_files(self.tokenizer)},
            "_init_tokenizer_config": {},
            "_init_transformer_config": {},
        }
        return srsly.msgpack_dumps(saved)

    def from_bytes(self, bytes_data: bytes) -> "CheckedShim":
        """Load an encoder.

        RAISES: PipelineError, for bytes that are damaged, or that `to_bytes` cannot have written.
        """
        try:
            saved = srsly.msgpack_loads(bytes_data)
            if not saved["config"]:
                return super().from_bytes(bytes_data)
            _check_tokenizer(saved["tokenizer"])
            self._load(saved)
            return self
        except PipelineError:
            raise
        except Exception as error:  # msgpack, json, torch and transformers each have their own
            raise PipelineError(
                "The saved encoder cannot be loaded: it is damaged, holds more than weights, or is "
                f"of another version of transformers ({type(error).__name__}). Train it again."
            ) from error

    def _load(self, saved: dict[str, Any]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            files = {name: data for name, data in saved["tokenizer"].items() if name != "kwargs"}
            files["config.json"] = json.dumps(saved["config"]).encode()
            for name, data in files.items():
                (Path(folder) / name).write_bytes(data)
            tokenizer = read_tokenizer(folder, use_fast=True)
            attention = saved["config"].get("attn_implementation")
            config = AutoConfig.from_pretrained(
                folder, trust_remote_code=False, attn_implementation=attention
            )
        settle_config(config, "the saved one")
        transformer = AutoModel.from_config(config, torch_dtype=torch.float32)
        device = get_torch_default_device()
        default_deserialize_torch_model(transformer, saved["state"], device)  # weights only
        prepare(tokenizer, transformer)
        self.hold(tokenizer, transformer)


def shim_of(layer: Model) -> CheckedShim:
    """The shim of the Hugging Face layer of one of our encoders."""
    return cast(CheckedShim, layer.shims[0])


def _config(config: PretrainedConfig) -> dict[str, Any]:
    values = config.to_dict()
    values.pop("_name_or_path", None)  # of this machine
    # As asked, or for want of another. The public name is an argument of `from_pretrained` alone.
    if config._attn_implementation == "eager":  # noqa: SLF001
        values["attn_implementation"] = "eager"
    return values


def _files(tokenizer: PreTrainedTokenizerFast) -> dict[str, bytes]:
    """The files of a tokenizer, without the truncation and padding that it was last used with."""
    with tempfile.TemporaryDirectory() as folder:
        with TOKENIZING:
            tokenizer.backend_tokenizer.no_truncation()
            tokenizer.backend_tokenizer.no_padding()
            tokenizer.save_pretrained(folder, legacy_format=False)
        return {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir())}


def _check_tokenizer(files: dict[str, Any]) -> None:
    """Check what saving writes: files without a folder, none of them code, and `use_fast`."""
    names = set(files) - {"kwargs"}
    plain = all(PurePosixPath(name).name == PureWindowsPath(name).name == name for name in names)
    code = any(name.endswith(CODE) for name in names)
    if not plain or code or set(files.get("kwargs", {})) - {"use_fast"}:
        raise PipelineError(
            "The tokenizer of the saved encoder holds code or paths, so it is not loaded. Train "
            "the pipeline again, or get it from where you trust."
        )
