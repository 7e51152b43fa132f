"""The files to read: one file, or those of a folder or an archive, and the records of JSON."""

import json
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from io import BytesIO
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from spacy_btl.errors import CorpusError
from spacy_btl.folders import HIDDEN, NO_NOTE, files_below, suffix_of

# What a folder or an archive may hold. A file that is given by itself may have any suffix.
SUFFIXES = (
    *(".json", ".jsonl", ".ndjson", ".xmi", ".xml", ".tsv", ".txt", ".spacy", ".zip", ".pubtator"),
    *(".conll", ".conll03", ".conll2003", ".iob", ".iob2", ".bio", ".bioes", ".bilou"),
)
# Files that say how to read those beside and below them.
BESIDE = ("typesystem.xml", "dataset_info.json", "exportedproject.json")
PROJECT_FOLDERS = ("annotation/", "curation/")
MAX_BYTES = 2_000_000_000  # of a file in an archive: a small archive can hold an endless file
JSON = (".json", ".jsonl", ".ndjson")
JSON_HEAD = re.compile(r"\{\s*\"|\[\s*[{\[\]]")
MAX_DEPTH = 3  # of archives in archives: a project of INCEpTION has an archive per annotator
HEAD, SAMPLE = 20_000, 100  # bytes and JSON values that tell the format


class Item(NamedTuple):
    """A value of a JSON file, and its place; `problem` says why it cannot be read."""

    where: str
    value: Any
    problem: str | None = None


@dataclass(frozen=True)
class Source:
    """A file, in a folder, an archive or by itself.

    name (str): Its path in the folder or archive, without the suffix; the stem of a file by itself.
    where (str): How an error names it.
    path (Path): The file, or the archive that it is in.
    read (Callable[[], bytes]): Returns its content.
    beside (Mapping[str, bytes]): The content of the files that say how to read it.
    alone (bool): Whether it is the only file.
    """

    name: str
    where: str
    path: Path
    read: Callable[[], bytes]
    beside: Mapping[str, bytes] = field(default_factory=dict)
    alone: bool = False

    @cached_property
    def head(self) -> str:
        """How it begins."""
        return self.read()[:HEAD].decode("utf-8-sig", "replace").lstrip()

    @property
    def is_json(self) -> bool:
        """Whether it is JSON by its suffix or its first signs."""
        return self.suffix in JSON or bool(JSON_HEAD.match(self.head))

    @property
    def suffix(self) -> str:
        """The suffix of its file, in lower case."""
        return PurePosixPath(self.where).suffix.lower()

    def text(self) -> str:
        """Its content, with its line ends unchanged.

        RAISES: CorpusError, if it is not UTF-8.
        """
        try:
            return self.read().decode("utf-8-sig")
        except UnicodeDecodeError:
            raise CorpusError(f"{self.where}: not UTF-8.") from None

    def xml(self) -> bytes:
        """Its content, if that is safe to parse. RAISES: CorpusError, see `safe_xml`."""
        return safe_xml(self.read(), self.where)

    def lines(self) -> Iterator[tuple[str, str]]:
        """Its lines, without their ends, and the place of each."""
        for number, line in enumerate(self.text().split("\n"), start=1):
            yield line.removesuffix("\r"), f"{self.where}, line {number}"

    def note_id(self, number: int, unit: str) -> str:
        """The id of a note that has none: `line-000007`, behind the file's name if several."""
        own = f"{unit}-{number:06}"
        return own if self.alone else f"{self.name}/{own}"

    def place(self, inner: str) -> str:
        """How an error names a note of the file beside the name of the source."""
        return inner if self.alone else f"{self.name}, {inner}"

    def items(self) -> Iterator[Item]:
        """The values of a file of JSON lines, or of a JSON array; a JSON object is one value."""
        if self.is_lines:
            for number, line in enumerate(self.read().split(b"\n"), start=1):
                if line.strip(b" \t\r") not in (b"", b"\xef\xbb\xbf"):
                    value, problem = parse_json(line)
                    yield Item(f"{self.where}, line {number}", value, problem)
        else:
            values = self.json if isinstance(self.json, list) else [self.json]
            for number, value in enumerate(values, start=1):
                yield Item(f"{self.where}, item {number}", value)

    @cached_property
    def sample(self) -> list[Item]:
        """The first values, which tell the format."""
        return list(islice(self.items(), SAMPLE))

    @cached_property
    def is_lines(self) -> bool:
        """Whether it has one JSON value per line."""
        if self.suffix in JSON[1:]:
            return True
        first, *others = [line for line in self.read().split(b"\n") if line.strip()] or [b""]
        return bool(others) and isinstance(parse_json(first)[0], dict)

    @cached_property
    def json(self) -> Any:
        """The content as one JSON value.

        RAISES: CorpusError, for broken JSON, with its line.
        """
        text = self.text()
        try:
            return json.loads(text, object_pairs_hook=_unique)
        except json.JSONDecodeError as err:
            place = f"{self.where}, line {err.lineno}"
            raise CorpusError(f"{place}: broken JSON. Export the file again.") from None
        except KeyError:
            raise CorpusError(f"{self.where}: the same key twice in one object.") from None
        except (ValueError, RecursionError):
            raise CorpusError(f"{self.where}: broken JSON. Export the file again.") from None


def safe_xml(content: bytes, where: str) -> bytes:
    """XML that declares no entities: those can name other files, or grow without end.

    RAISES: CorpusError, for XML that declares any. No annotation tool writes that.
    """
    if b"<!ENTITY" in content.replace(b"\0", b""):  # of UTF-16 too
        raise CorpusError(f"{where}: XML with entities of its own is not read. Remove its DTD.")
    return content


def parse_json(line: bytes) -> tuple[Any, str | None]:
    """Return the value of a line, or why it cannot be read."""
    try:
        return json.loads(line.decode("utf-8-sig"), object_pairs_hook=_unique), None
    except UnicodeDecodeError:
        return None, "not UTF-8"
    except KeyError:
        return None, "the same key twice in one object"
    except (ValueError, RecursionError):
        return None, "broken JSON"


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):  # json would keep the last one
        raise KeyError
    return fields


def sources_of(src: Path) -> list[Source]:
    """List the files of a source; archives are opened.

    RAISES: CorpusError, for an archive that cannot be read; FileError, for a folder with files of
        an unknown kind.
    """
    if src.is_file():
        near = {path.name.lower(): path for path in src.parent.iterdir()}
        beside = {name: near[name].read_bytes() for name in BESIDE if name in near}
        sources = list(_opened(Source(src.stem, str(src), src, src.read_bytes, beside)))
    else:
        files = files_below(src, dict.fromkeys(SUFFIXES, "annotation"))
        entries = [(file.path.relative_to(src).as_posix(), file.path) for file in files]
        named = [(name, str(path), path, path.read_bytes) for name, path in entries]
        sources = [one for source in _with_beside(named, {}) for one in _opened(source)]
    # Only these folders of a project of INCEpTION hold annotation.
    sources = [
        one
        for one in sources
        if "exportedproject.json" not in one.beside or one.name.startswith(PROJECT_FOLDERS)
    ]
    if src.is_file() and len(sources) == 1:
        sources = [Source(**{**_fields(sources[0]), "alone": True})]
    return sources


def _fields(source: Source) -> dict[str, Any]:
    names = ("name", "where", "path", "read", "beside")
    return {name: getattr(source, name) for name in names}


_Named = tuple[str, str, Path, Callable[[], bytes]]


def _with_beside(files: list[_Named], inherited: Mapping[str, bytes]) -> Iterator[Source]:
    """Sources of files, each with what says how to read it, from its folder and those above."""
    beside: dict[PurePosixPath, dict[str, bytes]] = {}
    for name, _, _, read in files:
        path = PurePosixPath(name)
        if path.name.lower() in BESIDE:
            beside.setdefault(path.parent, {})[path.name.lower()] = read()
    for name, where, file, read in files:
        own = PurePosixPath(name)
        if own.name.lower() not in BESIDE:
            found = dict(inherited)
            for folder in reversed(own.parents):
                found |= beside.get(folder, {})
            yield Source(str(own.with_suffix("")), where, file, read, found)


def _opened(source: Source, depth: int = 0) -> Iterator[Source]:
    """The source, or what is in it if it is an archive."""
    if source.suffix != ".zip":
        yield source
        return
    if depth == MAX_DEPTH:
        raise CorpusError(f"{source.where}: more than {MAX_DEPTH} archives in one another.")
    prefix = "" if depth == 0 and source.name == source.path.stem else f"{source.name}/"
    for inner in _with_beside(list(_entries(source, prefix)), source.beside):
        yield from _opened(inner, depth + 1)


def _entries(source: Source, prefix: str) -> Iterator[_Named]:
    try:
        archive = zipfile.ZipFile(BytesIO(source.read()))
        infos = archive.infolist()
    except (zipfile.BadZipFile, ValueError, OSError):
        raise CorpusError(f"{source.where}: not a zip archive, or a damaged one.") from None
    for info in infos:
        path = PurePosixPath(info.filename)
        hidden = any(HIDDEN.fullmatch(part) for part in path.parts)
        if info.is_dir() or hidden or NO_NOTE.fullmatch(path.name):
            continue
        where = f"{source.where}/{info.filename}"
        if suffix_of(path.name, SUFFIXES):
            yield f"{prefix}{path}", where, source.path, _reader(archive, info, where)


def _reader(archive: zipfile.ZipFile, info: zipfile.ZipInfo, where: str) -> Callable[[], bytes]:
    def read() -> bytes:
        try:
            if info.file_size <= MAX_BYTES:
                return archive.read(info)
        except Exception:  # noqa: BLE001 - zipfile and zlib raise their own
            raise CorpusError(f"{where}: encrypted or damaged. Write the archive again.") from None
        raise CorpusError(f"{where}: over {MAX_BYTES:,} bytes. Unpack the archive.")

    return read
