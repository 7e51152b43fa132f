"""Add `btl_sections` to a trained pipeline."""

from pathlib import Path

from spacy.language import Language

from spacy_btl.context.pipe import find_contexts
from spacy_btl.context.sections import SECTIONS, find_sections
from spacy_btl.pipelines import load_pipeline, refuse_foreign_folder, save_whole
from spacy_btl.training.add_context import mention_groups


def add_sections(model: str, output: Path) -> Language:
    """Put a `btl_sections` behind all pipes that decide entities, before a `btl_context`, and save
    the pipeline. One that is there is replaced.

    model (str): A package name or a folder.
    output (Path): The folder to save to; it must be new, empty, or an earlier pipeline.
    RAISES: BtlError, for a pipeline that cannot be loaded, or an output that cannot be written.

    >>> from spacy_btl import add_sections
    >>> nlp = add_sections("calibrated", Path("sectioned"))
    >>> nlp.pipe_names[-1]
    'btl_sections'
    """
    refuse_foreign_folder(output)
    nlp = load_pipeline(model)
    for pipe in find_sections(nlp):
        nlp.remove_pipe(pipe.name)
    before = next((pipe.name for pipe in find_contexts(nlp)), None)
    nlp.add_pipe(SECTIONS, before=before, config={"spans_keys": mention_groups(nlp)})
    save_whole(nlp, output)
    return nlp
