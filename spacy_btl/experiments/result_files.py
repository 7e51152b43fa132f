"""The files of an experiment's results: an archive, and tables for readers."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from spacy_btl.errors import FileError
from spacy_btl.experiments.archive import archive_of, read_summary, write_archive
from spacy_btl.experiments.plan import Cell
from spacy_btl.experiments.tables import html_table, markdown_table
from spacy_btl.files import write_file


def read_results(path: Path) -> dict[str, Any]:
    """The summary in PATH.tar.xz. RAISES: FileError, if it is missing or damaged."""
    return read_summary(archive_of(path))


def write_results(summary: dict[str, Any], cells: Mapping[str, bytes], path: Path) -> list[Path]:
    """Write PATH.tar.xz, PATH.md and PATH.html.

    summary (Dict[str, Any]): What `summarize` returns.
    cells (Mapping[str, bytes]): What `FinishedCells.to_archive` returns.
    RETURNS (List[Path]): The files.
    RAISES: FileError, if one cannot be written.
    """
    archive = archive_of(path)
    write_archive(archive, summary, cells)
    tables = {".md": markdown_table(summary), ".html": html_table(summary)}
    for suffix, table in tables.items():
        write_file(path.with_name(path.name + suffix), table.encode("utf-8"))
    return [archive, *(path.with_name(path.name + suffix) for suffix in tables)]


def refuse_other_results(path: Path, counts: Iterable[str], cells: Sequence[Cell]) -> None:
    """Results are replaced only by those that sum up all that they do.

    path (Path): The results, without their suffix.
    counts (Iterable[str]): What the new ones sum up, see `FinishedCells.names`.
    cells (Sequence[Cell]): The cells of the plan.
    RAISES: FileError, for others, which names what differs.
    """
    file = archive_of(path)
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
