"""Pipelines on disk: load, save whole or not at all, fingerprint, forget the machine's paths."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import blake2b, file_digest
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import spacy
from spacy.language import Language
from spacy.util import import_file
from thinc.api import Config, Model

from spacy_btl.errors import BtlError, PipelineError
from spacy_btl.files import whole_folder

if TYPE_CHECKING:
    from spacy_transformers.layers.transformer_model import TransformerModel

# Descriptions of a pipeline; spaCy's packages copy the last three.
DESCRIPTIONS = ("meta.json", "README.md", "LICENSE", "LICENSES_SOURCES")
# What a pipeline's folder holds beside the folders of its pipes.
OWN_FILES = ("config.cfg", "tokenizer", "vocab", *DESCRIPTIONS)


def load_pipeline(
    model: str, *, exclude: Sequence[str] = (), config: Mapping[str, Any] | None = None
) -> Language:
    """Load a pipeline.

    config (Optional[Mapping[str, Any]]): Settings in place of its own, by their dotted names.
    RAISES: PipelineError, if there is none of that name, or it is incomplete.
    """
    try:
        return spacy.load(model, exclude=list(exclude), config=dict(config or {}))
    except OSError as error:
        reason = "no package and no pipeline folder of that name"
        if Path(model).is_dir():
            reason = f"the folder holds no complete pipeline ({error})"
        raise PipelineError(f"Cannot load the pipeline '{model}': {reason}.") from error
    except BtlError:
        raise
    except ValueError as error:  # of the config, the meta data, a pipe's files, each its own
        if "E002" in str(error) and find_spec("spacy_transformers") is None:
            raise PipelineError(
                f"Cannot load the pipeline '{model}': its encoder needs spacy-transformers, and "
                "spacy-btl is installed for prediction alone. Compile the pipeline where all of it "
                "is installed (python -m spacy btl compile)."
            ) from None
        raise PipelineError(
            f"Cannot load the pipeline '{model}': a file of it is damaged, or a pipe of it is not "
            f"installed ({str(error).strip().splitlines()[0]})."
        ) from error


def import_code(file: Path) -> None:
    """Run a Python file that registers functions, as spaCy's `--code` does.

    RAISES: PipelineError, for a file that is missing or fails.
    """
    try:
        import_file("python_code", file)
    except Exception as error:  # the code of others can fail in any way
        raise PipelineError(
            f"{file}: not Python code that runs ({type(error).__name__}: {error})."
        ) from error


def forget_paths(nlp: Language) -> None:
    """Reduce the absolute paths in a pipeline's config and encoders to their last part."""
    _forget_in(nlp.config)
    for name in nlp.component_names:
        _forget_in(nlp.get_pipe_config(name))
    for encoder in encoders(nlp):
        name = base_name(encoder.attrs["name"])
        encoder.attrs["name"] = encoder.transformer.config.name_or_path = name


def encoders(nlp: Language) -> Iterator["TransformerModel"]:
    """The encoders of a pipeline, in pipes of their own and inside of others."""
    for _, pipe in nlp.components:
        model = getattr(pipe, "model", None)
        for layer in model.walk() if isinstance(model, Model) else ():
            if "set_transformer" in layer.attrs:  # its class is not there without torch
                yield cast("TransformerModel", layer)


def _forget_in(block: dict[Any, Any] | list[Any]) -> None:
    for key, value in block.items() if isinstance(block, dict) else enumerate(block):
        if isinstance(value, dict | list):
            _forget_in(value)
        elif isinstance(value, str):
            block[key] = base_name(value)


def base_name(value: str) -> str:
    """The last part of an absolute path; any other value unchanged."""
    return (Path(value).name or value) if Path(value).is_absolute() else value


def model_name(nlp: Language) -> tuple[str, str]:
    """A pipeline's name, as its package has it, and version."""
    return f"{nlp.meta['lang']}_{nlp.meta['name']}", nlp.meta["version"]


def fingerprint(folder: Path) -> str:
    """A digest of the names and bytes of a pipeline's files that its predictions depend on. The
    descriptions, which a package or a card changes, are left out."""
    digest = blake2b(digest_size=16)
    passed_over = {folder / name for name in DESCRIPTIONS}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        if "__pycache__" not in path.parts and path not in passed_over:
            digest.update(f"{path.relative_to(folder).as_posix()} {path.stat().st_size} ".encode())
            with path.open("rb") as file:
                digest.update(file_digest(file, "blake2b").digest())
    return digest.hexdigest()


def refuse_foreign_folder(output: Path) -> None:
    """Check that saving a pipeline to a folder overwrites nothing but a pipeline.

    RAISES: PipelineError, if it would, or if there can be no such folder.
    """
    above = next(folder for folder in output.absolute().parents if folder.exists())
    if not above.is_dir():
        raise PipelineError(f"{output} cannot be written: {above} is not a folder.")
    if not output.exists() or (output.is_dir() and not any(output.iterdir())):
        return
    if not ((output / "meta.json").is_file() and (output / "config.cfg").is_file()):
        raise PipelineError(f"{output} exists and holds no pipeline: give another folder.")
    pipes = Config().from_disk(output / "config.cfg", interpolate=False).get("components", {})
    foreign = sorted(
        path.name
        for path in output.iterdir()
        if path.name not in OWN_FILES and path.name.removesuffix(".json") not in pipes
    )
    if foreign:
        raise PipelineError(
            f"{output} holds more than a pipeline, and would be replaced as a whole: move "
            f"{foreign[0]!r} away, or give another folder."
        )


def save_whole(
    nlp: Language,
    output: Path,
    *,
    texts: Mapping[str, str] | None = None,
    check: Callable[[Path], None] | None = None,
) -> None:
    """Save a pipeline whole or not at all, in place of an earlier one.

    texts (Optional[Mapping[str, str]]): Files to save with it, by name.
    check (Optional[Callable]): Checks the saved folder before it gets its name. If it raises,
        nothing is written.
    RAISES: FileError, if it cannot be written.
    """
    with whole_folder(output) as folder:
        nlp.to_disk(folder)
        for name, text in (texts or {}).items():
            (folder / name).write_text(text, encoding="utf-8", newline="\n")
        if check is not None:
            check(folder)
