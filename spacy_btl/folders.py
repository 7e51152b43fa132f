"""List the files of a folder of notes, by one rule for all readers.

Sub-folders and links to folders are read, and suffixes are matched in any case. Hidden names are
skipped (a leading dot, and what Spark and Hive write beside their data), and so are documentation
and settings. Any other file is an error, since it may be a note.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from spacy_btl.errors import FileError

# Of Spark, Hive, Databricks, macOS, Windows. An underscore alone hides nothing: `_n1.txt` is read.
HIDDEN = re.compile(
    r"\..*|_SUCCESS|_temporary|_metadata|_common_metadata|_spark_metadata"
    r"|_(started|committed)_\d+|__MACOSX|Thumbs\.db|desktop\.ini"
)
NO_NOTE = re.compile(
    r".*\.(md|rst|conf|cfg|ini|ya?ml|toml)|readme|licen[cs]e|notice|authors|changelog|makefile",
    re.IGNORECASE,
)
# Tables whose data files alone do not say which of their rows are still there.
LAKES = {"Delta": "_delta_log", "Hudi": ".hoodie", "Iceberg": "metadata/*.metadata.json"}


class File(NamedTuple):
    """A file of a folder.

    id (str): Its path in the folder, with slashes and without the suffix: `ward-a/n1`.
    suffix (str): Which of the suffixes it has, in lower case.
    path (Path): Where it is.
    """

    id: str
    suffix: str
    path: Path


def files_below(
    folder: Path, kinds: Mapping[str, str], *, beside: Collection[str] = ()
) -> list[File]:
    """List the files of a folder and its sub-folders, in the order of their ids.

    kinds (Mapping[str, str]): The suffixes to read, in lower case (`.txt`, `.csv.gz`), and what to
        call the kind that each is of. A folder may hold files of one kind only.
    beside (Collection[str]): Suffixes that may stand beside them, and are not read.
    RETURNS (List[File]): Empty, if there are none.
    RAISES: FileError, for files of two kinds or of an unknown one, two that differ in the case of
        the suffix alone, a link that leads nowhere or back, a folder that cannot be read, and a
        table of Delta, Iceberg or Hudi.
    """
    refuse_part_of_lake(folder)
    files: dict[tuple[str, str], File] = {}
    for path in _walk(folder, frozenset()):
        suffix = suffix_of(path.name, [*kinds, *beside])
        if suffix is None:
            raise FileError(
                f"{_shown(path)}: a file of another kind than {', '.join(kinds)}, which may be a "
                "note. Move it out of the folder, or convert it."
            )
        if suffix in kinds:
            name = path.relative_to(folder).as_posix()[: -len(suffix)]
            file = File(name, suffix, path)
            other = files.setdefault((name, suffix), file)
            if other is not file:
                raise FileError(f"{_shown(path)}: {other.path.name} beside it has the same id.")
    _require_one_kind(folder, files.values(), kinds)
    return [files[key] for key in sorted(files)]


def refuse_part_of_lake(path: Path) -> None:
    """RAISES: FileError, for a file or folder in a table of Delta, Iceberg or Hudi: `data` of an
    Iceberg table, a partition of a Delta one."""
    for folder in path.absolute().parents:
        _refuse_lake(folder)


def suffix_of(name: str, suffixes: Iterable[str]) -> str | None:
    """Which of these suffixes a file's name has, in any case."""
    return next((suffix for suffix in suffixes if name.lower().endswith(suffix)), None)


def _walk(folder: Path, above: frozenset[Path]) -> Iterator[Path]:
    """The files that are neither hidden nor plainly no notes."""
    try:
        here = folder.resolve(strict=True)
        paths = sorted(folder.iterdir())
    except (OSError, RuntimeError) as err:  # RuntimeError: links in a circle, in Python 3.11
        reason = getattr(err, "strerror", None) or "a link that leads back to itself"
        raise FileError(f"{_shown(folder)}: cannot be read ({reason}).") from None
    if here in above:
        raise FileError(f"{_shown(folder)}: a link to a folder that it lies in. Remove it.")
    _refuse_lake(folder)
    for path in paths:
        if HIDDEN.fullmatch(path.name):
            continue
        if path.is_dir():
            yield from _walk(path, above | {here})
        elif not path.is_file():
            raise FileError(f"{_shown(path)}: neither a file nor a folder, or a broken link.")
        elif not NO_NOTE.fullmatch(path.name):
            yield path


def _refuse_lake(folder: Path) -> None:
    for kind, sign in LAKES.items():
        if any(folder.glob(sign)):
            raise FileError(
                f"{_shown(folder)}: a table of {kind}, whose files may hold rows that were deleted "
                f"or replaced. Export it to Parquet, or read it by Spark with {kind}'s reader, "
                "and annotate the DataFrame."
            )


def _require_one_kind(folder: Path, files: Collection[File], kinds: Mapping[str, str]) -> None:
    first: dict[str, File] = {}
    for file in files:
        first.setdefault(kinds[file.suffix], file)
    if len(first) > 1:
        examples = {kind: _shown(file.path.relative_to(folder)) for kind, file in first.items()}
        found = " and ".join(f"{kind} ({examples[kind]})" for kind in sorted(examples))
        raise FileError(
            f"{_shown(folder)}: holds {found}. Give a folder that holds notes in one form only."
        )


def _shown(path: object) -> str:
    """A path as it can be printed, whatever the bytes of its name."""
    return str(path).encode("utf-8", "backslashreplace").decode("utf-8")
