import numpy as np
import pytest
import torch

from spacy_btl.losses.baselines import focal_loss
from spacy_btl.losses.class_weights import class_weights
from spacy_btl.losses.cross_entropy import all_token_labels

RNG = np.random.default_rng(3)
LOGITS = RNG.normal(0, 3, (40, 6)).astype("float32")
TAGS = RNG.integers(0, 6, 40)
COUNTS = RNG.integers(1, 100, 6)
SETTINGS = {"tag_types": np.arange(6), "tag_counts": COUNTS}


@pytest.mark.parametrize("weights", ["none", "effective_number"])
@pytest.mark.parametrize("gamma", [0.5, 2.0, 5.0])
def test_is_the_papers_formula(gamma, weights):
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
def test_without_gamma_it_is_cross_entropy(weights):
    loss, gradient = focal_loss(0, weights)(LOGITS, TAGS, **SETTINGS)
    expected_loss, expected = all_token_labels(weights)(LOGITS, TAGS, **SETTINGS)
    assert loss == pytest.approx(expected_loss)
    np.testing.assert_allclose(gradient, expected, atol=1e-8)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_tokens_that_are_surely_right_or_wrong_are_no_trouble(gamma):
    logits = np.array([[200, 0], [0, 200]], dtype="float32")
    loss, gradient = focal_loss(gamma)(
        logits, np.array([0, 0]), tag_types=np.arange(2), tag_counts=np.ones(2, int)
    )
    assert loss == pytest.approx(100)
    np.testing.assert_allclose(gradient, [[0, 0], [-0.5, 0.5]], atol=1e-6)
