"""Train in the background on what the tool sends: `fit`, in a process of its own.

FOLDER/notes          the annotated notes of one project, in a form that `convert` reads
FOLDER/project.json   whose they are
FOLDER/training       the copy of them that a training reads
FOLDER/training.log   what it prints
FOLDER/fit            what it writes: the pipeline, its report and its wheel
"""

import json
import logging
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from hashlib import file_digest
from pathlib import Path
from threading import Lock, Thread
from typing import NamedTuple

from filelock import FileLock, Timeout

from spacy_btl.corpora.source import BESIDE
from spacy_btl.errors import BtlError, ServeError
from spacy_btl.evaluation.report import require_extra
from spacy_btl.files import write_file
from spacy_btl.fit.package import require_build
from spacy_btl.serve.model import Model

LOG = logging.getLogger("spacy_btl.serve")
PROJECT = "project.json"
OFF = "This service does not train. Start it with --train-to FOLDER, which stores annotated notes."
ERROR = "✘"  # begins the line of an error that a command prints
PATIENCE = 10  # seconds that a training has to end when it is told to


class Owner(NamedTuple):
    """Whose notes are sent. layer (str): `LAYER:FEATURE`, for INCEpTION."""

    tool: str
    project: str
    layer: str = ""


class Training:
    """The notes of one project, and the training on them.

    folder (Path): A new or empty folder, or that of an earlier service.
    model (Model): Takes the pipeline of a training that is done.
    every (int): Notes that have to be new or changed before a training that the tool did not ask
        for itself.
    options (Sequence[str]): Further options of `btl fit`.
    RAISES: ServeError, for a folder that cannot be used; BtlError, if `fit` could not run.
    """

    def __init__(
        self, folder: Path, model: Model, *, every: int, options: Sequence[str] = ()
    ) -> None:
        require_extra()
        require_build()
        self.folder, self.model, self.every, self.options = folder, model, every, tuple(options)
        self.notes, self.pipeline = folder / "notes", folder / "fit" / "pipeline"
        self._lock = Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._folder_lock = _claimed(folder)
        self.notes.mkdir(mode=0o700, exist_ok=True)

    def keep(self, owner: Owner, files: Mapping[str, bytes], *, among: Iterable[str] = ()) -> None:
        """Write notes. The first owner has the folder.

        among (Iterable[str]): The names of those that they replace.
        RAISES: ServeError, for another owner.
        """
        with self._lock:
            self._check(owner)
            write_file(self.folder / PROJECT, json.dumps(owner).encode("utf-8"))
            for name in set(among) - set(files):
                (self.notes / name).unlink()
            for name, content in files.items():
                if self.read(name) != content:
                    write_file(self.notes / name, content)

    def kept(self, pattern: str) -> list[str]:
        """The names of the notes that match a pattern."""
        return [path.relative_to(self.notes).as_posix() for path in self.notes.glob(pattern)]

    def read(self, name: str) -> bytes | None:
        """The content of a note; None if it is not kept."""
        path = self.notes / name
        return path.read_bytes() if path.is_file() else None

    def changes(self) -> int:
        """How many notes are new, changed or gone since the last training began."""
        before, now = _contents(self.folder / "training"), _contents(self.notes)
        return sum(before.get(name) != now.get(name) for name in before.keys() | now.keys())

    def start(self, owner: Owner) -> None:
        """Start a training.

        RAISES: ServeError, for another owner, if one is running, or there are no notes.
        """
        with self._lock:
            self._check(owner)
            if self._process is not None:
                raise ServeError("A training is running. Its pipeline is taken when it ends.", 429)
            if not _contents(self.notes):
                raise ServeError("No annotation has come yet: there is nothing to train on.", 409)
            copy = self.folder / "training"
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(self.notes, copy)
            nlp = self.model.current.nlp
            command = [sys.executable, "-m", "spacy", "btl", "fit", str(copy)]
            command += [str(self.folder / "fit"), "--name", nlp.meta["name"]]
            command += ["--lang", str(nlp.lang)]
            command += ["--layer", owner.layer] if owner.layer else []
            with self._log.open("wb") as stream:
                self._process = subprocess.Popen(
                    [*command, *self.options],
                    stdin=subprocess.DEVNULL,
                    stdout=stream,
                    stderr=stream,
                    start_new_session=True,  # Ctrl-C ends the service, and that the training
                )
            Thread(target=self._wait, args=(self._process,), daemon=True).start()

    @property
    def running(self) -> bool:
        """Whether a training is running."""
        return self._process is not None

    def stop(self) -> None:
        """End a training that is running, and give the folder back."""
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            LOG.info("The training is stopped. The next one goes on with its finished steps.")
        self._folder_lock.release()

    @property
    def _log(self) -> Path:
        return self.folder / "training.log"

    def _check(self, owner: Owner) -> None:
        """Refuse the notes of another project: one pipeline cannot learn the types of both."""
        has = json.loads((self.folder / PROJECT).read_text("utf-8"))
        if has and has != list(owner):
            raise ServeError(
                f"This service trains for another project or layer ({', '.join(filter(None, has))}"
                "). Start a second one, with a folder and a port of its own.",
                409,
            )

    def _reason(self) -> str:
        """The error that `fit` printed, which quotes no note."""
        lines = self._log.read_text("utf-8", "replace").splitlines()
        errors = [line[1:].strip(" .") for line in lines if line.startswith(ERROR)]
        return errors[-1] if errors else "without a word of its own"

    def _wait(self, process: subprocess.Popen[bytes]) -> None:
        """Wait for the end of a training, and take its pipeline."""
        status = process.wait()
        if self._process is not process:  # it was stopped
            return
        if status:
            LOG.warning("The training failed: %s. See %s.", self._reason(), self._log)
        else:
            try:
                self.model.replace(str(self.pipeline))
                LOG.info("Trained: %s answers from now on.", self.model.current.system)
            except BtlError as error:
                LOG.warning("The new pipeline is not taken: %s", error)
        self._process = None


def require_training(training: Training | None) -> Training:
    """RAISES: ServeError, if the service does not train."""
    if training is None:
        raise ServeError(OFF, 403)
    return training


def _claimed(folder: Path) -> FileLock:
    """Make a folder, or take that of an earlier service. RETURNS (FileLock): Held."""
    try:
        if folder.is_file() or (
            folder.is_dir() and any(folder.iterdir()) and not (folder / PROJECT).is_file()
        ):
            raise ServeError(f"{folder} exists and is not of `btl serve`: give another folder.")
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = FileLock(folder / "lock")
        lock.acquire(blocking=False)
        if not (folder / PROJECT).is_file():
            write_file(folder / PROJECT, b"[]")
    except Timeout:
        raise ServeError(f"{folder}: another service trains there.") from None
    except OSError as error:
        raise ServeError(f"{folder}: cannot be written ({error.strerror}).") from error
    return lock


def _contents(folder: Path) -> dict[str, bytes]:
    """The hash of each note of a folder, by its name."""
    found = {}
    for path in folder.rglob("*"):
        if path.is_file() and path.name.lower() not in BESIDE:
            with path.open("rb") as file:
                found[path.relative_to(folder).as_posix()] = file_digest(file, "sha256").digest()
    return found
