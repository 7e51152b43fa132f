"""The service over the shared tiny pipeline, asked as the tools ask it."""

import logging
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import spacy
from spacy.language import Language

pytest.importorskip("starlette", reason="needs the extra: spacy-btl[serve]")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # Starlette 1 would have httpx2, and takes httpx
    from starlette.testclient import TestClient

from spacy_btl.serve.app import make_app
from spacy_btl.serve.model import Model

MAX_BYTES = 200_000
CONFIG = (
    '<View><Labels name="label" toName="text"><Label value="Sign"/><Label value="Severity"/>'
    '</Labels><Text name="text" value="$text"/></View>'
)


@pytest.fixture(scope="session")
def model(calibrated_path: Path) -> Model:
    """Shared: do not replace its pipeline."""
    return Model(str(calibrated_path))


@pytest.fixture
def client(model: Model) -> Iterator[TestClient]:
    with TestClient(make_app(model, max_bytes=MAX_BYTES)) as client:
        yield client


@pytest.fixture
def nlp(calibrated_path: Path) -> Language:
    """The same pipeline, loaded by itself."""
    return spacy.load(calibrated_path)


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> Callable[[], str]:
    """All that is logged, by any library, with tracebacks."""
    caplog.set_level(logging.DEBUG)
    return lambda: "\n".join(f"{one.getMessage()} {one.exc_text}" for one in caplog.records)


def tasks(*texts: Any, config: str = CONFIG, key: str = "text") -> dict[str, Any]:
    """A request of Label Studio for predictions."""
    return {
        "tasks": [
            {"id": number, "project": 1, "data": {key: text}, "meta": {}}
            for number, text in enumerate(texts, start=1)
        ],
        "project": "1.1700000000",
        "label_config": config,
        "params": {"login": None, "password": None, "context": None},
    }
