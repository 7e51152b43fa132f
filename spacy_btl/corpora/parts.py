"""The parts of a split that is on disk: train, dev and test, once or in folds."""

import json
from pathlib import Path

PARTS = ("train", "dev", "test")


def written_parts(out_dir: Path) -> list[Path]:
    """The parts that an earlier split wrote into a folder. It may be the folder of one fold."""
    return parts_of_split(out_dir) + [
        part for part in parts_of_split(out_dir.parent) if part.parent == out_dir
    ]


def parts_of_split(out_dir: Path) -> list[Path]:
    """The parts that an earlier split wrote into a folder."""
    try:
        record = json.loads((out_dir / "split.json").read_text("utf-8"))
    except (OSError, ValueError):  # no split, or a file of another program
        return []
    folders = []
    match record:
        case {"seed": int(), "folds": list(folds)}:
            folders = [out_dir / f"fold-{i}" for i in range(len(folds))]
        case {"seed": int(), "parts": dict()}:
            folders = [out_dir]
    return [folder / f"{name}.spacy" for folder in folders for name in PARTS]
