"""Read a token classifier from a folder, as transformers saves it, and check it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoConfig,
    AutoModelForTokenClassification,
    PreTrainedModel,
)
from transformers.tokenization_utils_fast import PreTrainedTokenizerFast

from spacy_btl.errors import BtlError, PipelineError
from spacy_btl.models.checkpoint import UNUSED, check_files, load_tokenizer
from spacy_btl.models.supported import refuse_kernels

# What a tokenizer is saved in, one of these or several.
TOKENIZER_FILES = ("*tokenizer*", "*vocab*", "*.model", "merges.txt", "bpe.codes")


@dataclass(frozen=True)
class Checkpoint:
    """A token classifier in float32 and evaluation mode, and its tokenizer."""

    classifier: PreTrainedModel
    tokenizer: PreTrainedTokenizerFast


def read_checkpoint(folder: Path) -> Checkpoint:
    """Load a token classifier and its tokenizer, running no code that lies beside them.

    folder (Path): As `save_pretrained` writes it: weights in safetensors, in one file or several,
        or in a file of torch, which is read in weights-only mode.
    RAISES: PipelineError, for a folder that holds no such checkpoint.
    """
    _check_config(folder)
    tokenizer = _read_tokenizer(folder)
    check_files(folder)
    classifier = _read_classifier(folder)
    highest = max(tokenizer.get_vocab().values(), default=0)
    known = getattr(classifier.config, "vocab_size", None)
    if known is not None and highest >= known:
        raise PipelineError(
            f"{folder}: the tokenizer is of another model, its ids go up to {highest} and those of "
            f"the encoder to {known - 1}. Save the tokenizer that it was trained with there."
        )
    return Checkpoint(classifier, tokenizer)


def linear_head(classifier: PreTrainedModel, where: str) -> torch.nn.Linear:
    """The linear layer of a classifier that has nothing else over its encoder.

    where (str): What to name in an error.
    RAISES: PipelineError, for a classifier that has more.
    """
    encoder = classifier.base_model
    layers = {
        name: layer
        for name, layer in classifier.named_children()
        if layer is not encoder and any(True for _ in layer.parameters())
    }
    linear = next(iter(layers.values()), None)
    if len(layers) != 1 or not isinstance(linear, torch.nn.Linear):
        raise PipelineError(
            f"{where}: a token classifier of the kind {classifier.config.model_type} has more than "
            f"a linear layer over its encoder ({', '.join(layers)}), which a pipeline cannot hold. "
            "Start the training of a btl_ner from its encoder."
        )
    return linear


@contextmanager
def errors_of_transformers(where: str, what: str) -> Iterator[None]:
    """Turn the errors of json, safetensors, torch, transformers and encoders into a PipelineError.
    Its message quotes none of theirs, which may be long or quote the input.

    where (str): The folder, for the message.
    what (str): What was wrong there.
    """
    try:
        yield
    except (BtlError, Warning):
        raise
    except Exception as error:
        raise PipelineError(f"{where}: {what} ({type(error).__name__}).") from error


def _check_config(folder: Path) -> None:
    if not (folder / "config.json").is_file():
        raise PipelineError(f"{folder}: no checkpoint here. Give a folder with a config.json.")
    config = _read_json(folder / "config.json")
    own_code = "auto_map" in config
    if (folder / "tokenizer_config.json").is_file():
        own_code |= "auto_map" in _read_json(folder / "tokenizer_config.json")
    if own_code:
        raise PipelineError(
            f"{folder}: the checkpoint needs code of its own (auto_map), which is never run here. "
            "Give one of a kind that transformers knows."
        )
    if "quantization_config" in config:
        raise PipelineError(
            f"{folder}: the checkpoint is quantised, and an encoder has float weights here. Save "
            "it before its quantisation."
        )


def _read_json(file: Path) -> dict[str, Any]:
    with errors_of_transformers(str(file), "no JSON"):
        # srsly reads no number as large as the limit of a tokenizer that has none.
        content = json.loads(file.read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        raise PipelineError(f"{file}: not what save_pretrained writes, which is an object.")
    return content


def _read_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    if not any(file for pattern in TOKENIZER_FILES for file in folder.glob(pattern)):
        raise PipelineError(
            f"{folder}: no tokenizer beside the checkpoint. Save it there with "
            "tokenizer.save_pretrained(...)"
        )
    tokenizer = load_tokenizer(str(folder), {"use_fast": True})
    if not tokenizer.is_fast:
        raise PipelineError(
            f"{folder}: the tokenizer gives no character offsets ({type(tokenizer).__name__}). "
            "Save a fast one there, with a tokenizer.json."
        )
    if tokenizer.pad_token_id is None:
        raise PipelineError(
            f"{folder}: the tokenizer has no padding token. Set tokenizer.pad_token and save it "
            "again with save_pretrained."
        )
    return tokenizer


def _read_classifier(folder: Path) -> PreTrainedModel:
    with errors_of_transformers(str(folder), "transformers cannot load it as a token classifier"):
        where = {"local_files_only": True, "trust_remote_code": False}
        config = AutoConfig.from_pretrained(folder, **where)
        refuse_kernels(config, str(folder))
        classifier, report = AutoModelForTokenClassification.from_pretrained(
            folder,
            **where,
            config=config,
            torch_dtype=torch.float32,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # told below, by name
        )
    if report["mismatched_keys"]:
        raise PipelineError(
            f"{folder}: config.json does not fit the weights: {report['mismatched_keys'][0]} has "
            f"another size there. It has {classifier.config.num_labels} labels (id2label)."
        )
    if report["missing_keys"]:
        raise PipelineError(
            f"{folder}: no token classifier, its head is missing. Train it, or train a btl_ner."
        )
    unknown = sorted(key for key in report["unexpected_keys"] if UNUSED not in key)
    if unknown:
        raise PipelineError(
            f"{folder}: the checkpoint has weights that a token classifier of the kind "
            f"{classifier.config.model_type} has no place for ({unknown[0]}), so its logits would "
            "differ."
        )
    return classifier.eval()
