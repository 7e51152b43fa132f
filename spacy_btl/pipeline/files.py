"""Pipelines on disk: loading, saving whole or not at all, and leaving no trace of a machine."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import spacy
from spacy.language import Language
from spacy_transformers.layers.transformer_model import TransformerModel
from thinc.api import Model

from spacy_btl.errors import PipelineError


def load_pipeline(model: str, *, exclude: Sequence[str] = ()) -> Language:
    """Load a pipeline. RAISES: PipelineError, where there is none of that name, or part of one."""
    try:
        return spacy.load(model, exclude=list(exclude))
    except OSError as error:
        reason = "no package and no pipeline folder of that name"
        if Path(model).is_dir():
            reason = f"the folder holds no complete pipeline ({error})"
        raise PipelineError(f"Cannot load the pipeline '{model}': {reason}.") from error


def forget_paths(nlp: Language) -> None:
    """Reduce the absolute paths in a pipeline's config and encoders to their last part."""
    _forget_in(nlp.config)
    for name, pipe in nlp.components:
        _forget_in(nlp.get_pipe_config(name))
        model = getattr(pipe, "model", None)
        for layer in model.walk() if isinstance(model, Model) else ():
            if isinstance(layer, TransformerModel):
                encoder = base_name(layer.attrs["name"])
                layer.attrs["name"] = layer.transformer.config.name_or_path = encoder


def _forget_in(block: dict[str, Any]) -> None:
    for key, value in block.items():
        if isinstance(value, dict):
            _forget_in(value)
        elif isinstance(value, str):
            block[key] = base_name(value)


def base_name(value: str) -> str:
    """The last part of an absolute path; anything else as it is."""
    return (Path(value).name or value) if Path(value).is_absolute() else value


def refuse_foreign_folder(output: Path) -> None:
    """RAISES: PipelineError, where saving a pipeline would overwrite anything but a pipeline."""
    is_pipeline = (output / "meta.json").is_file() and (output / "config.cfg").is_file()
    if output.exists() and not is_pipeline and (output.is_file() or any(output.iterdir())):
        raise PipelineError(f"{output} exists and holds no pipeline: give another folder.")


def save_whole(nlp: Language, output: Path) -> None:
    """Save a pipeline beside its folder and rename it, so that it is never there half-written.

    RAISES: PipelineError, if it cannot be written.
    """
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=output.parent, prefix=f".{output.name}-") as folder:
            nlp.to_disk(Path(folder) / "new")
            if output.exists():
                output.rename(Path(folder) / "old")
            try:
                (Path(folder) / "new").rename(output)
            except BaseException:  # an interruption too must not cost the old pipeline
                if (Path(folder) / "old").exists():
                    (Path(folder) / "old").rename(output)
                raise
    except OSError as error:
        raise PipelineError(f"{output}: cannot be written ({error.strerror}).") from error
