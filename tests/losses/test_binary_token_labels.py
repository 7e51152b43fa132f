"""BTL in closed form against copies that are really made, in plain torch."""

from itertools import product

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from spacy_btl.losses.binary_token_labels import binary_token_labels
from spacy_btl.losses.class_weights import class_weights

COMPETITION = ("all", "pair")
NON_TARGET = ("outside", "ignore")
WEIGHTS = ("complement", "balanced", "sqrt_odds", "effective_number", "none")
TAG_TYPES = {"IO": np.arange(5), "BIO": np.array([0, 1, 1, 2, 2, 3, 3, 4, 4])}


def materialised_loss(logits, tags, tag_types, w, *, competition, non_target):
    """The mean over the copies of weighted cross-entropy; each copy relabels the batch."""
    types = tag_types[tags]
    copied = np.unique(types[types > 0])
    losses = []
    for c in copied:
        keep = np.ones(len(tags), bool)
        if non_target == "ignore":
            keep = (types == c) | (types == 0)
        target = np.where(types == c, tags, 0)[keep]
        columns = np.arange(len(tag_types))
        if competition == "pair":
            columns = np.flatnonzero((tag_types == c) | (tag_types == 0))
        copy_logits = logits[np.flatnonzero(keep)][:, columns]
        losses.append(
            cross_entropy(
                copy_logits,
                torch.tensor(np.searchsorted(columns, target)),
                weight=torch.tensor(w[columns]),
            )
        )
    return torch.stack(losses).mean()


@pytest.mark.parametrize("scheme", TAG_TYPES)
@pytest.mark.parametrize(
    ("competition", "non_target", "weights"),
    list(product(COMPETITION, NON_TARGET, WEIGHTS)),
)
def test_closed_form_is_the_mean_of_the_copies(scheme, competition, non_target, weights):
    rng = np.random.default_rng(7)
    tag_types = TAG_TYPES[scheme]
    n_tags = len(tag_types)
    tags = rng.integers(0, n_tags - 2, 60)  # the last type is not in the batch
    tags[rng.random(60) < 0.5] = 0
    counts = rng.integers(1, 500, n_tags)
    logits = rng.normal(0, 3, (60, n_tags)).astype("float32")

    settings = {"competition": competition, "non_target": non_target}
    loss_function = binary_token_labels(class_weights=weights, **settings)
    loss, gradient = loss_function(logits, tags, tag_types=tag_types, tag_counts=counts)

    z = torch.tensor(logits, requires_grad=True)
    expected = materialised_loss(z, tags, tag_types, class_weights(counts, weights), **settings)
    expected.backward()
    assert loss == pytest.approx(expected.item(), rel=1e-5)
    np.testing.assert_allclose(gradient, z.grad.numpy(), atol=1e-7)
    assert gradient.dtype == np.float32


@pytest.mark.parametrize("competition", COMPETITION)
def test_a_batch_without_entities_is_one_copy_of_outside(competition):
    logits = np.random.default_rng(0).normal(size=(6, 5)).astype("float32")
    loss_function = binary_token_labels(competition=competition)
    loss, gradient = loss_function(
        logits, np.zeros(6, int), tag_types=np.arange(5), tag_counts=np.arange(1, 6)
    )
    z = torch.tensor(logits, requires_grad=True)
    expected = cross_entropy(z, torch.zeros(6, dtype=torch.long))
    expected.backward()
    assert loss == pytest.approx(expected.item(), rel=1e-6)
    np.testing.assert_allclose(gradient, z.grad.numpy(), atol=1e-7)


@pytest.mark.parametrize(("competition", "found"), [("all", 0), ("pair", 4)])
def test_the_literal_reading_collapses_to_outside_and_pair_does_not(competition, found):
    """Free logits descend to their optimum. With `all`, an entity token's target is mostly `O`."""
    tags = np.array([0, 1, 2, 3, 4])
    settings = {"tag_types": np.arange(5), "tag_counts": np.full(5, 10)}
    loss_function = binary_token_labels(competition, "outside", class_weights="none")
    logits = np.zeros((5, 5), dtype="float32")
    for _ in range(2000):
        logits -= 2 * loss_function(logits, tags, **settings)[1]
    assert (logits.argmax(axis=1)[1:] == tags[1:]).sum() == found
