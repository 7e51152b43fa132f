"""The head: logits of tokens from the vectors of any encoder."""

import numpy as np
import pytest
import spacy
from thinc.api import Adam, Model

from spacy_btl.models.token_logits import token_logits
from tests.conftest import NO_DROPOUT, SENTENCES, bert_pipeline, train
from tests.models.test_encoder import long_note

WIDTH, N_TAGS = 4, 3


def vectors(*lengths, seed=0):
    """Random token vectors of docs; an empty doc's have no width, as an encoder's do."""
    rng = np.random.default_rng(seed)
    return [
        rng.normal(size=(n, WIDTH)).astype("float32") if n else np.zeros((0, 0), dtype="float32")
        for n in lengths
    ]


def make_head(scale=1.0, dropout=0.0, seed=0):
    """The head over an encoder that passes vectors through and hands their gradient back."""
    encoder = Model("vectors", lambda model, X, is_train: (X, lambda dX: dX), dims={"nO": WIDTH})
    head = token_logits(encoder, scale=scale)
    np.random.seed(seed)
    head.initialize(X=vectors(2), Y=[np.zeros((2, N_TAGS), dtype="float32")])
    linear_of(head).set_param("b", np.arange(1.0, N_TAGS + 1, dtype="float32") / scale)
    return head


def linear_of(head):
    return next(layer for layer in head.walk() if layer.name == "linear")


def test_logits_are_linear_in_the_vectors():
    head, X = make_head(scale=10.0), vectors(3, 1)
    W, b = linear_of(head).get_param("W"), linear_of(head).get_param("b")
    for x, y in zip(X, head.predict(X), strict=True):
        np.testing.assert_allclose(y, 10 * (x @ W.T + b), rtol=1e-5)


def test_an_unseen_token_has_no_logits_and_no_gradient():
    head, X = make_head(), vectors(3, 2)
    X[0][1] = X[1][0] = 0
    Y, backprop = head.begin_update(X)
    assert [row.any() for y in Y for row in y] == [True, False, True, False, True]
    d_seen = [np.ones_like(y) for y in Y]
    dX = backprop(d_seen)
    assert [row.any() for d in dX for row in d] == [True, False, True, False, True]
    # The bias learns from the three seen tokens only.
    np.testing.assert_allclose(linear_of(head).get_grad("b"), [3, 3, 3])


@pytest.mark.parametrize("lengths", [(0, 3, 0, 2, 0), (0, 0), (0,)])
def test_empty_docs_have_empty_logits(lengths):
    head = make_head()
    Y, backprop = head.begin_update(vectors(*lengths))
    assert [y.shape for y in Y] == [(n, N_TAGS) for n in lengths]
    assert [len(d) for d in backprop(Y)] == list(lengths)


@pytest.mark.parametrize("scale", [1.0, 10.0])
def test_gradients_are_finite_differences(scale):
    head, X = make_head(scale), vectors(3, 0, 2)
    X[0][1] = 0
    d_logits = [np.random.default_rng(1).normal(size=(len(x), N_TAGS)) for x in X]

    def loss():
        logits = head.predict(X)
        return sum((y.astype("float64") * d).sum() for y, d in zip(logits, d_logits, strict=True))

    _, backprop = head.begin_update(X)
    dX = backprop([d.astype("float32") for d in d_logits])
    linear = linear_of(head)
    checked = [(linear.get_param(name), linear.get_grad(name)) for name in ("W", "b")]
    for values, gradient in [*checked, (X[0], dX[0]), (X[2], dX[2])]:
        for index in np.argwhere(values):  # not the unseen token: moved, it would be seen
            index = tuple(index)
            numeric = difference(loss, values, index)
            assert gradient[index] == pytest.approx(numeric, rel=1e-2, abs=1e-2)


def difference(loss, values, index, step=0.05):
    kept = values[index]
    values[index] = kept + step
    above = loss()
    values[index] = kept - step
    below = loss()
    values[index] = kept
    return (above - below) / (2 * step)


def test_with_adam_the_logits_move_scale_times_as_far():
    X = vectors(5)
    moved = {}
    for scale in (1.0, 10.0):
        head = make_head(scale)
        before, backprop = head.begin_update(X)
        backprop([np.ones_like(y) for y in before])
        head.finish_update(Adam(0.01, L2=0.0, grad_clip=0.0, use_averages=False))
        moved[scale] = before[0], head.predict(X)[0] - before[0]
    np.testing.assert_allclose(moved[10.0][0], moved[1.0][0], rtol=1e-5)  # the same start
    np.testing.assert_allclose(moved[10.0][1], 10 * moved[1.0][1], rtol=1e-3)


# An encoder that belongs to the `ner` pipe, from the start or by `nlp.replace_listeners`.


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
