"""The wheel of a pipeline, and the line that installs it."""

import importlib.util
import json
import shlex
import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import distributions
from pathlib import Path
from urllib.parse import urlparse
from urllib.request import url2pathname

from packaging.version import InvalidVersion, Version

from spacy_btl.about import how_to_install
from spacy_btl.errors import BtlError, PipelineError
from spacy_btl.files import whole_file

BUILDERS = ("build", "setuptools", "wheel")


def require_build() -> None:
    """RAISES: BtlError, if what builds a wheel is not installed."""
    for name in BUILDERS:
        if importlib.util.find_spec(name) is None:
            raise BtlError(
                f"A wheel needs {name}, which is not installed: get it {how_to_install('project')}."
            )


def check_version(version: str) -> None:
    """RAISES: BtlError, for a version that a wheel would not have in this form."""
    try:
        if str(Version(version)) == version:
            return
    except InvalidVersion:
        pass
    raise BtlError(f"'{version}' is no version of a package: give one such as 0.1.0.")


def wheel_name(package: str, version: str) -> str:
    """The file of a pipeline's wheel. package (str): With its language: "en_my_notes"."""
    return f"{package}-{version}-py3-none-any.whl"


def build_wheel(pipeline: Path, wheel: Path, log: Path) -> None:
    """Build the wheel of a pipeline by `spacy package`.

    wheel (Path): The file to write, named as `wheel_name` says.
    log (Path): The file for what the build prints.
    RAISES: PipelineError, if it cannot be built.
    """
    wheel.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=log.parent, prefix="package-") as folder:
        command = [sys.executable, "-m", "spacy", "package", str(pipeline), folder]
        with log.open("wb") as stream:
            done = subprocess.run(
                [*command, "--build", "wheel", "--force"],
                stdout=stream,
                stderr=stream,
                check=False,
            )
        built = list(Path(folder).rglob(wheel.name))
        if done.returncode or not built:
            raise PipelineError(f"The wheel could not be built: {log} says why.")
        with built[0].open("rb") as source, whole_file(wheel) as sink:
            shutil.copyfileobj(source, sink)


def install_command(wheel: Path) -> str:
    """The command that installs a wheel in another environment, with spacy-btl from where this one
    has it: no package index has it."""
    words = ["pip", "install"]
    source = _source()
    if source is not None:
        constraints = source / "constraints.txt"
        words += ["-c", str(constraints)] if constraints.is_file() else []
        words.append(str(source))
    return shlex.join([*words, str(wheel)])


def _source() -> Path | None:
    """The clone or the file that spacy-btl was installed from, if pip recorded it.

    In a clone, what built the package leaves a second distribution, without pip's record.
    """
    for found in distributions(name="spacy-btl"):
        try:
            record = json.loads(found.read_text("direct_url.json") or "{}")
        except ValueError:
            continue
        url = urlparse(record.get("url", ""))
        if url.scheme == "file":
            return Path(url2pathname(url.path))
    return None
