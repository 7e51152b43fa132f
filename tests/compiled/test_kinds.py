"""Encoders of many kinds compile, and give the vectors of torch; or are refused with words."""

import warnings

import numpy as np
import pytest
import spacy

from spacy_btl import compile_pipeline
from spacy_btl.errors import BtlWarning, PipelineError
from tests.conftest import bert_pipeline, train
from tests.models.tiny_encoders import ONE_SIDED, WORKING, make_tiny

pytestmark = pytest.mark.slow  # a network of each kind

NOTES = ["fever and cough", "the patient had  severe\nfever , crp was 84 mg / l " * 9, "pain", ""]
# They train, and are refused here.
NOT_COMPILED = {"Longformer": "OpenVINO computes other vectors than torch"}  # it pads by itself


@pytest.mark.parametrize("kind", [*WORKING, *ONE_SIDED])
def test_a_kind_compiles(kind, tmp_path):
    folder = make_tiny(kind, tmp_path / "encoder")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BtlWarning)
        nlp = train(bert_pipeline(folder, encoder={"window": 64, "overlap": 16}), steps=2)
    nlp.to_disk(tmp_path / "trained")
    if kind in NOT_COMPILED:
        with pytest.raises(PipelineError, match=NOT_COMPILED[kind]):
            compile_pipeline(str(tmp_path / "trained"), tmp_path / "out", precision="fp32")
        assert not (tmp_path / "out").exists()
        return
    compile_pipeline(str(tmp_path / "trained"), tmp_path / "out", precision="fp32")
    compiled = spacy.load(tmp_path / "out")
    pairs = zip(nlp.pipe(NOTES), compiled.pipe(NOTES), strict=True)
    for expected, doc in pairs:
        np.testing.assert_allclose(doc._.token_logits, expected._.token_logits, rtol=0, atol=1e-3)
