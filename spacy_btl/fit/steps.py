"""The steps of a run, recorded so that the same command goes on where an earlier one stopped.

FOLDER/NAME.json says what a finished step was made of, and the hashes of what it wrote. It is
written last. A step is done again if what it is made of has changed, or if what it wrote has: so a
step that was stopped is done again, also where an earlier one had written the same files.
"""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from spacy_btl.errors import FileError
from spacy_btl.experiments.folds import file_hash, short_hash
from spacy_btl.files import write_file

MadeOf = Mapping[str, str | int | float | bool | None]
# (the name of the step, why it is done again: empty for the first time)
Begin = Callable[[str, str], None]


def tree_hash(path: Path) -> str:
    """The hash of a file, or of the names and contents of all files of a folder.

    RAISES: FileError, for what is missing or cannot be read.
    """
    if not path.is_dir():
        return file_hash(path)
    files = sorted(file for file in path.rglob("*") if file.is_file())
    return short_hash([[file.relative_to(path).as_posix(), file_hash(file)] for file in files])


class Steps:
    """The finished steps of a run.

    folder (Path): The folder of their records.
    root (Path): The folder of all outputs. It may be moved between runs.
    begin (Callable): Is told of each step that is done.
    """

    def __init__(self, folder: Path, root: Path, begin: Begin) -> None:
        self.folder = folder
        self.root = root
        self.begin = begin
        self.hashes: dict[str, str] = {}

    def run(
        self, name: str, made_of: MadeOf, outputs: Sequence[Path], do: Callable[[], Any]
    ) -> Any:
        """Do a step, unless it is finished.

        made_of (Mapping[str, Any]): Everything that its outcome depends on. The names are told to
            the user if one changes: "the training documents".
        outputs (Sequence[Path]): The files and folders that it writes, each whole or not at all.
        do (Callable): Does it. Returns what later steps need to know, as JSON.
        RETURNS (Any): What `do` returned, in this run or an earlier one.
        """
        record = self._read(name)
        reason = "" if record is None else self._changes(record, made_of, outputs)
        if record is None or reason:
            self.begin(name, reason)
            earlier = set(record["outputs"]) if record else set()
            result = do()
            record = {
                "made_of": dict(made_of),
                "outputs": {self._key(path): tree_hash(path) for path in outputs},
                "result": result,
            }
            write_file(self._file(name), json.dumps(record, indent=2).encode("utf-8"))
            for path in earlier - record["outputs"].keys():
                remove(self.root / path)
        self.hashes |= record["outputs"]
        return record["result"]

    def hash_of(self, path: Path) -> str:
        """The hash of what a step of this run wrote."""
        return self.hashes[self._key(path)]

    def _file(self, name: str) -> Path:
        return self.folder / f"{name.replace(' ', '-')}.json"

    def _read(self, name: str) -> dict[str, Any] | None:
        try:
            record = json.loads(self._file(name).read_text("utf-8"))
            return record if record.keys() == {"made_of", "outputs", "result"} else None
        except (OSError, ValueError, AttributeError):
            return None

    def _key(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()

    def _changes(self, record: Mapping[str, Any], made_of: MadeOf, outputs: Sequence[Path]) -> str:
        """Why a finished step has to be done again; empty if it has not."""
        before = record["made_of"]
        names = [name for name in made_of if before.get(name) != made_of[name]]
        names += sorted(before.keys() - made_of.keys())
        if names:
            return f"changed: {', '.join(names)}"
        for path in outputs:
            try:
                if record["outputs"].get(self._key(path)) != tree_hash(path):
                    return f"{path} was changed"
            except FileError:
                return f"{path} is gone"
        return ""


def remove(path: Path) -> None:
    """Remove a file or a folder, if it is there."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
