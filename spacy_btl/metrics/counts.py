"""Counts per document or patient, from which all scores are computed.

A score is a function of sums over documents. A bootstrap sample is then another weighting of the
documents (one matrix product for many samples), and exchanging the outputs of two pipelines for a
document exchanges two rows: nothing is scored twice. The documents of a patient share one row,
since they are sampled together. scikit-learn's scorers take labels and not counts, and start anew
for each sample.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spacy_btl.errors import CorpusError
from spacy_btl.files import write_file
from spacy_btl.metrics.matching import are_among, partial_credit
from spacy_btl.metrics.predictions import Mentions, Predictions, as_rows
from spacy_btl.tags import OUTSIDE

# Equal-width bins of confidence, from 0 to 1.
N_BINS = 15
# Counts are saved as whole numbers of such parts, with the documents last. This halves the size of
# an archive and changes scores of many entities in the fifth decimal.
PARTS_OF_ONE = 1024

# The counts that have a column for each class, or for each type.
OF_TOKENS = {"tokens", "decisions"}
BY_CLASS = {*OF_TOKENS, "entities", "overlaps", "mentions", "lost"}

Weights = NDArray[np.float64]
Counts = Mapping[str, NDArray[np.float64]]


def document_counts(predictions: Predictions) -> Counts:
    """Count document by document, over the C classes of the predictions; K = C - 1 are types.

    RETURNS (Dict[str, float64 [D, ...]]):
        documents [D]: 1 each.
        tokens [D, 3, C]: correct, gold and predicted tokens of each class; or
        decisions [D, 3, C]: the same where a token counts in each class that it is of.
        entities [D, 3, K]: the same for entities, see `matching.are_correct`.
        mentions [D, 3, K]: the same for all mentions, if some overlap others.
        lost [D, 2, K]: found and gold mentions of those that are no entities, like `mentions`.
        overlaps [D, K]: correct entities, and half of those that only overlap one of their type.
        token_bins, entity_bins, mention_bins [D, 3, 15]: by confidence, how many there are, the
            sum of their confidence, and how many are correct. The confidence of a token is its
            highest probability.
        token_losses, entity_losses, mention_losses [D, 2]: sums of Brier scores (of a token:
            squared errors over all classes) and of negative log-likelihoods.
        The counts of tokens' calibration need probabilities, the others need confidence.
    """
    counts = {
        "documents": np.ones(predictions.n_docs),
        **_token_counts(predictions),
        "entities": _counts(predictions.entities, predictions),
        "overlaps": _overlaps(predictions),
    }
    if predictions.mentions is not None:
        counts["mentions"] = _counts(predictions.mentions, predictions)
        counts["lost"] = _lost(predictions)
    if predictions.probabilities is not None:
        counts |= _token_calibration(predictions, predictions.probabilities)
    for kind, found in (("entity", predictions.entities), ("mention", predictions.mentions)):
        if found is not None and not np.isnan(found.confidence).all():
            counts |= _calibration(kind, found, predictions.n_docs)
    return counts


def class_counts(counts: Counts) -> NDArray[np.float64]:
    """The counts of tokens by class, float64 [..., 3, C], whichever way they are counted."""
    return counts["decisions" if "decisions" in counts else "tokens"]


def patient_counts(predictions: Predictions) -> Counts:
    """Count patient by patient; a document of an unknown patient counts as one of its own."""
    patients = predictions.patients
    summed = {}
    for name, values in document_counts(predictions).items():
        summed[name] = np.zeros((patients.max(initial=-1) + 1, *values.shape[1:]))
        np.add.at(summed[name], patients, values)
    return summed


def widened(counts: Counts, classes: Sequence[str], wider: Sequence[str]) -> Counts:
    """Extend counts to more classes, with counts of 0.

    classes, wider (Sequence[str]): Those of the counts and of the result, `O` first in both.
    """
    numbers = {label: i for i, label in enumerate(wider)}
    columns = np.array([numbers[label] for label in classes])
    new = dict(counts)
    for name in BY_CLASS & counts.keys():
        first = 0 if name in OF_TOKENS else 1  # `O` is no entity
        new[name] = np.zeros((*counts[name].shape[:-1], len(wider) - first))
        new[name][..., columns[first:] - first] = counts[name]
    return new


def all_classes(*known: Sequence[str]) -> tuple[str, ...]:
    """The union of several lists of classes: `O` first, the others sorted."""
    return (OUTSIDE, *sorted(set().union(*known) - {OUTSIDE}))


def save_counts(path: Path, counts: Counts, classes: Sequence[str]) -> None:
    """Write counts, rounded to 1/1024, to an npz file, whole or not at all.

    The file is not compressed, so that compressing an archive finds what its files have in common.

    RAISES: FileError, if it cannot be written.
    """
    buffer = BytesIO()
    arrays = {name: _saved(values) for name, values in counts.items()}
    np.savez(buffer, allow_pickle=False, classes=np.array(classes), **arrays)
    write_file(path, buffer.getvalue())


def _saved(values: NDArray[np.float64]) -> NDArray[np.integer]:
    parts = np.moveaxis(np.round(values * PARTS_OF_ONE), 0, -1)
    fits = parts.max(initial=0) < 2**31
    return np.ascontiguousarray(parts, dtype="int32" if fits else "int64")


def load_counts(data: bytes, name: str) -> tuple[Counts, tuple[str, ...]]:
    """Read counts and their classes from the content of a file.

    name (str): The name of the file for errors.
    RAISES: CorpusError, for a damaged file.
    """
    try:
        with np.load(BytesIO(data), allow_pickle=False) as file:
            arrays = dict(file)
        classes = tuple(arrays.pop("classes").tolist())
        counts = {key: np.moveaxis(array, -1, 0) / PARTS_OF_ONE for key, array in arrays.items()}
        if class_counts(counts).shape[2] != len(classes):
            raise ValueError("other classes")
        return counts, classes
    except Exception as error:  # a damaged file can fail in any of zipfile, zlib and numpy
        raise CorpusError(f"{name}: not a file of counts, or a damaged one.") from error


def weighted(counts: Counts, weights: Weights) -> Counts:
    """Sums over documents. weights (float64 [B, D]): each row makes one sum [B, ...]."""
    return {name: np.tensordot(weights, values, axes=1) for name, values in counts.items()}


def total(counts: Counts) -> Counts:
    """The sum over all documents."""
    return {name: values.sum(axis=0) for name, values in counts.items()}


def _table(
    docs: NDArray[np.integer],
    columns: NDArray[np.integer],
    shape: tuple[int, int],
    weights: NDArray[np.floating] | None = None,
) -> NDArray[np.float64]:
    """Count, or add up, per document and column: float64 [D, columns]."""
    cells = docs.astype("int64") * shape[1] + columns
    return np.bincount(cells, weights, minlength=shape[0] * shape[1]).reshape(shape).astype(float)


def token_counts(
    gold: NDArray[np.integer], predicted: NDArray[np.integer], n: int
) -> NDArray[np.float64]:
    """Count correct, gold and predicted tokens of each class. gold, predicted (int [N]): below n.

    RETURNS (float64 [3, n]): Counts.
    """
    counted = (gold[gold == predicted], gold, predicted)
    return np.stack([np.bincount(labels, minlength=n) for labels in counted]).astype(float)


def _token_counts(predictions: Predictions) -> dict[str, NDArray[np.float64]]:
    if predictions.decisions is not None:
        return {"decisions": _counts(predictions.decisions, predictions, first=0)}
    n = len(predictions.classes)
    cells = predictions.token_docs.astype("int64") * n
    gold, predicted = cells + predictions.gold, cells + predictions.predicted
    counts = token_counts(gold, predicted, predictions.n_docs * n)
    return {"tokens": counts.reshape(3, predictions.n_docs, n).swapaxes(0, 1)}


def _counts(mentions: Mentions, predictions: Predictions, *, first: int = 1) -> NDArray[np.float64]:
    """Correct, gold and predicted mentions of each class from the `first` one on: [D, 3, ...]."""
    shape = (predictions.n_docs, len(predictions.classes) - first)
    counted = (mentions.predicted[mentions.correct], mentions.gold, mentions.predicted)
    tables = [_table(which["doc"], which["label"] - first, shape) for which in counted]
    return np.stack(tables, axis=1)


def _lost(predictions: Predictions) -> NDArray[np.float64]:
    lost, mentions = predictions.lost, predictions.all_mentions
    shape = (predictions.n_docs, len(predictions.classes) - 1)
    found = lost[are_among(as_rows(lost), as_rows(mentions.predicted))]
    tables = [_table(which["doc"], which["label"] - 1, shape) for which in (found, lost)]
    return np.stack(tables, axis=1)


def _overlaps(predictions: Predictions) -> NDArray[np.float64]:
    overlaps = np.zeros((predictions.n_docs, len(predictions.classes) - 1))
    gold, predicted = (_spans(ents) for ents in (predictions.gold_ents, predictions.predicted_ents))
    for doc, label in gold.keys() & predicted.keys():
        overlaps[doc, label - 1] = partial_credit(gold[doc, label], predicted[doc, label])
    return overlaps


def _spans(ents: NDArray[Any]) -> dict[tuple[int, int], list[tuple[int, int]]]:
    """The (start, end) of entities by document and type."""
    spans = defaultdict(list)
    for doc, start, end, label in ents.tolist():
        spans[doc, label].append((start, end))
    return spans


def _token_calibration(
    predictions: Predictions, p: NDArray[np.float32]
) -> dict[str, NDArray[np.float64]]:
    gold, docs = predictions.gold, predictions.token_docs
    p_gold = p[np.arange(len(p)), gold].astype(float)
    losses = np.stack(
        [np.einsum("nc,nc->n", p, p, dtype=float) - 2 * p_gold + 1, -_log(p_gold)], axis=1
    )
    bins = _bins(docs, p.max(axis=1).astype(float), p.argmax(axis=1) == gold, predictions.n_docs)
    return {"token_bins": bins, "token_losses": _loss_sums(docs, losses, predictions.n_docs)}


def _calibration(kind: str, mentions: Mentions, n_docs: int) -> dict[str, NDArray[np.float64]]:
    known = ~np.isnan(mentions.confidence)
    confidence, correct = mentions.confidence[known], mentions.correct[known]
    docs = mentions.predicted["doc"][known]
    likelihood = np.where(correct, confidence, 1 - confidence)
    losses = np.stack([(confidence - correct) ** 2, -_log(likelihood)], axis=1)
    bins = _bins(docs, confidence, correct, n_docs)
    return {f"{kind}_bins": bins, f"{kind}_losses": _loss_sums(docs, losses, n_docs)}


def _bins(
    docs: NDArray[np.integer],
    confidence: NDArray[np.float64],
    correct: NDArray[np.bool_],
    n_docs: int,
) -> NDArray[np.float64]:
    columns = np.minimum((confidence * N_BINS).astype("int64"), N_BINS - 1)
    shape = (n_docs, N_BINS)
    weights = (None, confidence, correct.astype(float))
    return np.stack([_table(docs, columns, shape, values) for values in weights], axis=1)


def _loss_sums(
    docs: NDArray[np.integer], losses: NDArray[np.float64], n_docs: int
) -> NDArray[np.float64]:
    sums = np.zeros((n_docs, losses.shape[1]))
    np.add.at(sums, docs, losses)
    return sums


def _log(p: NDArray[np.float64]) -> NDArray[np.float64]:
    # Bounded, so that no single wrong prediction of confidence 1 decides a mean.
    return np.log(np.maximum(p, np.finfo(np.float32).eps))
