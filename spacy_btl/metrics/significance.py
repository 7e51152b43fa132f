"""Paired significance tests between two pipelines on the same documents."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from spacy_btl.about import how_to_install
from spacy_btl.errors import BtlError, PipelineError
from spacy_btl.metrics.bootstrap import BATCH, bootstrap
from spacy_btl.metrics.counts import (
    Counts,
    Weights,
    all_classes,
    patient_counts,
    total,
    weighted,
    widened,
)
from spacy_btl.metrics.predictions import Predictions
from spacy_btl.metrics.scores import Scores, scores

DRAWS = 10_000
# The scores that are compared.
COMPARED = (
    "ents_f",
    "ents_macro_f",
    "ents_partial_f",
    "ents_partial_macro_f",
    "tag_uar",
    "tag_uar_types",
    "tag_macro_f",
    "tag_accuracy",
    "spans_btl_f",
    "spans_btl_macro_f",
    "spans_btl_r_lost",
    "tag_ece",
    "ents_ece",
    "spans_btl_ece",
)


def compare(ours: Predictions, theirs: Predictions, *, seed: int) -> dict[str, dict[str, float]]:
    """Compare the scores of two pipelines on the same documents.

    RETURNS (Dict[str, Dict[str, float]]): As for `compare_counts`, and `p_holm`: p by Holm's
        correction over these scores.
    RAISES: PipelineError, if the two differ in documents, tokens or gold annotation (where only one
        of them predicts mentions that can overlap, tokens are not compared); BtlError, if
        statsmodels is not installed.
    """
    _refuse_other_gold(ours, theirs)
    classes = all_classes(ours.classes, theirs.classes)
    a, b = (widened(patient_counts(which), which.classes, classes) for which in (ours, theirs))
    rows = compare_counts(a, b, seed=seed)
    for row, p_holm in zip(rows.values(), holm([row["p"] for row in rows.values()]), strict=True):
        row["p_holm"] = p_holm
    return rows


def compare_counts(
    ours: Counts, theirs: Counts, *, seed: int, names: Sequence[str] = COMPARED
) -> dict[str, dict[str, float]]:
    """Compare scores from counts of the same documents over the same classes.

    names (Sequence[str]): The scores that are compared, if both have them.
    seed (int): The same seed gives the same numbers.
    RETURNS (Dict[str, Dict[str, float]]): By score, `difference` (ours less theirs), the bounds
        `low` and `high` of its 95% interval, by a bootstrap that samples the same documents for
        both, and `p`, two-sided, by approximate randomization over documents or patients (Noreen
        1989, Yeh 2000).
    """
    shared = ours.keys() & theirs.keys()
    a, b = ({key: counts[key] for key in shared} for counts in (ours, theirs))
    n_docs = len(a["entities"])
    values = [scores(total(counts)) for counts in (a, b)]
    compared = [name for name in names if all(np.isfinite(v.get(name, np.nan)) for v in values)]

    def differences(left: Counts, right: Counts) -> Scores:
        left_scores, right_scores = scores(left), scores(right)
        return {name: left_scores[name] - right_scores[name] for name in compared}

    def resampled(weights: Weights) -> Scores:
        return differences(weighted(a, weights), weighted(b, weights))

    def exchanged(exchange: Weights) -> Scores:
        kept = 1 - exchange
        return differences(_sum(a, kept, b, exchange), _sum(b, kept, a, exchange))

    p = randomization(n_docs, exchanged, seed=seed)
    return {
        name: {
            "difference": float(interval.value),
            "low": float(interval.low),
            "high": float(interval.high),
            "p": p[name],
        }
        for name, interval in bootstrap(n_docs, resampled, seed=seed, minimum=-1.0).items()
    }


def randomization(
    n_docs: int, differences: Callable[[Weights], Scores], *, seed: int
) -> dict[str, float]:
    """Test differences by approximate randomization: exchange the outputs of random documents.

    `scipy.stats.permutation_test` exchanges arrays of observations; here one draw of documents
    serves all scores.

    differences (Callable): Computes [B] differences of scores from float64 [B, D] of 0 and 1: the
        documents whose output the two pipelines exchange.
    RETURNS (Dict[str, float]): By score, the two-sided p-value of 10,000 draws. The observed
        assignment counts as one more, so it is never 0.
    """
    observed = differences(np.zeros((1, n_docs)))
    rng = np.random.default_rng(seed)
    as_large = dict.fromkeys(observed, 1)
    for _ in range(DRAWS // BATCH):
        sampled = differences(rng.integers(2, size=(BATCH, n_docs)).astype(float))
        for name, values in sampled.items():
            # Sums of the same numbers in another order differ in their last digits.
            smaller = np.abs(values) < np.abs(observed[name]) - 1e-12
            as_large[name] += int((~smaller).sum())  # including what an exchange leaves undefined
    return {name: count / (DRAWS + 1) for name, count in as_large.items()}


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p-values for the number of comparisons (Holm 1979).

    RAISES: BtlError, if statsmodels is not installed.
    """
    require_statsmodels()
    from statsmodels.stats.multitest import multipletests

    return multipletests(p_values, method="holm")[1].tolist()


def require_statsmodels() -> None:
    """Check that statsmodels is installed, before the work is done. RAISES: BtlError, if not."""
    try:
        import statsmodels.stats.multitest  # noqa: F401
    except ImportError:
        raise BtlError(
            f"Comparing two pipelines needs statsmodels: get it {how_to_install('report')}."
        ) from None


def _sum(a: Counts, weights_a: Weights, b: Counts, weights_b: Weights) -> Counts:
    left, right = weighted(a, weights_a), weighted(b, weights_b)
    return {key: left[key] + right[key] for key in left}


def _refuse_other_gold(ours: Predictions, theirs: Predictions) -> None:
    alike = (ours.decisions is None) == (theirs.decisions is None)
    gold = [_gold(predictions, with_tokens=alike) for predictions in (ours, theirs)]
    if gold[0] != gold[1]:
        raise PipelineError(
            "The two pipelines cannot be compared: they were scored on other documents, other "
            "annotation or other tokens (their tokenizers differ)."
        )


def _gold(predictions: Predictions, *, with_tokens: bool) -> list[Any]:
    """What two pipelines have to share, with classes by name."""
    labels = np.array(predictions.classes)
    mentions = [predictions.gold_ents, predictions.all_mentions.gold]
    if with_tokens and predictions.decisions is not None:
        mentions.append(predictions.decisions.gold)
    shared: list[Any] = [predictions.patients.tolist()]
    for gold in mentions:
        shared += [labels[gold["label"]].tolist(), gold[["doc", "start", "end"]].tolist()]
    if with_tokens:
        shared += [predictions.token_docs.tolist(), labels[predictions.gold].tolist()]
    return shared
