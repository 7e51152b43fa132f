"""Labelled rows like real ones, as many as are wanted."""

import numpy as np
from numpy.typing import NDArray

from spacy_btl.calibration.datastore import LabelledRows

SPREAD = 0.2  # how far a row is from a real one, in differences of real ones


def draw_rows(rows: LabelledRows, n_rows: int, seed: int = 0) -> LabelledRows:
    """As many labelled rows as are wanted, drawn like real ones.

    A row is a real one, moved by a fraction of the difference of two others of its tag: so drawn
    rows lie in the directions in which real ones differ.
    """
    rng = np.random.default_rng(seed)
    chosen = rng.integers(0, len(rows.tags), n_rows)
    by_tag = np.argsort(rows.tags, kind="stable")
    counts = np.bincount(rows.tags)
    first = np.cumsum(counts) - counts
    tags = rows.tags[chosen]

    def others() -> NDArray[np.float32]:
        places = first[tags] + (rng.random(n_rows) * counts[tags]).astype(int)
        return rows.logits[by_tag[places]]

    logits = rows.logits[chosen] + np.float32(SPREAD) * (others() - others())
    moved = {name: getattr(rows, name)[chosen] for name in ("tags", "documents", "starts", "ends")}
    return LabelledRows(logits=logits, **moved)
