"""A job: an input, a pipeline and an output, in parts that are done or not done.

    OUTPUT.parts/manifest.json      what the job is; a job of another input, model or option is
                                    refused
    OUTPUT.parts/rows/000000.jsonl   the rows of a part, or its brat files
    OUTPUT.parts/errors/000000.jsonl its notes that failed
    OUTPUT.parts/done/000000.json    its counts, written last: where this is, the part is done

Every file is renamed into place when it is whole, so a kill costs the part that was at work. When
all parts are done, OUTPUT.errors.jsonl and OUTPUT.manifest.json are written, then OUTPUT is put
into place in one step, and OUTPUT.parts is removed.
"""

import json
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from filelock import FileLock, Timeout

from spacy_btl.annotate.entities import Annotated
from spacy_btl.annotate.formats import Format, Stamp, brat_config
from spacy_btl.errors import AnnotateError
from spacy_btl.files import whole_file, write_file

FORMAT_VERSION = 2
NAMES_IN_PARTS = {"lock", "manifest.json", "rows", "errors", "done"}


@dataclass
class Counts:
    """Of a part, or of all of them: notes, those that failed, and entities of each type."""

    notes: int = 0
    failed: int = 0
    entities: Counter[str] = field(default_factory=Counter)

    def add(self, other: "Counts") -> None:
        """Add those of another part."""
        self.notes += other.notes
        self.failed += other.failed
        self.entities.update(other.entities)


class Job:
    """The files of a job. Use it as a context: two processes must not work on one job.

    output (Path): Where the entities go.
    kind (Format): How.
    what (Dict[str, Any]): What makes the job: input, model, options. JSON values.
    """

    def __init__(self, output: Path, kind: Format, what: dict[str, Any]) -> None:
        self.output = output
        self.kind = kind
        self.what = {"format": kind.name, "format_version": FORMAT_VERSION, **what}
        self.parts = _beside(output, ".parts")
        self.manifest = _beside(output, ".manifest.json")
        self.errors = _beside(output, ".errors.jsonl")
        self._lock = FileLock(self.parts / "lock")
        self.started = ""

    @property
    def finished(self) -> bool:
        """Whether the output is there, and is this job's."""
        if not self.output.exists():
            return False
        if not self.manifest.is_file():
            raise AnnotateError(f"{self.output} exists. Delete it, or give another name.")
        self._check(self.manifest)
        return True

    def __enter__(self) -> Self:
        self._refuse_files_of_others()
        try:
            self.parts.mkdir(parents=True, exist_ok=True)
            self._lock.acquire(blocking=False)
        except Timeout:
            raise AnnotateError(f"{self.output}: another process is at work on it.") from None
        except OSError as error:
            raise AnnotateError(f"{self.parts}: cannot be written ({error.strerror}).") from error
        manifest = self.parts / "manifest.json"
        for leftover in self.parts.rglob(".*.tmp"):
            leftover.unlink()
        if manifest.is_file():
            self.started = self._check(manifest)["started"]
        else:
            self.started = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S")
            _write_json(manifest, {"started": self.started, **self.what})
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def counts(self, part: int) -> Counts | None:
        """The counts of a part; None if it is not done."""
        path = self.parts / "done" / f"{part:06}.json"
        return _counts(_read_json(path)) if path.is_file() else None

    def total(self) -> Counts:
        """The counts of a finished job, whose parts are removed if a kill left them."""
        self._remove_parts()
        return _counts(_read_json(self.manifest))

    def discard(self) -> str:
        """Remove the parts. RETURNS: Where the first note that failed stands, and why it did."""
        first = min((self.parts / "errors").glob("*.jsonl"))
        failure = json.loads(first.read_text(encoding="ascii").splitlines()[0])
        self._remove_parts()
        return f"{failure['where']}: {failure['reason']}"

    def write(self, part: int, annotated: Annotated, stamp: Stamp, first_row: int) -> Counts:
        """Write the files of a part. RAISES: BtlError, if that cannot be done."""
        name = f"{part:06}"
        for file, data in self.kind.render(name, annotated, stamp, first_row):
            write_file(self.parts / "rows" / file, data)
        failed = (
            {"note_id": failure.note_id, "where": failure.where, "reason": failure.reason}
            for failure in annotated.failures
        )
        lines = (json.dumps(failure) + "\n" for failure in failed)
        write_file(self.parts / "errors" / f"{name}.jsonl", "".join(lines).encode("ascii"))
        labels = Counter(entity.label for entity in annotated.entities)
        counts = Counts(len(annotated.notes), len(annotated.failures), labels)
        _write_json(self.parts / "done" / f"{name}.json", vars(counts))
        return counts

    def finish(self, total: Counts) -> None:
        """Put the output into place, and its errors and manifest beside it."""
        rows = self.parts / "rows"
        try:
            _join(sorted((self.parts / "errors").glob("*.jsonl")), self.errors)
            _write_json(self.manifest, {"started": self.started, **self.what, **vars(total)})
            if self.kind.joined:
                _join(sorted(rows.iterdir()), self.output)
            else:
                if self.kind.name == "brat":
                    for name, data in brat_config(total.entities):
                        write_file(rows / name, data)
                rows.rename(self.output)
        except OSError as error:
            raise AnnotateError(
                f"{self.output}: cannot be written ({error.strerror}). What is done is kept: give "
                "the command again."
            ) from error

    def _remove_parts(self) -> None:
        if self.parts.is_dir() and self._are_of_a_job():
            shutil.rmtree(self.parts, ignore_errors=True)

    def _are_of_a_job(self) -> bool:
        return {path.name for path in self.parts.iterdir()} <= NAMES_IN_PARTS

    def _refuse_files_of_others(self) -> None:
        """RAISES: AnnotateError, for what no job wrote and this one would overwrite."""
        if self.parts.exists() and not (self.parts.is_dir() and self._are_of_a_job()):
            taken = [self.parts]
        elif self.parts.exists() or _is_manifest(self.manifest):  # the output alone was deleted
            taken = []
        else:
            taken = [path for path in (self.errors, self.manifest) if path.exists()]
        for path in taken:
            raise AnnotateError(
                f"{path} exists, and would be overwritten. Move it, or give another output."
            )

    def _check(self, manifest: Path) -> dict[str, Any]:
        """Read a manifest. RAISES: AnnotateError, if it is of another job."""
        before = _read_json(manifest)
        changed = [name for name, value in self.what.items() if before.get(name) != value]
        if changed:
            old = self.parts if manifest.parent == self.parts else self.output
            raise AnnotateError(
                f"{self.output} was begun with another {', '.join(changed).replace('_', ' ')}. "
                f"Give another output, or delete {old} to begin anew."
            )
        return before


def _beside(output: Path, ending: str) -> Path:
    return output.with_name(output.name + ending)


def _counts(values: dict[str, Any]) -> Counts:
    return Counts(values["notes"], values["failed"], Counter(values["entities"]))


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except ValueError:
        raise AnnotateError(f"{path}: damaged. Delete it to begin anew.") from None


def _is_manifest(path: Path) -> bool:
    try:
        return path.is_file() and "format_version" in _read_json(path)
    except (AnnotateError, TypeError):
        return False


def _write_json(path: Path, value: dict[str, Any]) -> None:
    write_file(path, (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode("utf-8"))


def _join(files: Sequence[Path], path: Path) -> None:
    """Make one file of several, whole or not at all."""
    with whole_file(path) as sink:
        for file in files:
            with file.open("rb") as source:
                shutil.copyfileobj(source, sink)
