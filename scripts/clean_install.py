"""Prove that two wheels, spacy-btl's and a pipeline's, are all that another machine needs.

A new environment gets the dependencies. From then on there is no network: the two wheels are
installed, and the pipeline reads a note. Then the same for prediction alone: the wheel with few
requirements, and a compiled pipeline.
"""

import os
import subprocess
import sys
import tempfile
import venv
from email.parser import Parser
from pathlib import Path
from zipfile import ZipFile

import typer

from spacy_btl.about import TRAINING
from spacy_btl.fit.package import install_command

ROOT = Path(__file__).resolve().parent.parent
NO_NETWORK = ("unshare", "--map-root-user", "--net")
CODE = """
import sys
import spacy
nlp = spacy.load(sys.argv[1])
(doc,) = nlp.pipe([open(sys.argv[2], encoding="utf-8").read()])
print(sys.argv[1], nlp.meta["version"], "by", nlp.meta["author"])
print("from", nlp.path)
assert doc.ents, "no entity found"
assert not set(sys.argv[3:]) & set(sys.modules), "a library of training is there"
for ent in doc.ents:
    print(f"  {ent.text} | {ent.label_} | {ent._.confidence:.2f}")
"""


def main(pipeline: Path, compiled: Path, note: Path, torch_index: str = "") -> None:
    """Install spacy-btl, built from here, and the wheel PIPELINE, and read NOTE; then spacy-btl for
    prediction alone and the wheel COMPILED."""
    offline = without_network()
    with tempfile.TemporaryDirectory(prefix="clean-install-") as folder:
        run(sys.executable, "-m", "build", "--no-isolation", "-o", f"{folder}/dist", str(ROOT))
        (wheel,), (source,) = Path(folder, "dist").glob("*.whl"), Path(folder, "dist").glob("*.gz")
        torch = (*(("--index-url", torch_index) if torch_index else ()), "torch")
        install(Path(folder, "venv"), wheel, pipeline, note, offline=offline, first=torch)
        install_as_printed(Path(folder, "venv"), pipeline, note, offline=offline)
        build = (sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation")
        run(*build, "-w", f"{folder}/runtime", str(source), SPACY_BTL_RUNTIME="1")
        (wheel,) = Path(folder, "runtime").glob("*.whl")
        install(Path(folder, "venv-runtime"), wheel, compiled, note, offline=offline)


def install(
    env: Path,
    wheel: Path,
    pipeline: Path,
    note: Path,
    *,
    offline: tuple[str, ...],
    first: tuple[str, ...] = (),
) -> None:
    """Make an environment, install what a wheel of spacy-btl requires, and then, without a network,
    that wheel and a pipeline's. Read a note with them.

    offline (Tuple[str, ...]): From `without_network`.
    first (Tuple[str, ...]): What to tell pip to install before the requirements.
    """
    refuse_paths(pipeline)
    refuse_paths(wheel)
    venv.create(env, with_pip=True)
    python = f"{env}/bin/python"
    pip = (python, "-m", "pip", "--disable-pip-version-check")
    constrained = (*pip, "install", "--quiet", "-c", str(ROOT / "constraints.txt"))
    if first:
        run(*constrained, *first)
    run(*constrained, *requirements(wheel))
    # Not --no-deps: pip now fails if the wheels ask for more than what is there.
    run(*offline, *pip, "install", "--quiet", "--isolated", "--no-index", str(wheel), str(pipeline))
    run(*pip, "check")
    refused = () if first else TRAINING
    name, text = pipeline.name.split("-")[0], str(note.resolve())
    run(*offline, python, "-I", "-c", CODE, name, text, *refused)
    typer.echo(f"Installed and run without a network: {wheel.name} and {pipeline.name}")


def install_as_printed(env: Path, pipeline: Path, note: Path, *, offline: tuple[str, ...]) -> None:
    """Install both again by the line that `btl fit` prints, and read a note with them."""
    python, name = f"{env}/bin/python", pipeline.name.split("-")[0]
    run(python, "-m", "pip", "uninstall", "--quiet", "--yes", "spacy-btl", name)
    # The line builds spacy-btl from this clone, for which pip would download what builds it.
    run(python, "-m", "pip", "install", "--quiet", "setuptools", "wheel")
    path = f"{env}/bin:{os.defpath}"
    bare = {"PIP_NO_INDEX": "1", "PIP_NO_BUILD_ISOLATION": "0", "PIP_QUIET": "1", "PATH": path}
    run(*offline, "sh", "-c", install_command(pipeline.resolve()), **bare)
    run(*offline, python, "-I", "-c", CODE, name, str(note.resolve()))


def refuse_paths(wheel: Path) -> None:
    """Exit with an error if a file of a wheel names a folder of this machine."""
    traces = {str(ROOT), str(Path.home()), tempfile.gettempdir()}
    with ZipFile(wheel) as files:
        for name in files.namelist():
            data = files.read(name)
            for trace in sorted(traces - {"/"}):
                if f"{trace}/".encode() in data:
                    fail(f"{wheel}: {name} holds the path {trace}.")


def requirements(wheel: Path) -> list[str]:
    """What a wheel needs, without its extras."""
    with ZipFile(wheel) as files:
        (metadata,) = (name for name in files.namelist() if name.endswith(".dist-info/METADATA"))
        lines = Parser().parsestr(files.read(metadata).decode("utf-8")).get_all("Requires-Dist")
    return [line for line in lines or () if "extra ==" not in line]


def without_network() -> tuple[str, ...]:
    """What to write before a command so that it has no network; exits if there is no way."""
    try:
        subprocess.run([*NO_NETWORK, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        fail("The network can only be cut off by Linux's unshare, which is not to be had here.")
    return NO_NETWORK


def run(*command: str, **variables: str) -> None:
    """Run a command, with further environment variables, or exit with its status."""
    typer.echo(f"$ {' '.join(command[:8])} ..." if len(command) > 8 else f"$ {' '.join(command)}")
    env = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | variables
    done = subprocess.run(command, env=env, check=False)
    if done.returncode:
        raise typer.Exit(done.returncode)


def fail(problem: str) -> None:
    """Print an error and exit."""
    typer.secho(problem, fg="red", err=True)
    raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
