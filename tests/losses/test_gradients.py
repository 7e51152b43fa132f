"""The gradient of every registered loss against finite differences of its value."""

from itertools import product

import numpy as np
import pytest
import spacy

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
