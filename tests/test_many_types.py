"""Nothing is quadratic in the number of entity types: memory at ten times as many types."""

import tracemalloc
from collections.abc import Callable
from itertools import product

import numpy as np
import pytest
import spacy
from spacy.tokens import Doc
from spacy.training import Example

from spacy_btl.calibration.calibrator import Calibrator
from spacy_btl.lines import read_lines
from spacy_btl.losses.binary_token_labels import BinaryTokenLabels
from spacy_btl.losses.overlapping import overlapping_loss
from spacy_btl.mentions import OverlappingScheme
from spacy_btl.metrics.scorer import score_ner
from spacy_btl.pipeline.decoding import decode
from spacy_btl.tags import TagScheme
from tests.calibration.made_up import made_up_datastore

# Few tokens, so that an array of types by types would stand out.
TOKENS = 50
LINEAR = 15  # ten times, and room for what does not grow evenly


def peak_ratio(make_call: Callable[[int], Callable[[], object]]) -> float:
    """The peak of traced memory in a call with 1,000 types over that with 100."""
    peaks = []
    for n_types in (100, 1000):
        call = make_call(n_types)
        call()  # what is made once does not count
        tracemalloc.start()
        call()
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    return peaks[1] / peaks[0]


def made_up(n_types: int) -> tuple[TagScheme, np.ndarray, np.ndarray]:
    """A scheme, logits and tags."""
    rng = np.random.default_rng(0)
    scheme = TagScheme([f"T{i}" for i in range(n_types)])
    tags = np.where(rng.random(TOKENS) < 0.5, 0, rng.integers(1, n_types, TOKENS))
    return scheme, rng.normal(size=(TOKENS, len(scheme))).astype("float32"), tags


def made_up_doc(scheme: TagScheme, tags: np.ndarray) -> Doc:
    """One word per tag; every entity is a word."""
    ents = ["O" if tag == 0 else f"B-{scheme.types[tag - 1]}" for tag in tags]
    return Doc(spacy.blank("en").vocab, words=["w"] * len(tags), ents=ents)


NAMES = ("AllTokenLabels", "FocalLoss", "DiceLoss", "LogitAdjustedLoss")
LOSSES = [
    *(spacy.registry.losses.get(f"spacy_btl.{name}.v1")() for name in NAMES),
    *(
        BinaryTokenLabels(*options, "complement")
        for options in product(("all", "pair"), ("outside", "ignore"))
    ),
]


def loss_name(loss) -> str:
    plain = (str(value) for value in vars(loss).values() if isinstance(value, str | float | None))
    return " ".join([type(loss).__name__, *plain])


@pytest.mark.parametrize("loss", LOSSES, ids=loss_name)
def test_memory_of_a_loss_is_linear_in_the_types(loss):
    def make_call(n_types: int) -> Callable[[], object]:
        scheme, logits, tags = made_up(n_types)
        settings = {
            "tag_types": scheme.tag_types,
            "tag_counts": np.bincount(tags, minlength=len(scheme)),
        }
        return lambda: loss(logits, tags, **settings)

    assert peak_ratio(make_call) < LINEAR


@pytest.mark.parametrize("weight", [0.0, 0.5])  # of the transitions between tags
def test_memory_of_decoding_is_linear_in_the_types(weight):
    def make_call(n_types: int) -> Callable[[], object]:
        scheme, logits, tags = made_up(n_types)
        doc = made_up_doc(scheme, tags)
        settings = {"n_neighbors": 1, "tau": dict.fromkeys(scheme.types, 0.5)}

        def call() -> object:
            calibrator = Calibrator(knn_weight=1.0, transition_weight=weight, **settings)
            calibrator.fit(made_up_datastore(scheme, tags, logits=logits))
            p = calibrator.predict_proba(logits)
            ((spans, confidences),) = decode([doc], [p], calibrator)
            assert len(spans) == len(confidences) > 0
            return spans

        return call

    assert peak_ratio(make_call) < LINEAR


def test_memory_of_overlapping_mentions_is_linear_in_the_types():
    """Targets, loss, spans and scores."""

    def make_call(n_types: int) -> Callable[[], object]:
        scheme, logits, tags = made_up(n_types)
        gold = made_up_doc(scheme, tags)
        gold.spans["mentions"] = list(gold.ents)
        scheme = OverlappingScheme(scheme.types)
        logits[:, 0] += 4
        loss = overlapping_loss(BinaryTokenLabels("pair", "ignore", "sqrt_odds"), "ner")
        logits = np.hstack([logits, logits[:, 1:], logits[:, 1:]])
        counts = np.tile(np.bincount(tags, minlength=len(scheme))[1:], 3)

        def call() -> object:
            doc = gold.copy()
            targets = scheme.targets(Example(doc, gold))
            loss(logits, targets, counts=counts, n_tokens=TOKENS)
            decisions, lines = logits[:, scheme.columns], read_lines(doc)
            runs = scheme.runs(decisions.argmax(axis=-1), lines.breaks, lines.short)
            scheme.run_probabilities(runs, decisions)
            doc.spans["btl"] = scheme.spans(doc, runs, lines)[:TOKENS]
            return score_ner([Example(doc, gold)], spans_key="btl")

        return call

    assert peak_ratio(make_call) < LINEAR


def test_memory_of_scoring_is_linear_in_the_types():
    def make_call(n_types: int) -> Callable[[], object]:
        scheme, _, _ = made_up(n_types)
        doc = made_up_doc(scheme, np.arange(len(scheme)))  # every type once
        return lambda: score_ner([Example(doc, doc.copy())])

    assert peak_ratio(make_call) < LINEAR
