"""Check the name of an encoder: a folder, or a model of the Hugging Face hub."""

from pathlib import Path

from huggingface_hub import constants, model_info, try_to_load_from_cache
from huggingface_hub.errors import HFValidationError
from transformers.utils.hub import TRANSFORMERS_CACHE

from spacy_btl.errors import PipelineError

HUB_TIMEOUT = 10.0  # seconds


def check_name(name: str) -> None:
    """Check that a name is a folder, or a model of the hub. transformers itself retries for minutes
    if the hub cannot be reached.

    RAISES: PipelineError, for a path that does not exist, or a name that the hub does not have.
    """
    if Path(name).is_dir():
        return
    reason = "it looks like a path" if _is_path(name) else _ask_hub(name)
    if reason:
        raise PipelineError(
            f"The encoder '{name}' is not a folder, and {reason}. Give the folder of a saved "
            "encoder, or the name of a model of the Hugging Face hub (our configs have it as "
            "paths.encoder). `python -m spacy project run encoder` puts MiniLM into assets/minilm."
        )


def _is_path(name: str) -> bool:
    """Whether a name is not of the hub's form, MODEL or OWNER/MODEL."""
    owner, slash, model = name.partition("/")
    if owner in ("", ".", "..", "~") or "/" in model.rstrip("/") or "\\" in name:
        return True
    return bool(slash) and (Path(owner).is_dir() or not model)


def _ask_hub(name: str) -> str:
    """Say why the hub does not give a model; empty if it does, or if the model is cached."""
    try:
        cached = try_to_load_from_cache(name, "config.json", cache_dir=TRANSFORMERS_CACHE)
        if not isinstance(cached, str) and not constants.HF_HUB_OFFLINE:
            model_info(name, timeout=HUB_TIMEOUT)
    except (OSError, HFValidationError) as error:
        return f"the Hugging Face hub gives no model of that name ({type(error).__name__})"
    return ""
