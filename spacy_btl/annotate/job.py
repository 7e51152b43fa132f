"""The files of a job, which is done in parts so that it can be resumed.

    OUTPUT.parts/manifest.json       the identity of the job: input, model and options
    OUTPUT.parts/rows/000000.jsonl   the rows of a part, or the files of its notes
    OUTPUT.parts/errors/000000.jsonl the notes of the part that failed
    OUTPUT.parts/done/000000.json    the counts of the part, written last: the part is done

Every file is written under a temporary name and renamed, so a kill loses the current part only.
When all parts are done, OUTPUT.errors.jsonl and OUTPUT.manifest.json are written. Then OUTPUT is
put into place in one step, and OUTPUT.parts is removed.
"""

import json
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from filelock import FileLock, Timeout

from spacy_btl.errors import AnnotateError
from spacy_btl.files import whole_file, write_file
from spacy_btl.notes.entities import Annotated, thinned
from spacy_btl.outputs.formats import Format, Frame
from spacy_btl.outputs.stamp import Stamp

FORMAT_VERSION = 3
UNSURE = 0.5  # a confidence
MOST = 1000  # notes of all parts that are compared
NAMES_IN_PARTS = {"lock", "manifest.json", "rows", "errors", "done"}


@dataclass
class Counts:
    """The notes, failed notes and entities of each type, of a part or of all parts.

    words (int): The tokens of those that were annotated.
    seconds (float): What the pipeline took for them. Not compared.
    left_out (Counter[str]): The entities that the format leaves out, by the reason.
    unsure (int): The entities of less confidence than one half.
    facts (List[List[float]]): See `Annotated`; of all parts, until the job is finished.
    unlike (str): Of a finished job: how its notes are unlike those of the pipeline's own source;
        empty if they are alike, or that is not known.
    """

    notes: int = 0
    failed: int = 0
    entities: Counter[str] = field(default_factory=Counter)
    words: int = 0
    seconds: float = field(default=0.0, compare=False)
    left_out: Counter[str] = field(default_factory=Counter)
    unsure: int = 0
    facts: list[list[float]] = field(default_factory=list)
    unlike: str = ""

    def add(self, other: "Counts") -> None:
        """Add the counts of another part."""
        self.notes += other.notes
        self.failed += other.failed
        self.entities.update(other.entities)
        self.words += other.words
        self.left_out.update(other.left_out)
        self.unsure += other.unsure
        self.seconds = round(self.seconds + other.seconds, 3)
        self.facts = thinned(self.facts + other.facts, MOST)


class Job:
    """The files of a job. Use it as a context manager, which locks it for other processes.

    output (Path): The output.
    kind (Format): Its format.
    identity (Dict[str, Any]): The input, model and options, as JSON values. A job with another
        identity is not resumed.
    """

    def __init__(self, output: Path, kind: Format, identity: dict[str, Any]) -> None:
        self.output = output
        self.kind = kind
        self.identity = {"format": kind.name, "format_version": FORMAT_VERSION, **identity}
        self.parts = _beside(output, ".parts")
        self.manifest = _beside(output, ".manifest.json")
        self.errors = _beside(output, ".errors.jsonl")
        self._lock = FileLock(self.parts / "lock")
        self.started = ""

    @property
    def finished(self) -> bool:
        """Whether the output of this job exists."""
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
            raise AnnotateError(f"{self.output}: another process is working on it.") from None
        except OSError as error:
            raise AnnotateError(f"{self.parts}: cannot be written ({error.strerror}).") from error
        manifest = self.parts / "manifest.json"
        for leftover in self.parts.rglob(".*.tmp"):
            leftover.unlink()
        if manifest.is_file():
            self.started = self._check(manifest)["started"]
        else:
            self.started = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S")
            _write_json(manifest, {"started": self.started, **self.identity})
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def counts(self, part: int) -> Counts | None:
        """Return the counts of a part; None if it is not done."""
        path = self.parts / "done" / f"{part:06}.json"
        return _counts(_read_json(path)) if path.is_file() else None

    def total(self) -> Counts:
        """Return the counts of a finished job, and remove parts that a kill left behind."""
        self._remove_parts()
        return _counts(_read_json(self.manifest))

    def discard(self) -> str:
        """Remove the parts. RETURNS (str): The place of the first failed note, and the reason."""
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
        left_out = (self.kind.left_out(one, stamp) for one in annotated.entities)
        confidences = [one.confidence for one in annotated.entities if one.confidence is not None]
        counts = Counts(
            len(annotated.notes),
            len(annotated.failures),
            labels,
            annotated.words,
            round(annotated.seconds, 3),
            Counter(filter(None, left_out)),
            sum(value < UNSURE for value in confidences),
            [*annotated.facts],
        )
        _write_json(self.parts / "done" / f"{name}.json", vars(counts))
        return counts

    def finish(self, total: Counts, stamp: Stamp) -> None:
        """Put the output in place, with its errors and manifest beside it."""
        rows = self.parts / "rows"
        try:
            _join(sorted((self.parts / "errors").glob("*.jsonl")), self.errors)
            counts = {name: value for name, value in vars(total).items() if name != "facts"}
            _write_json(self.manifest, {"started": self.started, **self.identity, **counts})
            if self.kind.merge is not None:
                with whole_file(self.output) as sink:
                    self.kind.merge(sorted(rows.iterdir()), sink)
            elif self.kind.joined is not None:
                _join(sorted(rows.iterdir()), self.output, self.kind.joined)
            else:
                for name, data in self.kind.once(total.entities, stamp):
                    write_file(rows / name, data)
                rows.rename(self.output)
        except OSError as error:
            raise AnnotateError(
                f"{self.output}: cannot be written ({error.strerror}). Run the command again: "
                "finished parts are kept."
            ) from error

    def _remove_parts(self) -> None:
        if self.parts.is_dir() and self._are_of_a_job():
            shutil.rmtree(self.parts, ignore_errors=True)

    def _are_of_a_job(self) -> bool:
        return {path.name for path in self.parts.iterdir()} <= NAMES_IN_PARTS

    def _refuse_files_of_others(self) -> None:
        """Raise an AnnotateError for files of other programs that the job would overwrite."""
        if self.parts.exists() and not (self.parts.is_dir() and self._are_of_a_job()):
            taken = [self.parts]
        elif self.parts.exists() or _is_manifest(self.manifest):  # only the output was deleted
            taken = []
        else:
            taken = [path for path in (self.errors, self.manifest) if path.exists()]
        for path in taken:
            raise AnnotateError(
                f"{path} exists, and would be overwritten. Move it, or give another output."
            )

    def _check(self, manifest: Path) -> dict[str, Any]:
        """Read a manifest. RAISES: AnnotateError, if it has another identity."""
        before = _read_json(manifest)
        changed = [name for name, value in self.identity.items() if before.get(name) != value]
        if changed:
            old = self.parts if manifest.parent == self.parts else self.output
            raise AnnotateError(
                f"{self.output} was started with another {', '.join(changed).replace('_', ' ')}. "
                f"Give another output, or delete {old} to start again."
            )
        return before


def _beside(output: Path, ending: str) -> Path:
    return output.with_name(output.name + ending)


def _counts(values: dict[str, Any]) -> Counts:
    counts = {each.name: values[each.name] for each in fields(Counts) if each.name in values}
    counters = {name: Counter(counts[name]) for name in ("entities", "left_out")}
    return Counts(**{**counts, **counters})


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except ValueError:
        raise AnnotateError(f"{path}: damaged. Delete it to start again.") from None


def _is_manifest(path: Path) -> bool:
    try:
        return path.is_file() and "format_version" in _read_json(path)
    except (AnnotateError, TypeError):
        return False


def _write_json(path: Path, value: dict[str, Any]) -> None:
    write_file(path, (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode("utf-8"))


def _join(files: Sequence[Path], path: Path, frame: Frame = Frame()) -> None:
    """Concatenate files. What a frame has between them is not beside empty ones."""
    full = [file for file in files if file.stat().st_size]
    with whole_file(path) as sink:
        sink.write(frame.before)
        for i, file in enumerate(full):
            sink.write(frame.between if i else b"")
            with file.open("rb") as source:
                shutil.copyfileobj(source, sink)
        sink.write(frame.behind)
