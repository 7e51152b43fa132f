import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from spacy_btl.losses.baselines import logit_adjusted_loss


@pytest.mark.parametrize("tau", [0.0, 0.5, 1.0])
def test_is_cross_entropy_of_the_shifted_logits(tau):
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


def test_labels_that_follow_the_frequencies_alone_leave_the_logits_even():
    """The optimum of a token whose label is drawn by the frequencies: no tag is favoured."""
    counts = np.array([7999, 1499, 499])
    tags = np.repeat(np.arange(3), (counts + 1) // 100)
    settings = {"tag_types": np.arange(3), "tag_counts": counts}
    z = np.zeros((1, 3), dtype="float32")
    loss_function = logit_adjusted_loss()
    for _ in range(500):
        z -= loss_function(np.repeat(z, len(tags), axis=0), tags, **settings)[1].sum(axis=0)
    np.testing.assert_allclose(z - z.mean(), 0, atol=0.02)
