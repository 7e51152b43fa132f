"""Predictions that no network has made, for the tests of evaluation and metrics."""

from functools import cache

import numpy as np
import spacy
from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Example

from spacy_btl.evaluation.predictions import predict
from spacy_btl.metrics.predictions import ENTITY, Predictions

CLASSES = ("O", "Rare", "Sign", "Test")
SHARES = [0.6, 0.02, 0.25, 0.13]


@Language.component("tests_annotate", assigns=["doc.ents"])
def annotate(doc: Doc) -> Doc:
    """Annotate a doc with the IOB2 tags in its user data."""
    doc.set_ents(Doc(doc.vocab, [token.text for token in doc], ents=doc.user_data["tags"]).ents)
    return doc


def examples_of(corpus: list[tuple[list[str], list[str]]], nlp: Language) -> list[Example]:
    """Examples of notes given as (gold tags, predicted tags) in IOB2, not annotated yet."""
    examples = []
    for gold, predicted in corpus:
        words = ["fever"] * len(gold)
        doc = Doc(nlp.vocab, words, user_data={"tags": predicted})
        examples.append(Example(doc, Doc(nlp.vocab, words, ents=gold)))
    return examples


@cache
def tagger() -> Language:
    """A pipeline that predicts what it is told. Shared: do not change it."""
    nlp = spacy.blank("en")
    nlp.add_pipe("tests_annotate")
    return nlp


def predictions_of(corpus: list[tuple[list[str], list[str]]]) -> Predictions:
    """What a pipeline that predicts the given tags says."""
    return predict(tagger(), examples_of(corpus, tagger()))


def random_predictions(
    n_docs: int = 20, *, seed: int = 0, gold_seed: int = 0, noise: float = 0.3
) -> Predictions:
    """A pipeline that is right about most tokens, sure of itself, and gives confidence to most
    entities. Entities are runs of one class. The gold annotation is that of `gold_seed`."""
    gold_rng, rng = np.random.default_rng(gold_seed), np.random.default_rng([seed, 1])
    lengths = gold_rng.integers(8, 40, n_docs)
    docs = np.repeat(np.arange(n_docs, dtype="int32"), lengths)
    runs = np.cumsum(gold_rng.random(len(docs)) < 0.5)
    gold = gold_rng.choice(len(CLASSES), runs[-1] + 1, p=SHARES)[runs].astype("int32")
    p = rng.dirichlet(np.ones(len(CLASSES)), len(docs)) * noise
    p[np.arange(len(docs)), gold] += rng.random(len(docs))
    p = (p / p.sum(axis=1, keepdims=True)).astype("float32")
    predicted = p.argmax(axis=1).astype("int32")
    ents = _runs(docs, predicted)
    confidence = rng.random(len(ents))
    confidence[::7] = np.nan
    return Predictions(
        classes=CLASSES,
        n_docs=n_docs,
        patients=np.arange(n_docs),
        token_docs=docs,
        gold=gold,
        predicted=predicted,
        probabilities=p,
        prior=np.array(SHARES),
        gold_ents=_runs(docs, gold),
        predicted_ents=ents,
        confidence=confidence,
    )


def _runs(docs: np.ndarray, classes: np.ndarray) -> np.ndarray:
    first = np.searchsorted(docs, docs)  # the first token of each token's document
    cells = docs * 100 + classes
    starts = np.flatnonzero(np.diff(cells, prepend=-1))
    ends = [*starts[1:], len(docs)]
    rows = [
        (docs[start], start - first[start], end - first[start], classes[start])
        for start, end in zip(starts, ends, strict=True)
        if classes[start]
    ]
    return np.array(rows, dtype=ENTITY)


def one_document(predictions: Predictions, doc: int) -> Predictions:
    """The predictions for one document."""
    tokens = predictions.token_docs == doc
    ents = {name: getattr(predictions, name) for name in ("gold_ents", "predicted_ents")}
    here = {name: values["doc"] == doc for name, values in ents.items()}
    ents = {name: values[here[name]].copy() for name, values in ents.items()}
    for values in ents.values():
        values["doc"] = 0
    return Predictions(
        classes=predictions.classes,
        n_docs=1,
        patients=np.arange(1),
        token_docs=np.zeros(tokens.sum(), dtype="int32"),
        gold=predictions.gold[tokens],
        predicted=predictions.predicted[tokens],
        probabilities=predictions.probabilities[tokens],
        prior=predictions.prior,
        confidence=predictions.confidence[here["predicted_ents"]],
        **ents,
    )
