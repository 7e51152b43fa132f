"""How far a reader has to go to follow one note: the moves between files of this package.

python -m bench.path MODEL
"""

import sys
from itertools import pairwise
from pathlib import Path
from types import FrameType
from typing import Any

import typer
from spacy.language import Language

import spacy_btl
from spacy_btl.pipelines import load_pipeline

PACKAGE = Path(spacy_btl.__file__).parent
NOTE = "Fever."


def calls(nlp: Language, text: str) -> list[tuple[str, str]]:
    """The file and the name of each function of this package that one note calls, in order.

    The note is run once before: what is made at the first call does not count.
    """
    nlp(text)
    found: list[tuple[str, str]] = []

    def note_call(frame: FrameType, event: str, _: Any) -> None:
        path = Path(frame.f_code.co_filename)
        if event == "call" and path.is_relative_to(PACKAGE):
            found.append((path.relative_to(PACKAGE).as_posix(), frame.f_code.co_name))

    before = sys.getprofile()
    sys.setprofile(note_call)
    try:
        nlp(text)
    finally:
        sys.setprofile(before)
    return found


def count_moves(nlp: Language, text: str) -> int:
    """How often a call of this package follows one in another of its files."""
    return sum(before[0] != after[0] for before, after in pairwise(calls(nlp, text)))


def main(model: str) -> None:
    """Print the calls, a line for each stay in a file, and their number."""
    nlp = load_pipeline(model)
    found = calls(nlp, NOTE)
    last = ""
    for file, name in found:
        typer.echo(f" {name}" if file == last else f"\n{file}: {name}", nl=False)
        last = file
    files = {file for file, _ in found}
    moves = count_moves(nlp, NOTE)
    typer.echo(f"\n\n{len(found)} calls, {len(files)} files, {moves} moves between files")


if __name__ == "__main__":
    typer.run(main)
