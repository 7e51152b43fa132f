import numpy as np
import pytest
from thinc.api import Adam, Model

from spacy_btl.models.token_logits import token_logits

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
