"""From annotated notes to a measured, calibrated and packaged pipeline.

OUTPUT/pipeline          the calibrated pipeline with its model card
OUTPUT/report.html       its evaluation
OUTPUT/packages/*.whl    its wheel
OUTPUT/.fit              the finished steps and what they wrote: the same command goes on there
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from spacy_btl.context.terms import english_assertion_terms
from spacy_btl.errors import FileError
from spacy_btl.evaluation.report import require_extra
from spacy_btl.exchange.card_file import CardFile
from spacy_btl.files import read_yaml
from spacy_btl.fit.choices import Options, choose_name
from spacy_btl.fit.package import check_version, require_build
from spacy_btl.fit.progress import Listener
from spacy_btl.fit.run import Run
from spacy_btl.fit.steps import remove

STATE = ".fit"


def fit(
    notes: Path, output: Path, options: Options | None = None, listener: Listener | None = None
) -> list[str]:
    """Train, calibrate, measure and package a pipeline on annotated notes.

    A step that an earlier run with this output finished is not done again, unless what it is made
    of has changed.

    notes (Path): Annotation in a format that `convert` reads.
    output (Path): A new or empty folder, or that of an earlier run.
    options (Optional[Options]): What is not left to be chosen.
    listener (Optional[Listener]): Is told what happens.
    RETURNS (List[str]): What was found, in some ten lines.
    RAISES: BtlError, for notes, an encoder or an option that cannot be used, or notes that cannot
        be learned from.
    """
    options, listener = options or Options(), listener or Listener()
    _check(notes, output, options)
    with _locked(output / STATE):
        _clear(output)
        return Run(notes, output.resolve(), output.resolve() / STATE, options, listener).all()


def _check(notes: Path, output: Path, options: Options) -> None:
    """Refuse what would fail after hours."""
    require_extra()
    require_build()
    check_version(options.version)
    choose_name(options.name, notes)
    if options.context:
        english_assertion_terms()
    if options.card is not None:
        read_yaml(options.card, CardFile, "card file")
    if not notes.exists():
        raise FileError(f"{notes}: no such file or folder. Give annotated notes.")
    if output.resolve().is_relative_to(notes.resolve()):
        raise FileError(f"{output} lies in {notes}, and would be read as notes: give another.")
    if output.is_file() or (
        output.is_dir() and any(output.iterdir()) and not (output / STATE).is_dir()
    ):
        raise FileError(f"{output} exists and is not of `btl fit`: give another folder.")


@contextmanager
def _locked(state: Path) -> Iterator[None]:
    try:
        state.mkdir(parents=True, exist_ok=True)
        lock = FileLock(state / "lock")
        lock.acquire(blocking=False)
    except Timeout:
        raise FileError(f"{state.parent}: another process is working on it.") from None
    except OSError as error:
        raise FileError(f"{state.parent}: cannot be written ({error.strerror}).") from error
    try:
        yield
    finally:
        lock.release()


def _clear(output: Path) -> None:
    """Remove what a killed run was writing: see `files.whole_folder` and `files.whole_file`."""
    state = output / STATE
    for folder in (state, state / "networks", state / "corpus", output / "packages"):
        for path in (*folder.glob(".*-*"), *folder.glob(".*.tmp")):
            remove(path)
    for path in (*output.glob(".pipeline-*"), *output.glob(".report.html.*.tmp")):
        remove(path)
    for path in state.glob("package-*"):
        remove(path)
