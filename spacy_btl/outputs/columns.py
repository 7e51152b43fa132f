"""Which columns a pipeline's rows have beside those of every pipeline."""

from typing import Any

from spacy.language import Language

from spacy_btl.context.pipe import find_contexts
from spacy_btl.context.sections import find_sections
from spacy_btl.guarantee.promises import read_promises

KB_ID = "token.ent_kb_id"  # what a pipe says that it assigns, if it links entities


def columns_of(nlp: Language, *, keeps_promises: bool = True) -> dict[str, Any]:
    """The settings `asserts`, `sections`, `links` and `promises` of a `Stamp`.

    keeps_promises (bool): Whether the promises that the pipeline carries hold for what it writes.
    RAISES: PipelineError, for promises that cannot be read.
    """
    promises = read_promises(nlp) if keeps_promises else []
    return {
        "asserts": bool(find_contexts(nlp)),
        "sections": bool(find_sections(nlp)),
        "links": any(KB_ID in nlp.get_pipe_meta(name).assigns for name in nlp.pipe_names),
        "promises": {promise.label: promise.short for promise in promises} or None,
    }
