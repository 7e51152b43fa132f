"""Finished cells: folders of a cache, and archives of such folders beside the results.

Results are computed from counts alone, so an archive of the counts and costs preserves an
experiment. A cell that several experiments share is in one archive of the folder.
"""

import json
from collections import defaultdict
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

from spacy_btl.errors import FileError
from spacy_btl.experiments.archive import SUFFIX, archive_of, read_cells
from spacy_btl.experiments.networks import COST
from spacy_btl.experiments.plan import Cell, counts_name
from spacy_btl.metrics.counts import Counts, load_counts


class FinishedCells:
    """The finished cells of an experiment.

    cache (Path): The folder of the cells that were trained on this machine.
    results (Path): The path of the results without a suffix. The archives are in its folder;
        RESULTS.tar.xz is that of the experiment.
    """

    def __init__(self, cache: Path, results: Path) -> None:
        self.cache = cache
        self.archive = archive_of(results)

    def has(self, cell: Cell, decoding: str) -> bool:
        """Whether a cell is trained and decoded."""
        return self._has(cell, counts_name(cell.decodings[decoding]))

    def is_done(self, cell: Cell) -> bool:
        """Whether a cell is trained, and every decoding is finished."""
        return all(self.has(cell, decoding) for decoding in cell.decodings)

    def counts(self, cell: Cell, decoding: str) -> tuple[Counts, tuple[str, ...]]:
        """The counts of a cell and their classes. RAISES: CorpusError, for a damaged file."""
        name = counts_name(cell.decodings[decoding])
        return load_counts(self._read(cell, name), f"{self._name(cell)}/{name}")

    def cost(self, cell: Cell) -> dict[str, Any]:
        """The cost of a cell."""
        return json.loads(self._read(cell, COST))

    def names(self, cells: Iterable[Cell], *, planned: bool = False) -> list[str]:
        """The finished counts, each as the name of its cell and of its file.

        planned (bool): Whether to include those that are not finished.
        """
        return sorted(
            f"{self._name(cell)}/{counts_name(cell.decodings[name])}"
            for cell in cells
            for name in cell.decodings
            if planned or self.has(cell, name)
        )

    def to_archive(self, cells: Iterable[Cell]) -> dict[str, bytes]:
        """The counts and costs that no other archive of the folder has, by "CELL/NAME"."""
        kept = {}
        for cell in cells:
            name = self._name(cell)
            there = {counts_name(cell.decodings[d]) for d in cell.decodings if self.has(cell, d)}
            kept_elsewhere = self._elsewhere.get(name, {})
            new = {file for file in there if kept_elsewhere.get(file) != self._read(cell, file)}
            for file in [*new, COST] if new else []:
                kept[f"{name}/{file}"] = self._read(cell, file)
        return kept

    @cached_property
    def _elsewhere(self) -> dict[str, dict[str, bytes]]:
        """The files of each cell in the archives of other experiments."""
        cells: dict[str, dict[str, bytes]] = defaultdict(dict)
        for path in sorted(set(self.archive.parent.glob(f"*{SUFFIX}")) - {self.archive}):
            for name, files in read_cells(path).items():
                cells[name] |= files
        return cells

    @cached_property
    def _archived(self) -> dict[str, dict[str, bytes]]:
        """The files of each cell in all archives; the experiment's own archive takes precedence."""
        own = read_cells(self.archive) if self.archive.is_file() else {}
        files: dict[str, dict[str, bytes]] = defaultdict(dict, own)
        for name, others in self._elsewhere.items():
            files[name] = others | own.get(name, {})
        return files

    def _folder(self, cell: Cell) -> Path | None:
        """The folder of a cell that was trained here, which takes precedence over archives."""
        folder = self.cache / self._name(cell)
        return folder if (folder / COST).is_file() else None

    def _has(self, cell: Cell, file: str) -> bool:
        folder = self._folder(cell)
        return (folder / file).is_file() if folder else file in self._archived[self._name(cell)]

    def _read(self, cell: Cell, file: str) -> bytes:
        folder = self._folder(cell)
        return (folder / file).read_bytes() if folder else self._archived[self._name(cell)][file]

    def _name(self, cell: Cell) -> str:
        """The key of a cell; in a plan without documents, the finished one of the same training."""
        if cell.material:
            return cell.key
        folders = {path.name for path in self.cache.glob(f"{cell.key}*") if path.suffix != ".part"}
        names = folders | {name for name in self._archived if name.startswith(cell.key)}
        if len(names) > 1:
            raise FileError(
                f"{cell.name}: finished for several sets of documents: "
                f"{', '.join(sorted(names))}. Delete the folders in {self.cache} that should not "
                "be used."
            )
        return names.pop() if names else cell.key
