import numpy as np
import pytest
import torch

from spacy_btl.losses.baselines import dice_loss


def torch_dice(z, tags, alpha, smoothing):
    """The formula of the paper, token by token and tag by tag."""
    p = torch.softmax(z, dim=1)
    y = torch.nn.functional.one_hot(torch.tensor(tags), z.shape[1])
    s = (1 - p) ** alpha * p
    return (1 - (2 * s * y + smoothing) / (s + y + smoothing)).sum(dim=1).mean()


@pytest.mark.parametrize("smoothing", [1.0, 0.01])
@pytest.mark.parametrize("alpha", [0.0, 0.01, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("spread", [1, 6])  # of the logits: unsure, and nearly sure
def test_is_the_papers_formula(alpha, smoothing, spread):
    rng = np.random.default_rng(5)
    logits = rng.normal(0, spread, (40, 6)).astype("float32")
    tags = rng.integers(0, 6, 40)
    loss, gradient = dice_loss(alpha, smoothing)(
        logits, tags, tag_types=np.arange(6), tag_counts=np.ones(6, int)
    )
    z = torch.tensor(logits, dtype=torch.float64, requires_grad=True)
    expected = torch_dice(z, tags, alpha, smoothing)
    expected.backward()
    assert loss == pytest.approx(expected.item(), rel=1e-5)
    np.testing.assert_allclose(gradient, z.grad.numpy(), rtol=1e-3, atol=1e-6)
    assert gradient.dtype == np.float32


def test_tokens_that_are_surely_right_or_wrong_are_no_trouble():
    logits = np.array([[200, 0, 0], [0, 200, 0]], dtype="float32")
    loss, gradient = dice_loss()(
        logits, np.array([0, 0]), tag_types=np.arange(3), tag_counts=np.ones(3, int)
    )
    assert np.isfinite(loss)
    assert np.isfinite(gradient).all()


def test_descent_finds_the_tags():
    tags = np.array([0, 1, 2, 3, 0])
    logits = np.zeros((5, 4), dtype="float32")
    loss_function = dice_loss()
    for _ in range(200):
        logits -= (
            5 * loss_function(logits, tags, tag_types=np.arange(4), tag_counts=np.ones(4, int))[1]
        )
    assert logits.argmax(axis=1).tolist() == tags.tolist()
