"""Files that are written whole or not at all, and YAML files, which are checked when read."""

import os
from pathlib import Path
from typing import TypeVar

import srsly
from pydantic import BaseModel, ValidationError

from spacy_btl.errors import FileError

Content = TypeVar("Content", bound=BaseModel)


def read_yaml(path: Path, kind: type[Content], what: str) -> Content:
    """Read and check a file.

    kind (Type[BaseModel]): What the file is to hold.
    what (str): What to call such a file in an error.
    RAISES: FileError, for a file that is missing, no YAML, or holds something else.
    """
    try:
        return kind(**srsly.read_yaml(path))
    except ValidationError as error:
        flaws = "; ".join(
            f"{'.'.join(map(str, flaw['loc']))}: {flaw['msg']}" for flaw in error.errors()
        )
        raise FileError(f"{path}: {flaws}.") from None
    except Exception as error:  # srsly's reader has several of its own
        raise FileError(f"{path}: no {what} ({error}).") from None


def write_file(path: Path, data: bytes) -> None:
    """Write a file under a temporary name and rename it, so that it is never there half-written.

    RAISES: FileError, if it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.write_bytes(data)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as err:
        raise FileError(f"{path}: cannot be written ({err.strerror}).") from err
