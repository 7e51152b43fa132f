"""Our YAML files: read, and checked by a pydantic model."""

from pathlib import Path
from typing import TypeVar

import srsly
from pydantic import BaseModel, ValidationError

from spacy_btl.errors import PipelineError

Content = TypeVar("Content", bound=BaseModel)


def read_yaml(path: Path, kind: type[Content], what: str) -> Content:
    """Read and check a file.

    kind (Type[BaseModel]): What the file is to hold.
    what (str): What to call such a file in an error.
    RAISES: PipelineError, for a file that is missing, no YAML, or holds something else.
    """
    try:
        return kind(**srsly.read_yaml(path))
    except ValidationError as error:
        flaws = "; ".join(
            f"{'.'.join(map(str, flaw['loc']))}: {flaw['msg']}" for flaw in error.errors()
        )
        raise PipelineError(f"{path}: {flaws}.") from None
    except Exception as error:  # srsly's reader has several of its own
        raise PipelineError(f"{path}: no {what} ({error}).") from None
