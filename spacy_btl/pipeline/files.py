"""Pipelines on disk: loading, saving whole or not at all, and leaving no trace of a machine."""

import tempfile
from pathlib import Path
from typing import Any

import spacy
from spacy.language import Language
from spacy_transformers.layers.transformer_model import TransformerModel

from spacy_btl.errors import PipelineError


def load_pipeline(model: str) -> Language:
    """Load a pipeline. RAISES: PipelineError, where there is none of that name."""
    try:
        return spacy.load(model)
    except OSError as error:
        raise PipelineError(
            f"Cannot load the pipeline '{model}': no package and no pipeline folder of that name."
        ) from error


def forget_paths(nlp: Language) -> None:
    """Reduce the absolute paths in a pipeline's config and encoder to their last part."""
    config = nlp.config.copy()
    config["paths"] = {key: base_name(value) for key, value in config["paths"].items()}
    nlp.config = config
    for _, pipe in nlp.pipeline:
        model = getattr(pipe, "model", None)
        if isinstance(model, TransformerModel):
            name = base_name(model.attrs["name"])
            model.transformer.config.name_or_path = name
            model.tokenizer.name_or_path = model.tokenizer.init_kwargs["name_or_path"] = name


def base_name(value: Any) -> Any:
    """The last part of an absolute path; anything else as it is."""
    return Path(value).name if isinstance(value, str) and Path(value).is_absolute() else value


def refuse_foreign_folder(output: Path) -> None:
    """RAISES: PipelineError, where saving a pipeline would overwrite anything but a pipeline."""
    is_pipeline = (output / "meta.json").is_file() and (output / "config.cfg").is_file()
    if output.exists() and not is_pipeline and (output.is_file() or any(output.iterdir())):
        raise PipelineError(f"{output} exists and holds no pipeline: give another folder.")


def save_whole(nlp: Language, output: Path) -> None:
    """Save a pipeline beside its folder and rename it, so that it is never there half-written."""
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=f".{output.name}-") as folder:
        nlp.to_disk(Path(folder) / "new")
        if output.exists():
            output.rename(Path(folder) / "old")
        (Path(folder) / "new").rename(output)
