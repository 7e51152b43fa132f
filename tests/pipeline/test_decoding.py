"""From probabilities to entities, where the calibrator's own tests do not reach."""

import numpy as np
import pytest
import spacy

from spacy_btl.pipeline.decoding import decode
from spacy_btl.tags import TagScheme
from tests.calibration.made_up import deciding_calibrator, made_up_datastore

CALIBRATOR = deciding_calibrator(made_up_datastore(TagScheme(["Medication"])))


@pytest.mark.parametrize("space", [" ", "\u2009", "  ", "\t"])
def test_white_space_inside_an_entity_does_not_lower_its_confidence(space):
    doc = spacy.blank("en").make_doc(f"took 8 {space}mg")
    p = np.array([[0.9, 0.1], [0.2, 0.8], [1.0, 0.0], [0.3, 0.7]])
    ((spans, confidences),) = decode([doc], [p], CALIBRATOR)
    assert [(span.start, span.end, span.label_) for span in spans] == [(1, 4, "Medication")]
    assert confidences == [pytest.approx(0.7)]


def test_a_line_end_ends_an_entity():
    doc = spacy.blank("en").make_doc("aspirin\nwarfarin")
    p = np.array([[0.1, 0.9], [1.0, 0.0], [0.2, 0.8]])
    ((spans, _),) = decode([doc], [p], CALIBRATOR)
    assert [span.text for span in spans] == ["aspirin", "warfarin"]


def test_several_docs_are_decoded_as_each_alone():
    rng = np.random.default_rng(0)
    texts = ["", " ", "no fever\ntoday", "aspirin  daily for a week", "\n", "pain"]
    docs = [spacy.blank("en").make_doc(text) for text in texts]
    probabilities = [rng.dirichlet(np.ones(2), len(doc)) for doc in docs]
    datastore = made_up_datastore(
        TagScheme(["Medication"]), rng.integers(0, 2, 30), prior=np.array([0.6, 0.4])
    )
    calibrator = deciding_calibrator(datastore, tau=0.3, transition_weight=1.5)
    alone = [decode([doc], [p], calibrator)[0] for doc, p in zip(docs, probabilities, strict=True)]
    assert decode(docs, probabilities, calibrator) == alone
    assert any(spans for spans, _ in alone)
    assert decode([], [], calibrator) == []
