"""The files of an experiment's results: its summary, and a table of it for people."""

import json
import lzma
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from spacy_btl.errors import FileError
from spacy_btl.experiments.plan import Cell
from spacy_btl.experiments.tables import html_table, markdown_table
from spacy_btl.files import write_file

SUMMARY = ".json.xz"


def read_results(path: Path) -> dict[str, Any]:
    """The summary that was written as PATH.json.xz.

    RAISES: FileError, for a file that is missing or damaged.
    """
    file = path.with_name(path.name + SUMMARY)
    try:
        return json.loads(lzma.decompress(file.read_bytes()))
    except (OSError, ValueError, lzma.LZMAError) as error:
        raise FileError(f"{file}: no results of an experiment can be read ({error}).") from None


def write_results(summary: dict[str, Any], path: Path) -> list[Path]:
    """Write PATH.json.xz, PATH.md and PATH.html.

    summary (Dict[str, Any]): What `summarize` returns.
    RETURNS (List[Path]): The files.
    RAISES: FileError, if one cannot be written.
    """
    text = json.dumps(summary, separators=(",", ":")) + "\n"
    contents = {
        SUMMARY: lzma.compress(text.encode("utf-8"), preset=9 | lzma.PRESET_EXTREME),
        ".md": markdown_table(summary).encode("utf-8"),
        ".html": html_table(summary).encode("utf-8"),
    }
    files = [path.with_name(path.name + suffix) for suffix in contents]
    for file, data in zip(files, contents.values(), strict=True):
        write_file(file, data)
    return files


def refuse_other_results(path: Path, counts: Iterable[str], cells: Sequence[Cell]) -> None:
    """Results are replaced only by those that sum up all that they do.

    path (Path): The results, without their suffix.
    counts (Iterable[str]): What the new ones sum up, see `FinishedCells.names`.
    cells (Sequence[Cell]): The cells of the plan.
    RAISES: FileError, for others, which names what differs.
    """
    file = path.with_name(path.name + SUMMARY)
    if not file.exists():
        return
    earlier = read_results(path)
    lost = set(earlier.get("counts", ())) - set(counts)
    if "counts" in earlier and not lost:
        return
    what = f"of its counts, {len(lost)} are no part of this run" if lost else "it has no counts"
    raise FileError(
        f"{file} is not replaced: {what}. {_difference(earlier, lost, cells)} Give another folder "
        "by --output, or replace it by --force."
    )


def _difference(earlier: dict[str, Any], lost: set[str], cells: Sequence[Cell]) -> str:
    planned = {(cell.corpus, cell.arm): (cell.precision, cell.threads) for cell in cells}
    for result in earlier["results"]:
        was = (result["cost"]["precision"], result["cost"]["threads"])
        now = planned.get((result["corpus"], result["arm"]), was)
        if was != now and None not in was:  # of early results it was not kept
            texts = ["{} (threads: {})".format(*each) for each in (was, now)]
            return f"'{result['arm']}' was trained in {texts[0]}, here it is in {texts[1]}."
    if lost and {name.split("-")[0] for name in lost} <= {cell.training for cell in cells}:
        return "Its documents or encoders were others, or it had more decodings."
    return "Its configs, arms, folds or seeds were others."
