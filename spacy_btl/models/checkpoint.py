"""Read a checkpoint of Hugging Face transformers: its tokenizer, config and weights."""

import inspect
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import torch
from thinc.api import get_torch_default_device
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForMaskedLM,
    AutoTokenizer,
    PretrainedConfig,
    PreTrainedModel,
)
from transformers.models.auto.tokenization_auto import get_tokenizer_config
from transformers.tokenization_utils_fast import PreTrainedTokenizerFast
from transformers.utils import logging

from spacy_btl.errors import PipelineError
from spacy_btl.models.supported import check_tokenizer, prepare, settle_config

WEIGHTS = ("model.safetensors", "pytorch_model.bin")
# Layers of encoders whose output nothing uses here; many checkpoints have no weights for them.
UNUSED = "pooler"
SENTENCEPIECE = ("*.model", "*.spm")
# transformers 5 gives this name to the class of a tokenizer.json that needs none of its own.
PLAIN_TOKENIZER = "TokenizersBackend"
# Arguments of `from_pretrained` that are no keys of a config.
NO_KEYS = {"attn_implementation"}


def load_checkpoint(
    name: str, tokenizer_config: Mapping[str, Any], transformer_config: Mapping[str, Any]
) -> tuple[PreTrainedTokenizerFast, PreTrainedModel]:
    """Load an encoder and its tokenizer. No code of a checkpoint is ever run.

    name (str): A Hugging Face model name, or the path of a saved one.
    tokenizer_config (Mapping): Settings of the tokenizer that replace those that it was saved with.
    transformer_config (Mapping): Keys of the encoder's config, likewise.
    RAISES: PipelineError, for files that are missing or cannot be read, a key that the config does
        not have, weights that do not fit it, or an encoder or a tokenizer of a kind that cannot
        work.
    """
    return _load(AutoModel, name, tokenizer_config, transformer_config)


def load_masked_language_model(
    name: str, tokenizer_config: Mapping[str, Any], transformer_config: Mapping[str, Any]
) -> tuple[PreTrainedTokenizerFast, PreTrainedModel]:
    """Load an encoder with the head that guesses hidden wordpieces.

    A checkpoint without a head gets one at random, with the encoder's own vectors of wordpieces as
    its last layer, where its kind ties the two.

    RAISES: PipelineError, as `load_checkpoint`; and for a kind of encoder without such a head.
    """
    return _load(AutoModelForMaskedLM, name, tokenizer_config, transformer_config)


def _load(
    kind: Any, name: str, tokenizer_config: Mapping[str, Any], transformer_config: Mapping[str, Any]
) -> tuple[PreTrainedTokenizerFast, PreTrainedModel]:
    _refuse_code(transformer_config, "transformer_config")
    if Path(name).is_dir():
        check_files(Path(name))
    config = _load_config(name, transformer_config)
    tokenizer = load_tokenizer(name, tokenizer_config)
    check_tokenizer(tokenizer, config, name)
    hint = " Are the values in transformer_config right?" if transformer_config else ""
    transformer, report = _call(
        f"the weights of '{name}'",
        kind.from_pretrained,
        name,
        hint=hint,
        config=config,
        trust_remote_code=False,
        torch_dtype=torch.float32,
        output_loading_info=True,
        ignore_mismatched_sizes=True,  # told below, by name
    )
    missing = [key for key in report["missing_keys"] if UNUSED not in key]
    if kind is not AutoModel:  # the rest is its head
        missing = [key for key in missing if key.startswith(transformer.base_model_prefix)]
    unfit = sorted([*missing, *report["mismatched_keys"]])
    if unfit:
        raise PipelineError(
            f"The weights of '{name}' do not fit its config: {unfit[0]} is missing or has another "
            f"size, and would be initialized at random.{hint}"
        )
    transformer.to(get_torch_default_device())
    prepare(tokenizer, transformer)
    return tokenizer, transformer


def load_tokenizer(name: str, settings: Mapping[str, Any]) -> PreTrainedTokenizerFast:
    """Load the tokenizer of a checkpoint.

    RAISES: PipelineError, if there is none that can be read.
    """
    _refuse_code(settings, "tokenizer_config")
    hint = _missing(Path(name))
    return _call(f"the tokenizer of '{name}'", read_tokenizer, name, hint=hint, **settings)


def read_tokenizer(name: str, **settings: Any) -> PreTrainedTokenizerFast:
    """Read a tokenizer. Of a folder with a `tokenizer.json` no other file is needed. Errors are
    those of transformers."""
    saved = get_tokenizer_config(name)
    if isinstance(saved.get("extra_special_tokens"), list):  # as transformers 5 writes them
        names = saved["extra_special_tokens"]
        settings = {"extra_special_tokens": {}, "additional_special_tokens": names, **settings}
    kind = (
        PreTrainedTokenizerFast
        if saved.get("tokenizer_class") == PLAIN_TOKENIZER
        else AutoTokenizer
    )
    return kind.from_pretrained(name, **{**settings, "trust_remote_code": False})


def _load_config(name: str, changes: Mapping[str, Any]) -> PretrainedConfig:
    what = f"the config of '{name}'"
    config = _call(what, AutoConfig.from_pretrained, name, trust_remote_code=False)
    _check_keys(changes, config)
    changes = {"return_dict": True, **changes}
    config = _call(what, AutoConfig.from_pretrained, name, trust_remote_code=False, **changes)
    settle_config(config, name)
    wanted = changes.get("attention_type")
    if wanted not in (None, getattr(config, "attention_type", None)):
        raise PipelineError(
            f"transformer_config sets attention_type = '{wanted}': with that, vectors of a note "
            f"depend on the notes before it. Take it out: '{config.attention_type}' is used."
        )
    return config


def _check_keys(changes: Iterable[str], config: PretrainedConfig) -> None:
    known = {*config.to_dict(), *inspect.signature(type(config).__init__).parameters, *NO_KEYS}
    known |= set(config.attribute_map)
    for key in changes:
        if key not in known:
            near = get_close_matches(key, known, n=1, cutoff=0)[0]
            raise PipelineError(
                f"The config of an encoder of the kind {config.model_type} has no key '{key}', "
                f"which transformer_config sets. The nearest that it has is '{near}'."
            )


def _refuse_code(settings: Mapping[str, Any], where: str) -> None:
    if settings.get("trust_remote_code"):
        raise PipelineError(
            f"trust_remote_code in {where}: the code of a checkpoint is never run. Take it out, "
            "and choose an encoder that transformers itself has."
        )


def check_files(folder: Path) -> None:
    """RAISES: PipelineError, for a folder without a config or without weights."""
    if not (folder / "config.json").is_file():
        raise PipelineError(f"{folder}: config.json is missing, so there is no encoder here.")
    if not any(
        (folder / f"{name}{end}").is_file() for name in WEIGHTS for end in ("", ".index.json")
    ):
        raise PipelineError(f"{folder}: {WEIGHTS[0]} is missing (or {WEIGHTS[1]}).")


def _missing(folder: Path) -> str:
    """Say which file of its tokenizer a folder lacks."""
    if not folder.is_dir() or (folder / "tokenizer.json").is_file():
        return ""
    found = sorted(path.name for end in SENTENCEPIECE for path in folder.glob(end))
    if not found:
        return f" {folder / 'tokenizer.json'} is missing."
    return (
        f" {folder / 'tokenizer.json'} is missing, and only the package sentencepiece reads "
        f"{found[0]}: install it once and save the tokenizer, or get one with a tokenizer.json."
    )


def _call(
    what: str, load: Callable[..., Any], name: str, *, hint: str = "", **settings: Any
) -> Any:
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()  # what it would warn of is checked here
    try:
        return load(name, **settings)
    except Exception as error:  # json, tokenizers, safetensors, torch, transformers: each its own
        if not hint:
            hint = _reason(error, name)
        raise PipelineError(
            f"transformers cannot load {what} ({type(error).__name__}).{hint}"
        ) from error
    finally:
        logging.set_verbosity(verbosity)


def _reason(error: Exception, name: str) -> str:
    if "trust_remote_code" in str(error):
        return " It needs code of its own (auto_map), and code of a checkpoint is never run."
    if isinstance(error, ImportError):  # which names the package
        return f" {str(error).strip().splitlines()[0]}"
    if not Path(name).is_dir():
        return " It is not a folder, and not a model of the Hugging Face hub."
    return ""
