"""Files and folders written whole or not at all, and YAML files, which are checked when read."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, TypeVar

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
    except Exception as error:  # noqa: BLE001 - srsly's reader has several of its own
        raise FileError(f"{path}: no {what} ({error}).") from None


def write_file(path: Path, data: bytes) -> None:
    """Write a file whole or not at all.

    RAISES: FileError, if it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as file:
            file.write(data)
    except OSError as error:
        raise FileError(f"{path}: cannot be written ({error.strerror}).") from error


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Open a file under a temporary name, and rename it if the block ends without an error.

    path (Path): In a folder that exists.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            yield file
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Make a folder under a temporary name, and rename it if the block ends without an error. A
    folder that was there is replaced as a whole, or kept.

    YIELDS (Path): The place of the new folder, which the block is to make.
    RAISES: FileError, if it cannot be written.
    """
    try:
        # Beside it, and not in folders that a failure would leave behind.
        nearest = next(folder for folder in path.absolute().parents if folder.is_dir())
        with tempfile.TemporaryDirectory(dir=nearest, prefix=f".{path.name}-") as temporary:
            new, old = Path(temporary) / "new", Path(temporary) / "old"
            yield new
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.exists():
                path.rename(old)
            try:
                new.rename(path)
            except BaseException:  # an interruption too must not cost the old one
                if old.exists():
                    old.rename(path)
                raise
    except OSError as error:
        raise FileError(f"{path}: cannot be written ({error.strerror}).") from error
