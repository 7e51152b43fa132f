"""Find the pipeline that a pipe is in, also after it was sourced to another."""

import sys

from spacy.language import Language
from spacy.pipeline import Pipe


def linking_pipeline(pipe: Pipe) -> Language | None:
    """The pipeline that is naming one of its pipes; None if something else names it.

    To be called from the setter of the pipe's `name`. spaCy tells a pipe that is sourced nothing of
    the pipeline that it comes to, and has no hook for it; but whenever it links the pipes of a
    pipeline it names them (`Language._link_components`).
    """
    caller = sys._getframe(2).f_locals.get("self")  # noqa: SLF001 - see above
    is_linking = isinstance(caller, Language) and any(own is pipe for _, own in caller.components)
    return caller if is_linking else None
