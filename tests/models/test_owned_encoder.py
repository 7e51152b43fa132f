"""An encoder that belongs to the `ner` pipe, from the start or by `nlp.replace_listeners`."""

import numpy as np
import spacy

from tests.conftest import NO_DROPOUT, SENTENCES, bert_pipeline, train
from tests.models.test_encoder import long_note


def owned_pipeline(tiny_bert):
    """A pipeline whose `ner` owns its encoder."""
    nlp = spacy.blank("en")
    encoder = {
        "@architectures": "spacy_btl.WindowedTransformer.v1",
        "name": str(tiny_bert),
        "window": 48,
        "overlap": 8,
        "transformer_config": NO_DROPOUT,
    }
    tok2vec = {
        "@architectures": "spacy_btl.WindowedTok2Vec.v1",
        "encoder": encoder,
        "pooling": {"@layers": "reduce_mean.v1"},
    }
    model = {"@architectures": "spacy_btl.TokenLogits.v1", "tok2vec": tok2vec}
    nlp.add_pipe("btl_ner", name="ner", config={"model": model})
    return nlp


NOTES = [*(text for text, _ in SENTENCES), "", " ", long_note(200).text]


def test_an_encoder_owned_by_the_pipe_trains_as_the_shared_one_and_saves(tiny_bert, tmp_path):
    shared = train(bert_pipeline(tiny_bert, dropout=False))
    nlp = train(owned_pipeline(tiny_bert))
    nlp.to_disk(tmp_path)
    loaded = spacy.load(tmp_path)
    for note in NOTES:
        logits = nlp(note)._.token_logits
        np.testing.assert_allclose(logits, shared(note)._.token_logits, atol=1e-3)
        np.testing.assert_array_equal(loaded(note)._.token_logits, logits)


def test_replaced_listeners_give_the_same_output_and_save(trained, tmp_path):
    trained.to_disk(tmp_path / "shared")
    nlp = spacy.load(tmp_path / "shared")
    shared = nlp.get_pipe("transformer").model
    nlp.replace_listeners("transformer", "ner", ["model.tok2vec"])
    nlp.remove_pipe("transformer")
    own = next(m for m in nlp.get_pipe("ner").model.walk() if m.name == "transformer")
    assert own is not shared
    nlp.to_disk(tmp_path / "owned")
    loaded = spacy.load(tmp_path / "owned")
    for note in NOTES:
        expected = trained(note)._.token_logits
        np.testing.assert_array_equal(nlp(note)._.token_logits, expected)
        np.testing.assert_array_equal(loaded(note)._.token_logits, expected)
