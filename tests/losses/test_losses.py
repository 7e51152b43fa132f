"""What all losses share: the weights of classes, and gradients that are slopes."""

from itertools import product
from typing import get_args

import numpy as np
import pytest
import spacy
import torch
from sklearn.utils.class_weight import compute_class_weight
from torch.nn.functional import cross_entropy

from spacy_btl.errors import PipelineError
from spacy_btl.losses.class_weights import ClassWeights, class_weights
from spacy_btl.losses.cross_entropy import all_token_labels


def test_complement_is_the_papers_formula():
    np.testing.assert_allclose(class_weights(np.array([60, 30, 10]), "complement"), [0.4, 0.7, 0.9])


def test_balanced_is_scikit_learns():
    counts = np.array([50, 7, 3])
    tags = np.repeat(np.arange(3), counts)
    expected = compute_class_weight("balanced", classes=np.arange(3), y=tags)
    np.testing.assert_allclose(class_weights(counts, "balanced"), expected, rtol=1e-6)


def test_sqrt_odds_is_the_root_of_rest_to_tag_and_1_for_outside():
    weights = class_weights(np.array([60, 30, 10]), "sqrt_odds")
    np.testing.assert_allclose(weights, [1, np.sqrt(70 / 30), 3], rtol=1e-6)


def test_sqrt_odds_lies_between_complement_and_balanced():
    """How much heavier the rarest tag is than the commonest."""
    counts = np.array([5000, 900, 50])
    ratios = [
        weights[2] / weights[0]
        for weights in (
            class_weights(counts, how) for how in ("complement", "sqrt_odds", "balanced")
        )
    ]
    assert ratios == sorted(ratios)


def test_effective_number_is_the_papers_formula():
    counts = np.array([50000, 700, 30])
    beta = 0.999
    expected = (1 - beta) / (1 - beta**counts)
    expected *= 3 / expected.sum()  # as the paper normalises
    np.testing.assert_allclose(class_weights(counts, "effective_number"), expected, rtol=1e-5)


def test_effective_number_counts_rare_tags_and_hardly_common_ones():
    weights = class_weights(np.array([20000, 10000, 40, 20]), "effective_number")
    assert weights[1] / weights[0] == pytest.approx(1, abs=1e-3)
    assert weights[3] / weights[2] == pytest.approx(2, rel=0.02)


@pytest.mark.parametrize("how", get_args(ClassWeights))
@pytest.mark.parametrize("counts", [[0, 0, 0], [9, 0, 0], [5, 3, 0], [0, 1, 1]])
def test_weights_stay_positive_and_finite(how, counts):
    weights = class_weights(np.array(counts), how)
    assert np.isfinite(weights).all()
    assert (weights > 0).all()


def test_an_unknown_name_is_refused():
    with pytest.raises(PipelineError, match="complement"):
        class_weights(np.array([0, 2]), "sqrt")


# Cross-entropy is that of torch.


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


# The gradient of every registered loss against finite differences of its value.

WEIGHTS = ("none", "complement", "balanced", "sqrt_odds", "effective_number")
LOSSES = [
    *({"@losses": "spacy_btl.AllTokenLabels.v1", "class_weights": w} for w in WEIGHTS),
    *(
        {
            "@losses": "spacy_btl.BinaryTokenLabels.v1",
            "competition": competition,
            "non_target": non_target,
            "class_weights": w,
        }
        for competition, non_target, w in product(("all", "pair"), ("ignore", "outside"), WEIGHTS)
    ),
    {"@losses": "spacy_btl.FocalLoss.v1"},
    {"@losses": "spacy_btl.DiceLoss.v1"},
    {"@losses": "spacy_btl.LogitAdjustedLoss.v1"},
]


def test_every_registered_loss_is_checked():
    ours = {name for name in spacy.registry.losses.get_all() if name.startswith("spacy_btl.")}
    assert ours == {config["@losses"] for config in LOSSES}


@pytest.mark.parametrize("config", LOSSES, ids=str)
def test_gradient_is_the_slope_of_the_value(config):
    rng = np.random.default_rng(2)
    tag_types = np.array([0, 1, 1, 2, 2, 3, 3])
    tags = np.array([0, 0, 1, 2, 5, 0, 6, 3])
    settings = {"tag_types": tag_types, "tag_counts": np.array([500, 40, 60, 9, 3, 20, 0])}
    loss_function = spacy.registry.resolve({"loss": config})["loss"]
    z = rng.normal(0, 2, (8, 7))
    gradient = loss_function(z, tags, **settings)[1]
    step = 1e-5
    slopes = np.zeros_like(z)
    for place in np.ndindex(z.shape):
        d = np.zeros_like(z)
        d[place] = step
        above, below = (loss_function(z + sign * d, tags, **settings)[0] for sign in (1, -1))
        slopes[place] = (above - below) / (2 * step)
    np.testing.assert_allclose(gradient, slopes, atol=1e-6)
