from typing import get_args

import numpy as np
import pytest
from sklearn.utils.class_weight import compute_class_weight

from spacy_btl.errors import PipelineError
from spacy_btl.losses.class_weights import ClassWeights, class_weights


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
