"""The focal, dice and logit-adjusted losses against plain torch."""

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from spacy_btl.losses.baselines import dice_loss, focal_loss, logit_adjusted_loss
from spacy_btl.losses.class_weights import class_weights
from spacy_btl.losses.cross_entropy import all_token_labels

RNG = np.random.default_rng(3)
LOGITS = RNG.normal(0, 3, (40, 6)).astype("float32")
TAGS = RNG.integers(0, 6, 40)
COUNTS = RNG.integers(1, 100, 6)
SETTINGS = {"tag_types": np.arange(6), "tag_counts": COUNTS}


@pytest.mark.parametrize("weights", ["none", "effective_number"])
@pytest.mark.parametrize("gamma", [0.5, 2.0, 5.0])
def test_focal_loss_is_the_papers_formula(gamma, weights):
    loss, gradient = focal_loss(gamma, weights)(LOGITS, TAGS, **SETTINGS)
    z = torch.tensor(LOGITS, dtype=torch.float64, requires_grad=True)
    p = torch.softmax(z, dim=1)[range(40), TAGS]
    alpha = torch.tensor(class_weights(COUNTS, weights))[TAGS]
    expected = (-alpha * (1 - p) ** gamma * p.log()).sum() / alpha.sum()
    expected.backward()
    assert loss == pytest.approx(expected.item(), rel=1e-5)
    np.testing.assert_allclose(gradient, z.grad.numpy(), atol=1e-7)
    assert gradient.dtype == np.float32


@pytest.mark.parametrize("weights", ["none", "complement"])
def test_focal_loss_without_gamma_is_cross_entropy(weights):
    loss, gradient = focal_loss(0, weights)(LOGITS, TAGS, **SETTINGS)
    expected_loss, expected = all_token_labels(weights)(LOGITS, TAGS, **SETTINGS)
    assert loss == pytest.approx(expected_loss)
    np.testing.assert_allclose(gradient, expected, atol=1e-8)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_focal_loss_of_certain_tokens_is_finite(gamma):
    logits = np.array([[200, 0], [0, 200]], dtype="float32")
    loss, gradient = focal_loss(gamma)(
        logits, np.array([0, 0]), tag_types=np.arange(2), tag_counts=np.ones(2, int)
    )
    assert loss == pytest.approx(100)
    np.testing.assert_allclose(gradient, [[0, 0], [-0.5, 0.5]], atol=1e-6)


def torch_dice(z, tags, alpha, smoothing):
    """The formula of the paper, token by token and tag by tag."""
    p = torch.softmax(z, dim=1)
    y = torch.nn.functional.one_hot(torch.tensor(tags), z.shape[1])
    s = (1 - p) ** alpha * p
    return (1 - (2 * s * y + smoothing) / (s + y + smoothing)).sum(dim=1).mean()


@pytest.mark.parametrize("smoothing", [1.0, 0.01])
@pytest.mark.parametrize("alpha", [0.0, 0.01, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("spread", [1, 6])  # of the logits: unsure, and nearly sure
def test_dice_loss_is_the_papers_formula(alpha, smoothing, spread):
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


def test_dice_loss_of_certain_tokens_is_finite():
    logits = np.array([[200, 0, 0], [0, 200, 0]], dtype="float32")
    loss, gradient = dice_loss()(
        logits, np.array([0, 0]), tag_types=np.arange(3), tag_counts=np.ones(3, int)
    )
    assert np.isfinite(loss)
    assert np.isfinite(gradient).all()


def test_descent_by_dice_loss_finds_the_tags():
    tags = np.array([0, 1, 2, 3, 0])
    logits = np.zeros((5, 4), dtype="float32")
    loss_function = dice_loss()
    for _ in range(200):
        logits -= (
            5 * loss_function(logits, tags, tag_types=np.arange(4), tag_counts=np.ones(4, int))[1]
        )
    assert logits.argmax(axis=1).tolist() == tags.tolist()


@pytest.mark.parametrize("tau", [0.0, 0.5, 1.0])
def test_logit_adjusted_loss_is_cross_entropy_of_the_shifted_logits(tau):
    rng = np.random.default_rng(1)
    logits = rng.normal(0, 3, (40, 6)).astype("float32")
    tags = rng.integers(0, 6, 40)
    counts = np.array([900, 60, 30, 9, 1, 0])
    loss, gradient = logit_adjusted_loss(tau)(
        logits, tags, tag_types=np.arange(6), tag_counts=counts
    )
    z = torch.tensor(logits, requires_grad=True)
    prior = torch.tensor((counts + 1) / (counts + 1).sum(), dtype=torch.float32)
    expected = cross_entropy(z + tau * prior.log(), torch.tensor(tags))
    expected.backward()
    assert loss == pytest.approx(expected.item(), rel=1e-5)
    np.testing.assert_allclose(gradient, z.grad.numpy(), atol=1e-7)
    assert gradient.dtype == np.float32


def test_logit_adjusted_loss_leaves_logits_even_for_labels_that_follow_the_frequencies():
    """The optimum of a token whose label is drawn by the frequencies: no tag is favoured."""
    counts = np.array([7999, 1499, 499])
    tags = np.repeat(np.arange(3), (counts + 1) // 100)
    settings = {"tag_types": np.arange(3), "tag_counts": counts}
    z = np.zeros((1, 3), dtype="float32")
    loss_function = logit_adjusted_loss()
    for _ in range(500):
        z -= loss_function(np.repeat(z, len(tags), axis=0), tags, **settings)[1].sum(axis=0)
    np.testing.assert_allclose(z - z.mean(), 0, atol=0.02)
