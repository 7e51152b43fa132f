"""Compare the entities of two `annotate` outputs of the same notes: `compare_entities.py A B`.

Exits with an error where they differ by more than one entity in 10,000, or a confidence by more
than 0.0001: the batch that a note is in moves its logits in the last digits.
"""

import sys
from pathlib import Path

import pyarrow.parquet
import typer

ENTITIES = 1e-4
CONFIDENCE = 1e-4
KEY = ("note_id", "start", "end", "label")


def main(first: Path, second: Path) -> None:
    """Print what differs."""
    one, other = _by_place(first), _by_place(second)
    different = one.keys() ^ other.keys()
    pairs = [(one[place], other[place]) for place in one.keys() & other.keys()]
    gap = max((abs(a - b) for a, b in pairs if a is not None and b is not None), default=0.0)
    typer.echo(
        f"{len(one):,} entities and {len(other):,}; {len(different)} in one of them only; "
        f"greatest difference of confidence {gap:.0e}"
    )
    if not one or len(different) > ENTITIES * len(one) or gap > CONFIDENCE:
        sys.exit("They are not the same.")


def _by_place(path: Path) -> dict[tuple[object, ...], float | None]:
    rows = pyarrow.parquet.read_table(path).to_pylist()
    found = {tuple(row[name] for name in KEY): row["confidence"] for row in rows}
    if len(found) < len(rows):
        sys.exit(f"{path}: an entity is there twice.")
    return found


if __name__ == "__main__":
    typer.run(main)
