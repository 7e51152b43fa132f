"""The loss of overlapping mentions against copies that are really made, in plain torch."""

from itertools import product
from typing import get_args

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from spacy_btl.errors import PipelineError
from spacy_btl.losses.baselines import dice_loss, focal_loss, logit_adjusted_loss
from spacy_btl.losses.binary_token_labels import binary_token_labels
from spacy_btl.losses.class_weights import ClassWeights, class_weights
from spacy_btl.losses.cross_entropy import all_token_labels
from spacy_btl.losses.overlapping import overlapping_loss

N_TYPES, N_TOKENS = 4, 50
WIDTHS = {"IO": 1, "BIO": 2}


def weight_of(how, positives, n_tokens):
    """The weights of the two classes of one type, by their formulas."""
    counts = np.array([n_tokens - positives, positives], dtype=float)
    odds = (n_tokens - positives) / max(positives, 1)
    if how == "none" or counts.max() == n_tokens:
        return 1.0, 1.0
    if how == "complement":
        return tuple(1 - counts / n_tokens)
    if how == "balanced":
        return tuple(n_tokens / (2 * counts))
    if how == "effective_number":
        weights = (1 - 0.999) / (1 - 0.999**counts)
        return tuple(2 * weights / weights.sum())
    return 1.0, odds ** {"sqrt_odds": 1 / 2, "fourth_root_odds": 1 / 4}[how]


def materialised_loss(logits, targets, width, how, positives, n_tokens):
    """One copy after the other: the columns of `O` and of the type, and its tags as the labels;
    then those of `O` and of each border."""
    losses = []
    for c in range(targets.shape[1]):
        if c < N_TYPES:
            columns = [0, *range(1 + c * width, 1 + (c + 1) * width)]
        else:
            columns = [0, 1 + N_TYPES * width + c - N_TYPES]
        outside, inside = weight_of(how, positives[c], n_tokens)
        weight = torch.tensor([outside, *[inside] * (len(columns) - 1)], dtype=logits.dtype)
        labels = torch.tensor(targets[:, c].astype("int64"))
        losses.append(cross_entropy(logits[:, columns], labels, weight=weight))
    return torch.stack(losses).mean()


def batch(width, seed=3):
    """Tokens of several types at once, of one, and of none; the last type is not in the batch."""
    rng = np.random.default_rng(seed)
    tags = rng.integers(0, width + 1, (N_TOKENS, N_TYPES)).astype("int8")
    tags[rng.random((N_TOKENS, N_TYPES)) < 0.6] = 0
    tags[:10] = 0
    tags[:, -1] = 0
    borders = (rng.random((N_TOKENS, 2 * N_TYPES)) < 0.2).astype("int8")
    logits = rng.normal(0, 3, (N_TOKENS, 1 + N_TYPES * (width + 2))).astype("float32")
    positives = np.array([900, 40, 3, 0, 300, 20, 2, 0, 310, 15, 3, 0])
    return logits, np.hstack([tags, borders]), positives


@pytest.mark.parametrize(("scheme", "weights"), list(product(WIDTHS, get_args(ClassWeights))))
def test_closed_form_is_the_mean_of_the_copies(scheme, weights):
    width = WIDTHS[scheme]
    logits, tags, positives = batch(width)
    loss_function = overlapping_loss(binary_token_labels("pair", class_weights=weights), "ner")
    loss, gradient = loss_function(logits, tags, counts=positives, n_tokens=2000)
    z = torch.tensor(logits, requires_grad=True)
    expected = materialised_loss(z, tags, width, weights, positives, 2000)
    expected.backward()
    assert loss == pytest.approx(expected.item(), rel=1e-5)
    np.testing.assert_allclose(gradient, z.grad.numpy(), atol=1e-7)
    assert gradient.dtype == np.float32


def soft_batch(width, seed=4):
    """The same with a probability of each tag and border; that of `O` is what is left."""
    logits, _, positives = batch(width)
    rng = np.random.default_rng(seed)
    of_types = rng.dirichlet([0.3] * (width + 1), (N_TOKENS, N_TYPES))[:, :, 1:]
    of_borders = rng.random((N_TOKENS, 2 * N_TYPES)) ** 4
    soft = np.hstack([of_types.reshape(N_TOKENS, -1), of_borders]).astype("float32")
    return logits, soft, positives


@pytest.mark.parametrize(("scheme", "weights"), list(product(WIDTHS, get_args(ClassWeights))))
def test_soft_targets_are_those_of_torch(scheme, weights):
    width = WIDTHS[scheme]
    logits, soft, positives = soft_batch(width)
    loss_function = overlapping_loss(binary_token_labels("pair", class_weights=weights), "ner")
    loss, gradient = loss_function(logits, soft, counts=positives, n_tokens=2000)
    z = torch.tensor(logits, requires_grad=True)
    losses = []
    for c, positive in enumerate(positives):
        of_types = 1 + N_TYPES * width
        first, n = (1 + c * width, width) if c < N_TYPES else (of_types + c - N_TYPES, 1)
        columns = [0, *range(first, first + n)]
        p = torch.tensor(soft[:, first - 1 : first - 1 + n])
        p = torch.hstack([1 - p.sum(dim=1, keepdim=True), p])
        outside, inside = weight_of(weights, positive, 2000)
        weight = torch.tensor([outside] + [inside] * n, dtype=torch.float32)
        summed = cross_entropy(z[:, columns], p, weight=weight, reduction="sum")
        losses.append(summed / (p @ weight).sum())
    expected = torch.stack(losses).mean()
    expected.backward()
    assert loss == pytest.approx(expected.item(), rel=1e-5)
    np.testing.assert_allclose(gradient, z.grad.numpy(), atol=1e-7)


@pytest.mark.parametrize("width", WIDTHS.values())
def test_soft_targets_that_are_certain_are_hard_ones(width):
    logits, targets, positives = batch(width)
    tags, borders = targets[:, :N_TYPES], targets[:, N_TYPES:]
    soft = np.zeros((N_TOKENS, N_TYPES, width), dtype="float32")
    rows, types = np.nonzero(tags)
    soft[rows, types, tags[rows, types] - 1] = 1
    soft = np.hstack([soft.reshape(N_TOKENS, -1), borders.astype("float32")])
    loss_function = overlapping_loss(binary_token_labels("pair"), "ner")
    settings = {"counts": positives, "n_tokens": 2000}
    hard, of_hard = loss_function(logits, targets, **settings)
    loss, gradient = loss_function(logits, soft, **settings)
    assert loss == pytest.approx(hard, rel=1e-6)
    np.testing.assert_allclose(gradient, of_hard, atol=1e-8)


@pytest.mark.parametrize(("scheme", "weights"), list(product(WIDTHS, get_args(ClassWeights))))
def test_gradient_is_the_slope_of_the_value(scheme, weights):
    logits, tags, positives = batch(WIDTHS[scheme])
    z, tags = logits[:12].astype("float64") / 2, tags[5:17]
    settings = {"counts": positives, "n_tokens": 2000}
    loss_function = overlapping_loss(binary_token_labels("pair", class_weights=weights), "ner")
    gradient = loss_function(z, tags, **settings)[1]
    step, slopes = 1e-5, np.zeros_like(z)
    for place in np.ndindex(z.shape):
        d = np.zeros_like(z)
        d[place] = step
        above, below = (loss_function(z + sign * d, tags, **settings)[0] for sign in (1, -1))
        slopes[place] = (above - below) / (2 * step)
    np.testing.assert_allclose(gradient, slopes, atol=1e-6)


def test_free_logits_learn_a_token_of_two_types():
    tags = np.array([[0, 0], [1, 0], [0, 1], [1, 1]], dtype="int8")
    starts = np.array([[0, 0], [1, 0], [0, 1], [0, 0]], dtype="int8")
    targets = np.hstack([tags, starts, tags - starts])
    loss_function = overlapping_loss(binary_token_labels("pair", class_weights="none"), "ner")
    logits = np.zeros((4, 7), dtype="float32")
    for _ in range(1000):
        logits -= 3 * loss_function(logits, targets, counts=targets.sum(axis=0), n_tokens=4)[1]
    np.testing.assert_array_equal(logits[:, 1:] > logits[:, :1], targets > 0)


def test_large_logits_stay_finite():
    logits, tags, positives = batch(2)
    loss_function = overlapping_loss(binary_token_labels("pair"), "ner")
    loss, gradient = loss_function(1e4 * logits, tags, counts=positives, n_tokens=2000)
    assert np.isfinite(loss)
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize(
    "loss",
    [
        binary_token_labels(),
        binary_token_labels("all", "outside"),
        all_token_labels(),
        focal_loss(),
        dice_loss(),
        logit_adjusted_loss(),
    ],
    ids=repr,
)
def test_a_loss_in_which_types_compete_is_refused(loss):
    with pytest.raises(PipelineError, match="'tagger'.*spans_key.*" + type(loss).__name__):
        overlapping_loss(loss, "tagger")


def test_the_fourth_root_of_the_odds():
    weights = class_weights(np.array([60, 30, 10]), "fourth_root_odds")
    np.testing.assert_allclose(weights, [1, (70 / 30) ** 0.25, 9**0.25], rtol=1e-6)


def test_class_weights_of_several_rows_are_those_of_each():
    rows = np.array([[900, 90, 10], [50, 50, 0], [7, 0, 0], [0, 0, 0]])
    for how in get_args(ClassWeights):
        together = class_weights(rows, how)
        np.testing.assert_array_equal(together, [class_weights(row, how) for row in rows])
