"""What is fast beside what is exact: how often the label is the same, and the probability."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import numpy as np
import spacy
from numpy.typing import NDArray
from spacy.language import Language

from bench.material import Setup
from bench.pipelines import CALIBRATOR
from bench.search import EXACT, OURS
from spacy_btl.calibration import ivf
from spacy_btl.models.passes import cpu_has_bfloat16

NAME = "agreement"
SEARCH = f"components.{CALIBRATOR}.search.@misc"
BFLOAT16 = "components.transformer.model.predict_bfloat16"
NEAR = 0.01
FEW_LISTS = 24  # about as many as the limit of knn_share leaves time for


@dataclass(frozen=True)
class Reading:
    """Entity types (int [N]) and probabilities (float32 [N, C]) of the tokens of the notes."""

    types: NDArray[np.integer]
    p: NDArray[np.float32]


def measure(setup: Setup) -> list[dict[str, Any]]:
    """The search in clusters and bfloat16, against the exact search and float32."""
    nlp = _load(setup, EXACT)
    exact = _read(nlp, setup.texts)
    n_rows = len(nlp.get_pipe(CALIBRATOR).calibrator.datastore.tags)

    def row(what: str, search: str, **overrides: Any) -> dict[str, Any]:
        found = _read(_load(setup, search, **overrides), setup.texts)
        return {"what": what, **_compare(found, exact)}

    what = f"{OURS}, {n_rows:,} rows"
    rows = [row(what, OURS)]
    if setup.gpu_id < 0 and cpu_has_bfloat16():
        rows.append(row("predict_bfloat16", EXACT, **{BFLOAT16: True}))
    with patch.object(ivf, "NPROBE", FEW_LISTS):
        rows.insert(1, row(f"{what}, NPROBE = {FEW_LISTS}", OURS))
    return rows


def _load(setup: Setup, search: str, **overrides: Any) -> Language:
    return spacy.load(setup.model_path, config={SEARCH: search, **overrides})


def _read(nlp: Language, texts: Iterable[str]) -> Reading:
    docs = list(nlp.pipe(texts, disable=["doc_cleaner"]))
    types = np.concatenate([doc.to_array("ENT_TYPE") for doc in docs])
    return Reading(types, np.concatenate([doc._.token_probabilities for doc in docs]))


def _compare(found: Reading, exact: Reading) -> dict[str, float]:
    return {
        "tokens": len(exact.types),
        "same_label": float((found.types == exact.types).mean()),
        "near": float((np.abs(found.p - exact.p).max(axis=1) <= NEAR).mean()),
    }
