import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from spacy_btl.losses.class_weights import class_weights
from spacy_btl.losses.cross_entropy import all_token_labels


@pytest.mark.parametrize("weights", ["none", "complement", "balanced", "effective_number"])
def test_is_torch_cross_entropy(weights):
    rng = np.random.default_rng(1)
    logits = rng.normal(0, 3, (40, 6)).astype("float32")
    tags = rng.integers(0, 6, 40)
    counts = rng.integers(1, 100, 6)
    loss, gradient = all_token_labels(weights)(
        logits, tags, tag_types=np.arange(6), tag_counts=counts
    )
    z = torch.tensor(logits, requires_grad=True)
    w = torch.tensor(class_weights(counts, weights))
    expected = cross_entropy(z, torch.tensor(tags), weight=w)
    expected.backward()
    assert loss == pytest.approx(expected.item(), rel=1e-5)
    np.testing.assert_allclose(gradient, z.grad.numpy(), atol=1e-7)
