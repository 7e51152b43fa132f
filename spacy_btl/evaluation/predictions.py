"""What a pipeline says about documents beside what their annotation says."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax
from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Example

from spacy_btl.corpora.patients import patient_numbers
from spacy_btl.errors import PipelineError
from spacy_btl.metrics.predictions import ENTITY, Predictions
from spacy_btl.pipeline.annotations import LOGITS, PROBABILITIES
from spacy_btl.pipeline.annotations import confidence as confidence_of
from spacy_btl.pipeline.btl_ner import BtlNer
from spacy_btl.pipeline.knn_calibrator import KnnCalibrator, find_calibrator
from spacy_btl.pipeline.logits import find_ner, hiding_pipes
from spacy_btl.tags import gold_tags, strip_space, token_types, trim_gold

# Docs that are held with all that the encoder left on them.
BATCH_SIZE = 32


class _Row(NamedTuple):
    """One document, classes by name."""

    gold: list[str]
    predicted: list[str]
    probabilities: NDArray[np.float32] | None
    gold_ents: list[tuple[int, int, str]]
    predicted_ents: list[tuple[int, int, str]]
    confidence: list[float]
    mentions: list[tuple[int, int, str]]


def predict(nlp: Language, examples: Iterable[Example]) -> Predictions:
    """Run a pipeline over copies of the predicted docs of examples and read what it says.

    Token probabilities and the prior are a `knn_calibrator`'s, else the softmax of the logits of
    the last `btl_ner` pipe and its prior, else None.
    """
    pairs = ((example.predicted.copy(), example.reference) for example in examples)
    rows, references = [], []
    pipe = find_calibrator(nlp)
    ner = _find_ner(nlp, pipe)
    with nlp.select_pipes(disable=hiding_pipes(nlp)):
        for doc, reference in nlp.pipe(pairs, as_tuples=True, batch_size=BATCH_SIZE):
            rows.append(_read(trim_gold(Example(doc, reference)), ner))
            references.append(reference)
    return _assemble(rows, patient_numbers(references), ner, _prior(ner, pipe))


def _find_ner(nlp: Language, pipe: KnnCalibrator | None) -> BtlNer | None:
    """The pipe whose logits the docs carry; one that is disabled if the calibrator reads it."""
    if pipe is not None:
        return find_ner(nlp, pipe.ner, reader=pipe.name)
    return next((pipe for _, pipe in reversed(nlp.pipeline) if isinstance(pipe, BtlNer)), None)


def _prior(ner: BtlNer | None, pipe: KnnCalibrator | None) -> NDArray[np.float64] | None:
    """The training frequencies of the tags; None where they are not known: of a network that was
    trained elsewhere, until a calibrator is fitted."""
    if pipe is not None:
        return pipe.calibrator.fitted_datastore().prior
    return ner.prior if ner is not None and ner.tag_counts.any() else None


def _read(example: Example, ner: BtlNer | None) -> _Row:
    doc = example.predicted
    gold = gold_tags(example)
    scored = np.array([tag is not None for tag in gold], dtype=bool)
    p = None if ner is None else _type_probabilities(doc, ner)
    entities, confidence = _predicted_entities(example)
    return _Row(
        gold=[tag for tag in gold if tag is not None],
        predicted=[label for label, keep in zip(token_types(doc), scored, strict=True) if keep],
        probabilities=None if p is None else p[scored],
        gold_ents=[(ent.start, ent.end, ent.label_) for ent in example.reference.ents],
        predicted_ents=entities,
        confidence=confidence,
        mentions=_mentions(example.reference),
    )


def _mentions(reference: Doc) -> list[tuple[int, int, str]]:
    """The mentions of `doc.spans["mentions"]`, each from its first fragment to its last (fragments
    of one share their id), and the entities that are not among them."""
    mentions: dict[Any, tuple[int, int, str]] = {}
    for number, span in enumerate(map(strip_space, reference.spans.get("mentions", ()))):
        if not len(span):
            continue
        key = span.id_ or number
        start, end, _ = mentions.get(key, (span.start, span.end, ""))
        mentions[key] = (min(start, span.start), max(end, span.end), span.label_)
    found = list(mentions.values())
    ents = [(ent.start, ent.end, ent.label_) for ent in reference.ents]
    return found + [ent for ent in ents if ent not in set(found)]


def _type_probabilities(doc: Doc, ner: BtlNer) -> NDArray[np.float32]:
    """float32 [T, 1 + types]: the probability of `O` and of each type of the pipe."""
    tag_types = ner.tag_scheme.tag_types
    p = doc._.get(PROBABILITIES)
    if p is None:
        logits = doc._.get(LOGITS)
        p = softmax(logits, axis=1)
        p[~logits.any(axis=1)] = np.eye(len(tag_types))[0]  # the encoder never saw it: `O`
    starts = np.flatnonzero(np.diff(tag_types, prepend=-1))
    return np.add.reduceat(p, starts, axis=1).astype("float32")


def _predicted_entities(
    example: Example,
) -> tuple[list[tuple[int, int, str]], list[float]]:
    """The pipeline's entities in the tokens of the reference, as spaCy's scorer aligns them."""
    to_reference = example.alignment.x2y
    entities, confidence = [], []
    for ent in example.predicted.ents:
        tokens = to_reference[ent.start : ent.end]
        if not len(tokens):
            continue
        start, end = int(tokens[0]), int(tokens[-1]) + 1
        if all(token.ent_iob for token in example.reference[start:end]):
            entities.append((start, end, ent.label_))
            value = confidence_of(ent)
            confidence.append(np.nan if value is None else value)
    return entities, confidence


def _assemble(
    rows: Sequence[_Row],
    patients: NDArray[np.int64],
    ner: BtlNer | None,
    tag_prior: NDArray[np.float64] | None,
) -> Predictions:
    if not rows:
        raise PipelineError("The pipeline returned no document: there is nothing to score.")
    known = ner.tag_scheme.types if ner else ()
    types = {ent[2] for row in rows for ent in [*row.mentions, *row.predicted_ents]}
    types.update(*(row.gold + row.predicted for row in rows), known)
    classes = ("O", *sorted(types - {"O"}))
    number = {label: i for i, label in enumerate(classes)}
    columns = [number[label] for label in ("O", *known)]

    def ids(names: Iterable[str]) -> NDArray[np.int32]:
        return np.array([number[name] for name in names], dtype="int32")

    def entities(per_doc: Sequence[list[tuple[int, int, str]]]) -> NDArray[Any]:
        rows = [
            (doc, start, end, number[label])
            for doc, ents in enumerate(per_doc)
            for start, end, label in ents
        ]
        return np.array(rows, dtype=ENTITY)

    overlapping = any(len(row.mentions) > len(row.gold_ents) for row in rows)
    probabilities = prior = None
    if ner is not None:
        probabilities = np.zeros((sum(len(row.gold) for row in rows), len(classes)), "float32")
        probabilities[:, columns] = np.concatenate([row.probabilities for row in rows])
    if ner is not None and tag_prior is not None:
        prior = np.zeros(len(classes))
        prior[columns] = np.bincount(ner.tag_scheme.tag_types, weights=tag_prior)
    return Predictions(
        classes=classes,
        n_docs=len(rows),
        patients=patients,
        token_docs=np.repeat(np.arange(len(rows), dtype="int32"), [len(row.gold) for row in rows]),
        gold=ids(tag for row in rows for tag in row.gold),
        predicted=ids(tag for row in rows for tag in row.predicted),
        probabilities=probabilities,
        prior=prior,
        gold_ents=entities([row.gold_ents for row in rows]),
        predicted_ents=entities([row.predicted_ents for row in rows]),
        confidence=np.array([value for row in rows for value in row.confidence]),
        mentions=entities([row.mentions for row in rows]) if overlapping else None,
    )
