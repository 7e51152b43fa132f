"""Add `btl_context` to a trained pipeline."""

from collections.abc import Sequence
from pathlib import Path

from spacy.language import Language

from spacy_btl.context.pipe import CONTEXT, find_contexts
from spacy_btl.errors import PipelineError
from spacy_btl.pipeline.btl_ner import BtlNer
from spacy_btl.pipelines import load_pipeline, refuse_foreign_folder, save_whole

LANG = "en"  # of the terms
REQUIREMENT = "negspacy>=1.1"  # of the package that `spacy package` makes


def add_context(model: str, output: Path, *, types: Sequence[str] | None = None) -> Language:
    """Put a `btl_context` at the end of a pipeline, so that it reads the entities that all other
    pipes decide, and save the pipeline. One that is there is replaced.

    model (str): A package name or a folder.
    output (Path): The folder to save to; it must be new, empty, or an earlier pipeline.
    types (Optional[Sequence[str]]): The types to which assertions apply; None for all.
    RAISES: BtlError, for a pipeline that cannot be loaded, is not English or has no such type, an
        output that cannot be written, or without negspacy.

    >>> from spacy_btl import add_context
    >>> nlp = add_context("calibrated", Path("asserted"))
    >>> nlp.pipe_names[-1]
    'btl_context'
    """
    refuse_foreign_folder(output)
    nlp = load_pipeline(model)
    require_english(nlp.lang)
    known = {label for labels in nlp.pipe_labels.values() for label in labels}
    unknown = sorted(set(types or ()) - known)
    if unknown:
        raise PipelineError(
            f"'{model}' predicts no {', '.join(unknown)}. "
            f"Its types are: {', '.join(sorted(known))}."
        )
    for pipe in find_contexts(nlp):
        nlp.remove_pipe(pipe.name)
    chosen = None if types is None else sorted(types)
    nlp.add_pipe(CONTEXT, config={"types": chosen, "spans_keys": mention_groups(nlp)})
    others = [one for one in nlp.meta.get("requirements", []) if one != REQUIREMENT]
    nlp.meta["requirements"] = [*others, REQUIREMENT]
    save_whole(nlp, output)
    return nlp


def mention_groups(nlp: Language) -> list[str]:
    """The groups of `doc.spans` that hold mentions."""
    ners = [pipe for _, pipe in nlp.pipeline if isinstance(pipe, BtlNer)]
    return [pipe.spans_key for pipe in ners if pipe.spans_key is not None]


def require_english(lang: str | None) -> None:
    """RAISES: PipelineError, for another language than that of the terms."""
    if lang != LANG:
        raise PipelineError(
            f"The terms of the assertions are English, and the language is '{lang}'. Leave them "
            "out, or add the pipe `btl_context` in Python, with `terms` of your own."
        )
