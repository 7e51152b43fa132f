"""Compiled pipelines, made of those of all tests."""

from pathlib import Path

import pytest

from spacy_btl import compile_pipeline
from spacy_btl.compiled.engine import load_library
from spacy_btl.errors import PipelineError
from spacy_btl.training.calibrate import calibrate

# Without the telemetry that `import openvino` by itself would start.
try:
    load_library("nncf", "compile")
    load_library("openvino", "compile")
except PipelineError as error:
    MISSING = str(error)
else:
    MISSING = ""


@pytest.fixture(autouse=True, scope="session")
def _engine() -> None:
    if MISSING:
        pytest.skip(MISSING)


@pytest.fixture(scope="session")
def fitted_path(trained_path, corpus_path, held_out_path, tmp_path_factory) -> Path:
    """A calibrated pipeline with maps."""
    path = tmp_path_factory.mktemp("fitted") / "model"
    settings = {"n_neighbors": 3}
    calibrate(str(trained_path), corpus_path, path, settings=settings, held_out=held_out_path)
    return path


@pytest.fixture(scope="session")
def compiled_path(fitted_path, tmp_path_factory) -> Path:
    """The same, compiled in float32."""
    path = tmp_path_factory.mktemp("compiled") / "model"
    compile_pipeline(str(fitted_path), path, precision="fp32")
    return path
