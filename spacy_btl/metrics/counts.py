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
from spacy_btl.metrics.predictions import Predictions, as_rows
from spacy_btl.tags import OUTSIDE

# Equal-width bins of confidence, from 0 to 1.
N_BINS = 15
# Counts are saved as whole numbers of such parts, with the documents last. This halves the size of
# an archive and changes scores of many entities in the fifth decimal.
PARTS_OF_ONE = 1024

Weights = NDArray[np.float64]
Counts = Mapping[str, NDArray[np.float64]]


def document_counts(predictions: Predictions) -> Counts:
    """Count document by document, over the C classes of the predictions; K = C - 1 are types.

    RETURNS (Dict[str, float64 [D, ...]]):
        documents [D]: 1 each.
        tokens [D, 3, C]: correct, gold and predicted tokens of each class.
        entities [D, 3, K]: the same for entities, see `matching.are_correct`.
        mentions [D, 2, K]: predicted and annotated mentions, if some overlap others and so are not
            among the entities.
        overlaps [D, K]: correct entities, and half of those that only overlap one of their type.
        token_bins, entity_bins [D, 3, 15]: by confidence, how many there are, the sum of their
            confidence, and how many are correct. The confidence of a token is its highest
            probability.
        token_losses, entity_losses [D, 2]: sums of Brier scores (of a token: squared errors over
            all classes) and of negative log-likelihoods.
        The counts of tokens' calibration need probabilities, those of entities' need confidence.
    """
    counts = {
        "documents": np.ones(predictions.n_docs),
        "tokens": _token_counts(predictions),
        **_entity_counts(predictions),
    }
    if predictions.probabilities is not None:
        counts |= _token_calibration(predictions, predictions.probabilities)
    if not np.isnan(predictions.confidence).all():
        counts |= _entity_calibration(predictions)
    return counts


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
    for name in {"tokens", "entities", "overlaps", "mentions"} & counts.keys():
        first = 0 if name == "tokens" else 1  # `O` is no entity
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
        if counts["tokens"].shape[2] != len(classes):
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


def _token_counts(predictions: Predictions) -> NDArray[np.float64]:
    n = len(predictions.classes)
    cells = predictions.token_docs.astype("int64") * n
    gold, predicted = cells + predictions.gold, cells + predictions.predicted
    counts = token_counts(gold, predicted, predictions.n_docs * n)
    return counts.reshape(3, predictions.n_docs, n).swapaxes(0, 1)


def _entity_counts(predictions: Predictions) -> dict[str, NDArray[np.float64]]:
    gold, predicted = predictions.gold_ents, predictions.predicted_ents
    shape = (predictions.n_docs, len(predictions.classes) - 1)
    tables = [
        _table(ents["doc"], ents["label"] - 1, shape)
        for ents in (predicted[predictions.correct], gold, predicted)
    ]
    overlaps = np.zeros(shape)
    spans, predicted_spans = _spans(gold), _spans(predicted)
    for doc, label in spans.keys() & predicted_spans.keys():
        overlaps[doc, label - 1] = partial_credit(spans[doc, label], predicted_spans[doc, label])
    counts = {"entities": np.stack(tables, axis=1), "overlaps": overlaps}
    mentions = predictions.mentions
    if mentions is not None:
        are_predicted = are_among(as_rows(mentions), as_rows(predicted))
        both = (mentions[are_predicted], mentions)
        tables = [_table(which["doc"], which["label"] - 1, shape) for which in both]
        counts["mentions"] = np.stack(tables, axis=1)
    return counts


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


def _entity_calibration(predictions: Predictions) -> dict[str, NDArray[np.float64]]:
    known = ~np.isnan(predictions.confidence)
    confidence = predictions.confidence[known]
    correct = predictions.correct[known]
    docs = predictions.predicted_ents["doc"][known]
    likelihood = np.where(correct, confidence, 1 - confidence)
    losses = np.stack([(confidence - correct) ** 2, -_log(likelihood)], axis=1)
    bins = _bins(docs, confidence, correct, predictions.n_docs)
    return {"entity_bins": bins, "entity_losses": _loss_sums(docs, losses, predictions.n_docs)}


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
