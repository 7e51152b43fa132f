"""The pipeline of a job, and how a command wants it: the same in this process and in a task."""

from pathlib import Path
from typing import NamedTuple

from spacy.language import Language

from spacy_btl.notes.entities import spans_keys
from spacy_btl.pipeline.thresholds import Thresholds, set_thresholds
from spacy_btl.pipelines import import_code, load_pipeline


class Source(NamedTuple):
    """Where a pipeline is.

    model (str): A package name or a folder.
    code (Optional[Path]): A Python file that registers pipes of other packages.
    thresholds (Optional[Thresholds]): In place of the pipeline's own `min_confidence`.
    """

    model: str
    code: Path | None = None
    thresholds: Thresholds | None = None


def open_pipeline(source: Source) -> Language:
    """Load a pipeline whose mentions can be read.

    RAISES: BtlError, if it cannot be loaded or read, or has no confidence or types for thresholds.
    """
    if source.code is not None:
        import_code(source.code)
    nlp = load_pipeline(source.model)
    spans_keys(nlp)  # here, so that its error comes before any file
    if source.thresholds is not None:
        set_thresholds(nlp, source.thresholds)
    return nlp
