"""The randomization test against scipy's exact one, and the comparison as a whole."""

import sys
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from spacy_btl.errors import BtlError, PipelineError
from spacy_btl.metrics.counts import document_counts, total
from spacy_btl.metrics.scores import scores
from spacy_btl.metrics.significance import (
    COMPARED,
    DRAWS,
    compare,
    compare_counts,
    holm,
)
from tests.evaluation.made_up import random_predictions

N = 9
# Those of predictions without overlapping mentions.
NAMES = [name for name in COMPARED if not name.startswith("spans_btl_")]
OURS = random_predictions(N, seed=1, noise=0.6)
THEIRS = random_predictions(N, seed=2, noise=0.9)


@pytest.fixture(scope="module")
def compared():
    return compare(OURS, THEIRS, seed=0)


def scores_of(predictions):
    return scores(total(document_counts(predictions)))


def test_differences_are_ours_less_theirs(compared):
    ours, theirs = scores_of(OURS), scores_of(THEIRS)
    assert list(compared) == NAMES
    for name, row in compared.items():
        assert row["difference"] == pytest.approx(ours[name] - theirs[name])
        assert row["low"] <= row["high"]


@pytest.mark.parametrize("name", ["tag_uar", "tag_macro_f", "ents_f", "tag_ece"])
def test_p_is_that_of_all_exchanges(compared, name):
    both = [document_counts(predictions) for predictions in (OURS, THEIRS)]
    stacked = {key: np.concatenate([counts[key] for counts in both]) for key in both[0]}

    def difference(left, right):
        sums = [
            {key: values[docs.astype(int)].sum(axis=0) for key, values in stacked.items()}
            for docs in (left, right)
        ]
        return scores(sums[0])[name] - scores(sums[1])[name]

    exact = stats.permutation_test(
        (np.arange(N), N + np.arange(N)),
        difference,
        permutation_type="samples",
        vectorized=False,
        n_resamples=np.inf,
    )
    assert compared[name]["difference"] == pytest.approx(exact.statistic)
    spread = np.sqrt(exact.pvalue * (1 - exact.pvalue) / DRAWS)
    assert compared[name]["p"] == pytest.approx(exact.pvalue, abs=5 * spread + 1e-3)


def test_some_differences_here_are_real_and_some_are_not(compared):
    p = [row["p"] for row in compared.values()]
    assert min(p) < 0.05 < max(p)


def test_intervals_are_of_pairs():
    """Documents are drawn for both at once: what they have in common cancels."""
    rng = np.random.default_rng(0)
    hard = rng.random(40)  # documents differ much from one another
    counts = []
    for better in (0.1, 0.0):
        right = np.round(100 * (0.8 * hard + better))
        tokens = np.zeros((40, 3, 2))
        tokens[:, 0, 1], tokens[:, 1, 1], tokens[:, 2, 1] = right, 100, right
        tokens[:, 2, 0] = 100 - right
        none = {"entities": np.zeros((40, 3, 1)), "overlaps": np.zeros((40, 1))}
        counts.append({"tokens": tokens, **none})
    row = compare_counts(*counts, seed=0, names=["tag_accuracy"])["tag_accuracy"]
    assert row["difference"] == pytest.approx(0.1, abs=0.01)
    assert row["high"] - row["low"] < 0.01
    assert row["p"] == 1 / (DRAWS + 1)  # never 0: the observed assignment is one of them


def test_a_pipeline_does_not_differ_from_itself():
    for row in compare(OURS, OURS, seed=0).values():
        assert row == {"difference": 0, "low": 0, "high": 0, "p": 1, "p_holm": 1}


def test_the_other_way_round_is_the_same_with_the_sign_changed(compared):
    for name, row in compare(THEIRS, OURS, seed=0).items():
        assert row["difference"] == -compared[name]["difference"]
        assert row["p"] == compared[name]["p"]
        assert row["low"] == pytest.approx(-compared[name]["high"])


def test_the_seed_decides(compared):
    assert compare(OURS, THEIRS, seed=0) == compared
    assert compare(OURS, THEIRS, seed=1) != compared


def test_only_figures_that_both_have_are_compared():
    silent = replace(THEIRS, probabilities=None, confidence=np.full(len(THEIRS.confidence), np.nan))
    assert list(compare(OURS, silent, seed=0)) == [n for n in NAMES if "ece" not in n]
    counts = [document_counts(predictions) for predictions in (OURS, THEIRS)]
    assert list(compare_counts(*counts, seed=0, names=["tag_uar"])) == ["tag_uar"]


def test_classes_are_compared_by_name(compared):
    """A type that one of the two does not know moves the numbers of the others."""
    shift = np.array([0, 2, 3, 4], dtype="int32")
    wider = replace(
        THEIRS,
        classes=("O", "Aim", *THEIRS.classes[1:]),
        gold=shift[THEIRS.gold],
        predicted=shift[THEIRS.predicted],
        probabilities=np.insert(THEIRS.probabilities, 1, 0, axis=1),
    )
    for name in ("gold_ents", "predicted_ents"):
        ents = getattr(wider, name).copy()
        ents["label"] = shift[ents["label"]]
        wider = replace(wider, **{name: ents})
    assert compare(OURS, wider, seed=0) == compared


def test_other_documents_are_refused():
    gold = THEIRS.gold.copy()
    gold[0] = (gold[0] + 1) % 4
    ents = THEIRS.gold_ents.copy()
    ents["end"][0] += 1
    for other in (
        random_predictions(N, gold_seed=5),
        random_predictions(N + 1),
        replace(THEIRS, gold=gold),
        replace(THEIRS, gold_ents=ents),
        replace(THEIRS, gold_ents=THEIRS.gold_ents[1:]),
        replace(THEIRS, classes=("O", "Rare", "Sign", "Toast")),
    ):
        with pytest.raises(PipelineError, match="cannot be compared"):
            compare(OURS, other, seed=0)


def test_holms_correction_by_hand(compared):
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    rows = list(compared.values())
    assert [row["p_holm"] for row in rows] == holm([row["p"] for row in rows])


def test_without_statsmodels_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "statsmodels.stats.multitest", None)
    with pytest.raises(BtlError, match=r"pip install '\.\[report\]'"):
        holm([0.01])


def test_what_an_exchange_leaves_undefined_speaks_for_no_difference():
    """Each side states a confidence in one document, and in half of the draws one in neither."""
    ours, theirs = (
        replace(side, confidence=np.where(side.predicted_ents["doc"] == doc, 0.9, np.nan))
        for side, doc in ((OURS, 0), (THEIRS, 1))
    )
    assert compare(ours, theirs, seed=0)["ents_ece"]["p"] > 0.99


def test_an_undefined_figure_is_not_compared():
    counts = document_counts(OURS)
    none = {**counts, "entity_bins": np.zeros_like(counts["entity_bins"])}
    assert "ents_ece" not in compare_counts(none, counts, seed=0)
