"""Run a pipeline and compare its predictions with the annotation."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax
from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Example

from spacy_btl.corpora.patients import patient_numbers
from spacy_btl.errors import PipelineError
from spacy_btl.evaluation.at_taus import AtTaus
from spacy_btl.metrics.predictions import Predictions, as_predictions
from spacy_btl.metrics.rows import Group, read_example
from spacy_btl.pipeline.annotations import LOGITS, PROBABILITIES
from spacy_btl.pipeline.annotations import confidence as confidence_of
from spacy_btl.pipeline.btl_ner import BtlNer
from spacy_btl.pipeline.knn_calibrator import KnnCalibrator, find_calibrator
from spacy_btl.pipeline.logits import find_ner, hiding_pipes
from spacy_btl.tags import O_TAG, OUTSIDE, trim_gold

# Docs that are kept at once with all that the encoder left on them.
BATCH_SIZE = 32


def predict(
    nlp: Language, examples: Iterable[Example], *, group: Group | None = None, taus: bool = False
) -> Predictions:
    """Run a pipeline over copies of the predicted docs of examples and read its predictions.

    Token probabilities and the prior are a `knn_calibrator`'s, else the softmax of the logits of
    the last `btl_ner` pipe and its prior, else None. Where predicted mentions can overlap there are
    none, since the types do not compete for a token.

    group (Optional[Group]): The groups of mentions that may overlap. The default is what
        `find_group` finds.
    taus (bool): Whether a calibrator that decides them also says what it would find with each of
        `settings.TAUS`, which takes as long as decoding so many times.
    RAISES: PipelineError, if no document is left.
    """
    pairs = ((example.predicted.copy(), example.reference) for example in examples)
    rows, references, probabilities = [], [], []
    pipe = find_calibrator(nlp)
    group = group or find_group(nlp)
    at_taus = _at_taus(nlp, pipe, group) if taus else None
    ner = _find_ner(nlp, pipe) if group is None else None
    with nlp.select_pipes(disable=hiding_pipes(nlp)):
        for doc, reference in nlp.pipe(pairs, as_tuples=True, batch_size=BATCH_SIZE):
            row = read_example(trim_gold(Example(doc, reference)), confidence_of, group)
            if ner is not None:
                probabilities.append(_type_probabilities(doc, ner)[row.scored])
            if at_taus is not None:
                at_taus.add(doc, reference)
            rows.append(row)
            references.append(reference)
    if not rows:
        raise PipelineError("The pipeline returned no document: there is nothing to score.")
    patients = patient_numbers(references)
    if ner is None:
        predictions = as_predictions(rows, patients=patients)
        counts = None if at_taus is None else at_taus.counts(predictions.classes)
        return replace(predictions, at_taus=counts)
    predictions = as_predictions(rows, types=ner.tag_scheme.types, patients=patients)
    places = {label: i for i, label in enumerate(predictions.classes)}
    columns = [places[label] for label in (OUTSIDE, *ner.tag_scheme.types)]
    p = np.zeros((len(predictions.gold), len(places)), dtype="float32")
    p[:, columns] = np.concatenate(probabilities)
    prior, tag_prior = None, _prior(ner, pipe)
    if tag_prior is not None:
        prior = np.zeros(len(places))
        prior[columns] = ner.tag_scheme.sum_by_type(tag_prior)
    return replace(predictions, probabilities=p, prior=prior)


def find_group(nlp: Language) -> Group | None:
    """The groups of mentions that may overlap: those of the last pipe that decides mentions, if it
    is a `btl_ner` with `spans_key`, or a pipe with labels and the key of a group, such as spaCy's
    `spancat`. None for other pipelines."""
    for _, pipe in reversed(nlp.pipeline):
        decides: Any = pipe
        if isinstance(pipe, KnnCalibrator) and pipe.is_ready():
            decides = find_ner(nlp, pipe.ner, reader=pipe.name)  # also if it is disabled
        if isinstance(decides, BtlNer):
            key = decides.spans_key
            return None if key is None else Group(key, decides.mentions_key)
        key, labels = (getattr(decides, name, None) for name in ("key", "labels"))
        if isinstance(key, str) and labels:
            return Group(key)
    return None


def _find_ner(nlp: Language, pipe: KnnCalibrator | None) -> BtlNer | None:
    """The pipe whose logits the docs carry, even if it is disabled and a calibrator reads it."""
    if pipe is not None:
        return find_ner(nlp, pipe.ner, reader=pipe.name)
    return next((pipe for _, pipe in reversed(nlp.pipeline) if isinstance(pipe, BtlNer)), None)


def _at_taus(nlp: Language, pipe: KnnCalibrator | None, group: Group | None) -> AtTaus | None:
    """What counts the mentions of a group with other values of tau; None unless the calibrator
    decides them."""
    if pipe is None or group is None:
        return None
    decides = find_ner(nlp, pipe.ner, reader=pipe.name).spans_key == group.spans_key
    return AtTaus(pipe.calibrator, group) if decides else None


def _prior(ner: BtlNer, pipe: KnnCalibrator | None) -> NDArray[np.float64] | None:
    """The training frequencies of the tags. None if they are not known: for a network that was
    trained elsewhere, until a calibrator is fitted."""
    if pipe is not None:
        return pipe.calibrator.fitted_datastore().prior
    return ner.prior if ner.tag_counts.any() else None


def _type_probabilities(doc: Doc, ner: BtlNer) -> NDArray[np.float32]:
    """float32 [T, 1 + types]: the probability of `O` and of each type of the pipe."""
    p = doc._.get(PROBABILITIES)
    if p is None:
        logits = doc._.get(LOGITS)
        p = softmax(logits, axis=1)
        p[~logits.any(axis=1)] = np.eye(p.shape[1])[O_TAG]  # the encoder never saw it: `O`
    return ner.tag_scheme.sum_by_type(p).astype("float32")
