"""The shared tiny pipeline, opened as the page opens it."""

import pytest
import spacy

from spacy_btl.web.session import OpenPipeline, opened


@pytest.fixture
def pipeline(calibrated_path) -> OpenPipeline:
    return opened(spacy.load(calibrated_path))
