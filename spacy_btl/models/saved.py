"""The shim around an encoder: checks what is loaded, loads it as it was, and lets averaged weights
in.

The saved bytes are msgpack: the encoder's config, its weights as a file of torch, which torch reads
in weights-only mode, and the tokenizer as files and arguments. spacy-transformers writes these
files out and passes the arguments on as they are.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

import srsly
import torch
from spacy_transformers.layers.hf_shim import HFShim
from thinc.api import xp2torch
from thinc.types import FloatsXd

from spacy_btl.errors import PipelineError
from spacy_btl.models.windows import TOKENIZING

CODE = (".py", ".pyc", ".so", ".pyd")


class CheckedShim(HFShim):
    """Refuses saved bytes that would run code or write outside of the tokenizer's own folder, and
    serves `training.optimizer.use_averages`, which otherwise passes an encoder by."""

    @contextmanager
    def use_params(self, params: dict[tuple[int, str], FloatsXd]) -> Iterator[None]:
        """Use other weights for a while: thinc's optimizer keeps averages by the shim's id and the
        weight's name, and its own shim looks for keys of another form."""
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
        """Save an encoder: the same bytes whatever it read before, and wherever it was loaded."""
        tokenizer = self._hfmodel.tokenizer
        if tokenizer is None:
            return super().to_bytes()
        with TOKENIZING:  # what the last call left there is saved, and each call sets its own
            if tokenizer.is_fast:
                tokenizer.backend_tokenizer.no_truncation()
                tokenizer.backend_tokenizer.no_padding()
            saved = srsly.msgpack_loads(super().to_bytes())
        saved["tokenizer"] = dict(sorted(saved["tokenizer"].items()))  # in the order of a folder
        return srsly.msgpack_dumps(saved)

    def from_bytes(self, bytes_data: bytes) -> "CheckedShim":
        """Load an encoder.

        RAISES: PipelineError, for one that is damaged or that saving cannot have written.
        """
        try:
            saved = srsly.msgpack_loads(bytes_data)
            _check_tokenizer(saved["tokenizer"])
            super().from_bytes(bytes_data)
            if saved["config"]:
                # Not the temporary folder that spacy-transformers loads it from.
                self._model.config.name_or_path = saved["config"].get("_name_or_path", "")
            if "layer_norm_eps" in saved["config"]:
                _set_epsilon(self._model, saved["config"]["layer_norm_eps"])
            return self
        except PipelineError:
            raise
        except Exception as error:  # msgpack, json, torch and transformers each have their own
            raise PipelineError(
                "The saved encoder cannot be loaded: it is damaged, holds more than weights, or is "
                f"of another version of transformers ({type(error).__name__}). Train it again."
            ) from error


def _set_epsilon(encoder: Any, epsilon: float) -> None:
    """Give the layer norms their epsilon back. spacy-transformers builds the encoder from JSON that
    srsly writes, where BERT's, 1e-12, is 0."""
    encoder.config.layer_norm_eps = epsilon
    for module in encoder.modules():
        if isinstance(module, torch.nn.LayerNorm):
            module.eps = epsilon


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
