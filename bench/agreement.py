"""What is fast beside what is exact: how often the label is the same, and the probability."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import spacy
from numpy.typing import NDArray
from spacy.language import Language

from bench.material import Setup
from bench.reading import CALIBRATOR
from bench.search import EXACT

NAME = "agreement"
SEARCH = f"components.{CALIBRATOR}.search.@misc"
BFLOAT16 = "components.transformer.model.predict_bfloat16"
CLUSTERS = "spacy_btl.ClusterSearch.v1"
NEAR = 0.01


@dataclass(frozen=True)
class Reading:
    """Entity types (int [N]) and probabilities (float32 [N, C]) of the tokens of the notes."""

    types: NDArray[np.integer]
    p: NDArray[np.float32]


def measure(setup: Setup) -> list[dict[str, Any]]:
    """The search in clusters and bfloat16, against the exact search and float32."""
    nlp = _load(setup, EXACT)
    exact = _read(nlp, setup.texts)
    rows = {f"{CLUSTERS}, {len(nlp.get_pipe(CALIBRATOR).store.tags):,} rows": (CLUSTERS, {})}
    rows["predict_bfloat16"] = (EXACT, {BFLOAT16: True})
    return [
        {"what": what, **_compare(_read(_load(setup, search, **overrides), setup.texts), exact)}
        for what, (search, overrides) in rows.items()
    ]


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
