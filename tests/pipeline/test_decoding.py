"""From probabilities to entities, where the calibrator's own tests do not reach."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest
import spacy
from hypothesis import given, settings
from hypothesis import strategies as st
from seqeval.metrics.sequence_labeling import get_entities
from spacy.tokens import Doc

from spacy_btl.calibration.calibration_maps import ConfidenceMap, Maps, TokenMap
from spacy_btl.calibration.datastore import Datastore
from spacy_btl.calibration.decisions import Tau
from spacy_btl.calibration.settings import Settings
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


# From any probabilities to entities: each decision and each confidence, from its definition.

VOCAB = spacy.blank("en").vocab
TYPES = ("Sign", "Test")


@dataclass
class Case:
    doc: Doc
    p: np.ndarray
    datastore: Datastore
    tau: Tau

    def decode(self, *, weight: float = 0.0, maps: Maps | None = None):
        """Its entities, and their confidences."""
        calibrator = deciding_calibrator(
            self.datastore, maps=maps, tau=self.tau, transition_weight=weight
        )
        ((spans, confidences),) = decode([self.doc], [self.p], calibrator)
        return spans, confidences


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """A doc of words, and probabilities some of which are 0 or 1, as of tokens never seen."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    scheme = TagScheme(TYPES, draw(st.sampled_from(["IO", "BIO"])))
    n_words = draw(st.integers(0, 10))
    p = rng.dirichlet(np.full(len(scheme), draw(st.sampled_from([0.1, 1.0, 5.0]))), n_words)
    p[rng.random(n_words) < 0.1] = np.eye(len(scheme))[0]
    tags, prior = rng.integers(0, len(scheme), 20), rng.dirichlet(np.full(len(scheme), 2.0))
    return Case(
        doc=Doc(VOCAB, words=["fever"] * n_words),
        p=p,
        datastore=made_up_datastore(scheme, tags, prior=prior),
        tau=draw(st.sampled_from([0.0, 0.5, {"Sign": 1.0}])),
    )


def entities_of(scheme: TagScheme, tags: Sequence[int]) -> list[tuple[str, int, int]]:
    """As seqeval has them; an IO sequence is one without `B-`."""
    names = [scheme.tags[tag] for tag in tags]
    if scheme.scheme == "IO":
        names = ["O" if name == "O" else f"I-{name}" for name in names]
    return [(label, start, last + 1) for label, start, last in get_entities(names)]


def as_tuples(spans) -> list[tuple[str, int, int]]:
    return [(span.label_, span.start, span.end) for span in spans]


@given(cases())
def test_without_transitions_every_word_is_decided_by_itself(case):
    scheme, tau = case.datastore.tag_scheme, case.tau
    classes = ("O", *TYPES)
    per_tag = np.array(
        [tau.get(classes[i], 0) if isinstance(tau, dict) else tau for i in scheme.tag_types]
    )
    tags = (case.p / case.datastore.prior**per_tag).argmax(axis=1)
    spans, _ = case.decode()
    assert as_tuples(spans) == entities_of(scheme, tags)


@given(cases(), st.sampled_from([0.0, 0.3, 4.0]))
def test_confidence_is_the_weakest_word_and_its_map_keeps_the_order(case, weight):
    spans, confidences = case.decode(weight=weight)
    columns = case.datastore.tag_scheme.tag_types
    for span, confidence in zip(spans, confidences, strict=True):
        of_type = case.p[span.start : span.end, columns == 1 + TYPES.index(span.label_)]
        assert confidence == pytest.approx(of_type.sum(axis=1).min())
        assert 0 <= confidence <= 1
    maps = Maps(TokenMap(), ConfidenceMap(0.7, 0.2, -1, 9), Settings())
    again, mapped = case.decode(weight=weight, maps=maps)
    assert as_tuples(again) == as_tuples(spans)
    assert (np.diff(np.array(mapped)[np.argsort(confidences)]) >= 0).all()
    assert all(1 / 11 <= confidence <= 10 / 11 for confidence in mapped)


@settings(max_examples=50)
@given(cases(), st.sampled_from([0.3, 4.0]))
def test_a_word_that_the_encoder_never_saw_is_in_no_entity(case, weight):
    spans, _ = case.decode(weight=weight)
    unseen = set(np.flatnonzero(case.p[:, 0] == 1))
    assert not unseen & {token.i for span in spans for token in span}
