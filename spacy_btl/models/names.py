"""What names an encoder: a folder, or a model of the Hugging Face hub."""

from pathlib import Path

from spacy_btl.errors import PipelineError


def check_name(name: str) -> None:
    """RAISES: PipelineError, for what looks like a path and is no folder: asking a hub for it takes
    minutes where there is no network."""
    if _is_path(name) and not Path(name).is_dir():
        raise PipelineError(
            f"The encoder '{name}' is no folder here. Give the folder of a saved encoder, or the "
            "name of a model of the Hugging Face hub (our configs have it as paths.encoder). "
            "`python -m spacy project run encoder` puts MiniLM into assets/minilm."
        )


def _is_path(name: str) -> bool:
    """A hub's names are MODEL or OWNER/MODEL."""
    owner, slash, model = name.partition("/")
    if owner in ("", ".", "..", "~") or "/" in model.rstrip("/") or "\\" in name:
        return True
    return bool(slash) and (Path(owner).is_dir() or not model)
