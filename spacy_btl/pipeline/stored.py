"""A pipe whose state is a store and maps, as spaCy saves and loads it: plain arrays, checked."""

from collections.abc import Iterable
from pathlib import Path
from typing import Self

from spacy import util
from spacy.pipeline import Pipe

from spacy_btl.calibration.datastore import Store
from spacy_btl.calibration.fit import Maps
from spacy_btl.errors import CalibratorError

STORE_FILE = "store.safetensors"
MAPS_FILE = "maps.safetensors"
# What the file of a pipe without a store, or without maps, holds. An empty file is a damaged one.
UNFITTED = b"not fitted"


class StoredPipe(Pipe):
    """Saves and loads `_store` and `maps`; the store that it loads it hands to `_use`."""

    name: str
    _store: Store | None = None
    maps: Maps | None = None

    def to_bytes(self, *, exclude: Iterable[str] = ()) -> bytes:
        """Serialize the store and the maps."""
        return util.to_bytes({"store": self._store_bytes, "maps": self._maps_bytes}, exclude)

    def from_bytes(self, data: bytes, *, exclude: Iterable[str] = ()) -> Self:
        """Load and check a store and maps.

        RAISES: CalibratorError, for anything but complete and finite ones of this version.
        """
        where = f"'{self.name}'"
        load = {
            "store": lambda b: self._load(b, where),
            "maps": lambda b: self._load_maps(b, where),
        }
        util.from_bytes(data, load, exclude)
        return self

    def to_disk(self, path: str | Path, *, exclude: Iterable[str] = ()) -> None:
        """Save the store and the maps in a folder."""
        save = {
            STORE_FILE: lambda p: p.write_bytes(self._store_bytes()),
            MAPS_FILE: lambda p: p.write_bytes(self._maps_bytes()),
        }
        util.to_disk(path, save, exclude)

    def from_disk(self, path: str | Path, *, exclude: Iterable[str] = ()) -> Self:
        """Load and check a store and maps.

        RAISES: CalibratorError, naming the file and what is wrong.
        """
        load = {
            STORE_FILE: lambda p: self._load(p.read_bytes(), str(p)),
            MAPS_FILE: lambda p: self._load_maps(p.read_bytes(), str(p)),
        }
        wanted = [name for name in load if name.split(".")[0] not in exclude]  # as spaCy has it
        for file in (util.ensure_path(path) / name for name in wanted):
            if not file.is_file():
                raise CalibratorError(f"The calibrator's file {file} is missing. Fit it again.")
        util.from_disk(path, load, exclude)
        return self

    def _use(self, store: Store) -> None:
        self._store = store

    def _store_bytes(self) -> bytes:
        return UNFITTED if self._store is None else self._store.to_bytes()

    def _load(self, data: bytes, where: str) -> None:
        if data == UNFITTED:
            self._store = None
        else:
            self._use(Store.from_bytes(data, where=where))

    def _maps_bytes(self) -> bytes:
        return UNFITTED if self.maps is None else self.maps.to_bytes()

    def _load_maps(self, data: bytes, where: str) -> None:
        self.maps = None if data == UNFITTED else Maps.from_bytes(data, where=where)
