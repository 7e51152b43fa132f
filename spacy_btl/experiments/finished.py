"""Finished cells: folders of a cache, and archives of such folders beside the results.

Results are computed from counts alone, so an archive of the counts and costs preserves an
experiment. A cell that several experiments share is in one archive of the folder.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
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
    results (Path): The path of the results without a suffix, in the folder of all archives.
    """

    def __init__(self, cache: Path, results: Path) -> None:
        self.cache = cache
        self.archive = archive_of(results)

    def has(self, cell: Cell, decoding: str) -> bool:
        """Whether a cell is trained and decoded."""
        return counts_name(cell.decodings[decoding]) in self._files(cell)

    def is_done(self, cell: Cell) -> bool:
        """Whether a cell is trained, and every decoding is finished."""
        return all(self.has(cell, decoding) for decoding in cell.decodings)

    def counts(self, cell: Cell, decoding: str) -> tuple[Counts, tuple[str, ...]]:
        """The counts of a cell and their classes. RAISES: CorpusError, for a damaged file."""
        name = counts_name(cell.decodings[decoding])
        return load_counts(self._files(cell)[name], f"{self._name(cell)}/{name}")

    def cost(self, cell: Cell) -> dict[str, Any]:
        """The cost of a cell."""
        return json.loads(self._files(cell)[COST])

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
        kept: dict[str, bytes] = {}
        for cell in cells:
            name, files = self._name(cell), self._files(cell)
            there = {counts_name(how) for how in cell.decodings.values()} & files.keys()
            elsewhere = self._elsewhere.get(name, {})
            new = {file for file in there if elsewhere.get(file) != files[file]}
            kept |= {f"{name}/{file}": files[file] for file in (new | {COST} if new else ())}
        return kept

    @cached_property
    def _own(self) -> dict[str, dict[str, bytes]]:
        """The files of each cell in the experiment's archive."""
        return read_cells(self.archive) if self.archive.is_file() else {}

    @cached_property
    def _elsewhere(self) -> dict[str, dict[str, bytes]]:
        """The files of each cell in the archives of other experiments."""
        cells: dict[str, dict[str, bytes]] = defaultdict(dict)
        for path in sorted(set(self.archive.parent.glob(f"*{SUFFIX}")) - {self.archive}):
            for name, files in read_cells(path).items():
                cells[name] |= files
        return cells

    def _files(self, cell: Cell) -> Mapping[str, bytes]:
        """The files of a cell that was trained here, or else the archived ones."""
        name = self._name(cell)
        folder = self.cache / name
        if (folder / COST).is_file():
            return {file.name: file.read_bytes() for file in [folder / COST, *folder.glob("*.npz")]}
        return self._elsewhere.get(name, {}) | self._own.get(name, {})

    def _name(self, cell: Cell) -> str:
        """The key of a cell; in a plan without documents, the finished one of the same training."""
        if cell.material:
            return cell.key
        folders = {path.name for path in self.cache.glob(f"{cell.key}*") if path.suffix != ".part"}
        archived = {*self._own, *self._elsewhere}
        names = folders | {name for name in archived if name.startswith(cell.key)}
        if len(names) > 1:
            raise FileError(
                f"{cell.name}: finished for several sets of documents: "
                f"{', '.join(sorted(names))}. Delete the folders in {self.cache} that should not "
                "be used."
            )
        return names.pop() if names else cell.key
