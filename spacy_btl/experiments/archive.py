"""The file of an experiment's results: its summary, and the counts and costs of its cells."""

import io
import json
import lzma
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from spacy_btl.errors import FileError
from spacy_btl.files import write_file

SUFFIX = ".tar.xz"
SUMMARY = "summary.json"
# Similar counts of other decodings and cells lie further apart than the default window of xz.
WINDOW = 1 << 26


def archive_of(results: Path) -> Path:
    """The archive of an experiment, by the path of its results without a suffix."""
    return results.with_name(results.name + SUFFIX)


def write_archive(path: Path, summary: Mapping[str, Any], cells: Mapping[str, bytes]) -> None:
    """Write a summary and files by "CELL/NAME". The same content gives the same bytes.

    RAISES: FileError, if it cannot be written.
    """
    text = json.dumps(summary, separators=(",", ":")) + "\n"
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in [(SUMMARY, text.encode("utf-8")), *sorted(cells.items())]:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    how = {"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "dict_size": WINDOW}
    write_file(path, lzma.compress(buffer.getvalue(), filters=[how]))


def read_summary(path: Path) -> dict[str, Any]:
    """The summary of an archive. RAISES: FileError, if it is missing or damaged."""
    for name, content in _members(path):
        if name == SUMMARY:
            return json.loads(content)
    raise FileError(f"{path}: holds no {SUMMARY}.")


def read_cells(path: Path) -> dict[str, dict[str, bytes]]:
    """The files of each cell of an archive. RAISES: FileError, if it is missing or damaged."""
    cells: dict[str, dict[str, bytes]] = {}
    for name, content in _members(path):
        cell, slash, file = name.partition("/")
        if slash:
            cells.setdefault(cell, {})[file] = content
    return cells


def _members(path: Path) -> Iterator[tuple[str, bytes]]:
    """Read members one by one, so that the first one does not take decompressing all."""
    try:
        with tarfile.open(path, mode="r|xz") as tar:
            for member in tar:
                content = tar.extractfile(member)
                if content is not None:
                    yield member.name, content.read()
    except (OSError, EOFError, tarfile.TarError, lzma.LZMAError) as error:
        raise FileError(f"{path}: missing or damaged results of an experiment ({error}).") from None
