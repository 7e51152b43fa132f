import numpy as np
import pytest
from sklearn.utils.class_weight import compute_class_weight

from spacy_btl.errors import PipelineError
from spacy_btl.objectives.weights import class_weights


def test_complement_is_the_papers_formula():
    np.testing.assert_allclose(class_weights(np.array([60, 30, 10]), "complement"), [0.4, 0.7, 0.9])


def test_balanced_is_scikit_learns():
    counts = np.array([50, 7, 3])
    tags = np.repeat(np.arange(3), counts)
    expected = compute_class_weight("balanced", classes=np.arange(3), y=tags)
    np.testing.assert_allclose(class_weights(counts, "balanced"), expected, rtol=1e-6)


@pytest.mark.parametrize("how", ["complement", "balanced", "none"])
@pytest.mark.parametrize("counts", [[0, 0, 0], [9, 0, 0], [5, 3, 0]])
def test_weights_stay_positive_and_finite(how, counts):
    weights = class_weights(np.array(counts), how)
    assert np.isfinite(weights).all()
    assert (weights > 0).all()


def test_an_unknown_name_is_refused():
    with pytest.raises(PipelineError, match="complement"):
        class_weights(np.array([0, 2]), "sqrt")
