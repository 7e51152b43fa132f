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

from filelock import FileLock, Timeout

from spacy_btl.errors import BtlError, ServeError
from spacy_btl.evaluation.report import require_extra
from spacy_btl.files import write_file
from spacy_btl.fit.package import require_build
from spacy_btl.serve.model import Model

LOG = logging.getLogger("spacy_btl.serve")
PROJECT = "project.json"
OFF = "This service does not train. Start it with --train-to FOLDER, which stores annotated notes."
PATIENCE = 10  # seconds that a training has to end when it is told to


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

    def claim(self, tool: str, project: str, layer: str | None = None) -> None:
        """Say whose notes are sent. The first project has the folder.

        layer (Optional[str]): `LAYER:FEATURE`, for INCEpTION.
        RAISES: ServeError, for another project, tool or layer.
        """
        own = {"tool": tool, "project": project, "layer": layer}
        file = self.folder / PROJECT
        with self._lock:
            owner = json.loads(file.read_text("utf-8"))
            if not owner:
                write_file(file, json.dumps(own).encode("utf-8"))
            elif owner != own:
                whose = ", ".join(filter(None, owner.values()))
                raise ServeError(
                    f"This service trains for another project or layer ({whose}). Start a second "
                    "one, with a folder and a port of its own.",
                    409,
                )

    def keep(self, files: Mapping[str, bytes], *, among: Iterable[str] = ()) -> None:
        """Write notes. among (Iterable[str]): The names of those that they replace."""
        with self._lock:
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
        """How many files are new, changed or gone since the last training began."""
        before, now = _contents(self.folder / "training"), _contents(self.notes)
        return sum(before.get(name) != now.get(name) for name in before.keys() | now.keys())

    def start(self) -> None:
        """Start a training. RAISES: ServeError, if one is running, or there are no notes."""
        with self._lock:
            if self._process is not None:
                raise ServeError("A training is running. Its pipeline is taken when it ends.", 429)
            if not _contents(self.notes):
                raise ServeError("No annotation has come yet: there is nothing to train on.", 409)
            copy = self.folder / "training"
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(self.notes, copy)
            command = [sys.executable, "-m", "spacy", "btl", "fit", str(copy)]
            command += [str(self.folder / "fit"), *self._own_options(), *self.options]
            with self._log.open("wb") as stream:
                self._process = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream
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

    def _own_options(self) -> list[str]:
        nlp = self.model.current.nlp
        layer = json.loads((self.folder / PROJECT).read_text("utf-8"))["layer"]
        found = ["--name", nlp.meta["name"], "--lang", nlp.lang]
        return found + (["--layer", layer] if layer else [])

    def _wait(self, process: subprocess.Popen[bytes]) -> None:
        """Wait for the end of a training, and take its pipeline."""
        status = process.wait()
        if self._process is not process:  # it was stopped
            return
        if status:
            LOG.warning("The training failed: %s says why. The pipeline stays.", self._log)
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
            write_file(folder / PROJECT, b"{}")
    except Timeout:
        raise ServeError(f"{folder}: another service trains there.") from None
    except OSError as error:
        raise ServeError(f"{folder}: cannot be written ({error.strerror}).") from error
    return lock


def _contents(folder: Path) -> dict[str, bytes]:
    """The hash of each file of a folder, by its name."""
    found = {}
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                found[path.relative_to(folder).as_posix()] = file_digest(file, "sha256").digest()
    return found
