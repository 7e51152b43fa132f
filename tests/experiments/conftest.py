"""What the tests of experiments share: an experiment file of two arms."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import srsly

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def experiment_file(tiny_bert: Path, corpus_path: Path, tmp_path: Path) -> Callable[..., Path]:
    """Writes an experiment of two arms on two folds with a tiny BERT; keyword arguments replace its
    entries."""

    def write(**changes: Any) -> Path:
        experiment = {
            "title": "Two arms",
            "corpora": {"sentences": str(corpus_path)},
            "folds": 2,
            "dev": 0.25,
            "config": str(ROOT / "experiments" / "minilm.cfg"),
            "overrides": {
                "paths.encoder": str(tiny_bert),
                "components.transformer.model.window": 48,
                "components.transformer.model.overlap": 8,
                "training.max_steps": 3,
                "training.eval_frequency": 3,
            },
            "decodings": {
                "arg-max": {},
                "kNN": {"calibrator": {"knn_weight": 1, "n_neighbors": 3}},
            },
            "arms": {
                "ATL": {
                    "overrides": {
                        "components.ner.loss": {"@losses": "spacy_btl.AllTokenLabels.v1"}
                    },
                    "decodings": ["arg-max", "kNN"],
                },
                "BTL": {"decodings": ["arg-max"]},
            },
            "baseline": ["ATL", "arg-max"],
        }
        path = tmp_path / "experiment.yml"
        srsly.write_yaml(path, {**experiment, **changes})
        return path

    return write
