"""Threads that share a pipeline read as one does, with the encoder's dropout left in."""

import asyncio
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import spacy
from spacy.language import Language
from spacy.tokens import Doc

from tests.conftest import SENTENCES, make_examples, step

pytestmark = pytest.mark.slow  # threads, each with many notes

NOTES = [f"severe fever {'and cough , ' * n}crp was {n} mg / l today" for n in range(96)]


@pytest.fixture(scope="module")
def nlp(calibrated_path):
    nlp = spacy.load(calibrated_path, exclude=["doc_cleaner"])
    assert nlp.get_pipe("transformer").model.transformer.config.hidden_dropout_prob == 0.1
    return nlp


def by_call(nlp: Language, notes: list[str]) -> Iterable[Doc]:
    with ThreadPoolExecutor(16) as threads:
        return list(threads.map(nlp, notes))


def by_pipe(nlp: Language, notes: list[str]) -> Iterable[Doc]:
    parts = [notes[start : start + 6] for start in range(0, len(notes), 6)]
    with ThreadPoolExecutor(16) as threads:
        found = threads.map(lambda part: list(nlp.pipe(part, batch_size=2)), parts)
    return [doc for docs in found for doc in docs]


def by_asyncio(nlp: Language, notes: list[str]) -> Iterable[Doc]:
    async def read() -> list[Doc]:
        return await asyncio.gather(*(asyncio.to_thread(nlp, note) for note in notes))

    return asyncio.run(read())


@pytest.mark.parametrize("read", [by_call, by_pipe, by_asyncio])
def test_threads_read_as_one_does(nlp, read: Callable[[Language, list[str]], Iterable[Doc]]):
    for doc, note in zip(read(nlp, NOTES), NOTES, strict=True):
        expected = nlp(note)
        for key in ("token_logits", "token_probabilities"):
            found, right = doc._.get(key), expected._.get(key)
            np.testing.assert_allclose(found, right, rtol=0, atol=1e-5)
        assert [(e.start, e.end, e.label_) for e in doc.ents] == [
            (e.start, e.end, e.label_) for e in expected.ents
        ]
        confidence = [[ent._.confidence for ent in each.ents] for each in (doc, expected)]
        np.testing.assert_allclose(*confidence, rtol=0, atol=1e-5)


def test_a_pipeline_that_has_predicted_trains_with_dropout(trained_path):
    nlp = spacy.load(trained_path)
    network = nlp.get_pipe("transformer").model.transformer
    nlp(SENTENCES[0][0])
    assert not network.training
    doc = nlp.make_doc(SENTENCES[0][0])
    model = nlp.get_pipe("transformer").model
    one, other = (model.begin_update([doc])[0].model_output.last_hidden_state for _ in range(2))
    assert (one != other).any()
    step(nlp, make_examples(nlp), nlp.resume_training())
    assert (nlp(doc.text)._.token_logits == nlp(doc.text)._.token_logits).all()
