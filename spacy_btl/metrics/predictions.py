"""Gold and predicted classes of documents as arrays, without their text.

Every figure is computed from `Predictions`, so those of two pipelines can be compared document by
document.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

# An entity: its document, its first token and the one after its last (in the tokens of the
# reference doc), and its class.
ENTITY = np.dtype([("doc", "i4"), ("start", "i4"), ("end", "i4"), ("label", "i4")])


@dataclass(frozen=True)
class Predictions:
    """Gold and predicted classes of D documents; C classes, the first of them `O`.

    classes (Tuple[str, ...]): "O" and the entity types, sorted.
    n_docs (int): D.
    patients (int64 [D]): The patient of each document, from 0; one of its own where not known.
    token_docs (int32 [N]): The document of each scored token: annotated, and not white space.
    gold (int32 [N]): The class of each token by the annotation.
    predicted (int32 [N]): The class of each token by the pipeline.
    probabilities (Optional[float32 [N, C]]): Its class probabilities; None if it has none.
    prior (Optional[float64 [C]]): Training frequencies of the classes; None if it has none.
    gold_ents (ENTITY [M]): Entities of the annotation.
    predicted_ents (ENTITY [P]): Those of the pipeline, less those where annotation is missing.
    confidence (float64 [P]): `ent._.confidence`; nan where the pipeline gives none.
    mentions (Optional[ENTITY [A]]): All annotated mentions, where some overlap others and so have
        no place in `doc.ents`; None where the entities are all.
    """

    classes: tuple[str, ...]
    n_docs: int
    patients: NDArray[np.int64]
    token_docs: NDArray[np.int32]
    gold: NDArray[np.int32]
    predicted: NDArray[np.int32]
    probabilities: NDArray[np.float32] | None
    prior: NDArray[np.float64] | None
    gold_ents: NDArray[Any]
    predicted_ents: NDArray[Any]
    confidence: NDArray[np.float64]
    mentions: NDArray[Any] | None = None

    @property
    def annotated(self) -> NDArray[Any]:
        """All annotated mentions."""
        return self.gold_ents if self.mentions is None else self.mentions
