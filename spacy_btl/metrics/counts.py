"""What every figure is computed from: a few sums per document, or per patient.

A figure is a function of sums over documents. A bootstrap sample is then another weighting of the
documents (one matrix product for many samples), and exchanging two pipelines' output for a
document is exchanging two rows: nothing is scored twice. Documents of one patient are one row,
since chance does not draw them apart.
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
from spacy_btl.metrics.predictions import ENTITY, Predictions

# Equal-width bins of confidence, from 0 to 1.
N_BINS = 15
# Counts are saved as whole numbers of such parts, with the documents last: an archive of them is
# half as large, and figures of many entities differ in the fifth decimal.
PARTS_OF_ONE = 1024

Weights = NDArray[np.float64]
Counts = Mapping[str, NDArray[np.float64]]


def document_counts(predictions: Predictions) -> Counts:
    """Count document by document, over the C classes of the predictions; K = C - 1 are types.

    RETURNS (Dict[str, float64 [D, ...]]):
        documents [D]: 1 each.
        tokens [D, 3, C]: right, gold and predicted tokens of each class.
        entities [D, 3, K]: the same of entities, right if boundaries and type are (strict).
        mentions [D, 2, K]: found and annotated mentions, where some overlap others and so have no
            place among the entities.
        overlaps [D, K]: right entities, and half of those that only overlap one of their type.
        token_bins, entity_bins [D, 3, 15]: how many, the sum of their confidence, and how many are
            right, by confidence. A token's is its highest probability, an entity's its confidence.
        token_losses, entity_losses [D, 2]: sums of Brier scores (of a token: squared errors over
            all classes) and of negative log-likelihoods.
        Without probabilities there is nothing of tokens' calibration, without confidence nothing
        of entities'.
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
    """The same sums per patient, which are documents where it is not known whose they are."""
    patients = predictions.patients
    summed = {}
    for name, values in document_counts(predictions).items():
        summed[name] = np.zeros((patients.max(initial=-1) + 1, *values.shape[1:]))
        np.add.at(summed[name], patients, values)
    return summed


def widened(counts: Counts, classes: Sequence[str], wider: Sequence[str]) -> Counts:
    """The same counts over more classes, of which they have nothing.

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
    """The classes that any of several has, `O` first, the others sorted."""
    return ("O", *sorted(set().union(*known) - {"O"}))


def save_counts(path: Path, counts: Counts, classes: Sequence[str]) -> None:
    """Write an npz file, whole or not at all, of sums that are rounded to 1/1024.

    It is not compressed, so that an archive of several finds what they have in common.

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
    """Counts and their classes from what a file holds.

    name (str): What to call the file in an error.
    RAISES: CorpusError, for a damaged one.
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


def strictly_right(predictions: Predictions) -> NDArray[np.bool_]:
    """Whether each predicted entity is one of the gold entities, bool [P].

    Each gold entity counts once, as for spaCy's scorer: two predicted entities can fall on one
    gold token where the tokenizations differ.
    """
    free = set(predictions.gold_ents.tolist())
    right = np.zeros(len(predictions.predicted_ents), dtype=bool)
    for i, ent in enumerate(predictions.predicted_ents.tolist()):
        right[i] = ent in free
        free.discard(ent)
    return right


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
    """Right, gold and predicted tokens of each class. gold, predicted (int [N]): below n.

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
        for ents in (predicted[strictly_right(predictions)], gold, predicted)
    ]
    overlaps = np.zeros(shape)
    spans, predicted_spans = _spans(gold), _spans(predicted)
    for doc, label in spans.keys() & predicted_spans.keys():
        overlaps[doc, label - 1] = _credit(spans[doc, label], predicted_spans[doc, label])
    counts = {"entities": np.stack(tables, axis=1), "overlaps": overlaps}
    if predictions.mentions is not None:
        known = set(predicted.tolist())
        found = [mention for mention in predictions.mentions.tolist() if mention in known]
        both = (np.array(found, dtype=ENTITY), predictions.mentions)
        tables = [_table(which["doc"], which["label"] - 1, shape) for which in both]
        counts["mentions"] = np.stack(tables, axis=1)
    return counts


def _spans(ents: NDArray[Any]) -> dict[tuple[int, int], list[tuple[int, int]]]:
    """The (start, end) of entities by document and type."""
    spans = defaultdict(list)
    for doc, start, end, label in ents.tolist():
        spans[doc, label].append((start, end))
    return spans


def _credit(gold: list[tuple[int, int]], predicted: list[tuple[int, int]]) -> float:
    """What the entities of one type in one document are worth: 1 for one that is found, 1/2 for
    one that is overlapped. Both lists are in order.

    This is the "partial" measure of SemEval-2013 task 9.1, applied type by type, as nervaluate
    does for its figures per entity type. An entity is matched to one other at most.
    """
    worth, i = 0.0, 0
    for start, end in predicted:
        while i < len(gold) and gold[i][1] <= start:
            i += 1
        if i < len(gold) and gold[i][0] < end:
            worth += 1.0 if gold[i] == (start, end) else 0.5
            i += 1
    return worth


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
    right = strictly_right(predictions)[known]
    docs = predictions.predicted_ents["doc"][known]
    likelihood = np.where(right, confidence, 1 - confidence)
    losses = np.stack([(confidence - right) ** 2, -_log(likelihood)], axis=1)
    bins = _bins(docs, confidence, right, predictions.n_docs)
    return {"entity_bins": bins, "entity_losses": _loss_sums(docs, losses, predictions.n_docs)}


def _bins(
    docs: NDArray[np.integer],
    confidence: NDArray[np.float64],
    right: NDArray[np.bool_],
    n_docs: int,
) -> NDArray[np.float64]:
    columns = np.minimum((confidence * N_BINS).astype("int64"), N_BINS - 1)
    shape = (n_docs, N_BINS)
    weights = (None, confidence, right.astype(float))
    return np.stack([_table(docs, columns, shape, values) for values in weights], axis=1)


def _loss_sums(
    docs: NDArray[np.integer], losses: NDArray[np.float64], n_docs: int
) -> NDArray[np.float64]:
    sums = np.zeros((n_docs, losses.shape[1]))
    np.add.at(sums, docs, losses)
    return sums


def _log(p: NDArray[np.float64]) -> NDArray[np.float64]:
    # Bounded, so that no single certainty that was wrong decides a mean.
    return np.log(np.maximum(p, np.finfo(np.float32).eps))
