"""Gold and predicted classes of documents as arrays, without their text.

Every score is computed from `Predictions`, so two pipelines can be compared document by document.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.lib.recfunctions import structured_to_unstructured
from numpy.typing import NDArray

from spacy_btl.mentions import Place
from spacy_btl.metrics.matching import are_correct
from spacy_btl.metrics.rows import Pairs, Row
from spacy_btl.tags import OUTSIDE

# An entity: its document, its first token and the one after its last (in the tokens of the
# reference doc), and its class.
ENTITY = np.dtype([("doc", "i4"), ("start", "i4"), ("end", "i4"), ("label", "i4")])


@dataclass(frozen=True, eq=False)
class Mentions:
    """Gold and predicted mentions of D documents.

    gold (ENTITY [M]): Annotated mentions.
    predicted (ENTITY [P]): Predicted mentions, without those that touch tokens without annotation.
    confidence (float64 [P]): `span._.confidence`; nan without one.
    """

    gold: NDArray[Any]
    predicted: NDArray[Any]
    confidence: NDArray[np.float64]

    @cached_property
    def correct(self) -> NDArray[np.bool_]:
        """Whether each predicted mention is correct, bool [P]."""
        return are_correct(as_rows(self.predicted), as_rows(self.gold))


@dataclass(frozen=True)
class Predictions:
    """Gold and predicted classes of D documents; C classes, the first of them `O`.

    classes (Tuple[str, ...]): `O` and the entity types, sorted.
    n_docs (int): D.
    patients (int64 [D]): The patient of each document, from 0; one of its own if not known.
    token_docs (int32 [N]): The document of each scored token: annotated, and not white space. There
        are none if tokens can be of several types, see `decisions`.
    gold (int32 [N]): The annotated class of each token.
    predicted (int32 [N]): The predicted class of each token.
    probabilities (Optional[float32 [N, C]]): Its class probabilities; None without any.
    prior (Optional[float64 [C]]): Training frequencies of the classes; None if not known.
    gold_ents (ENTITY [M]): Annotated entities.
    predicted_ents (ENTITY [P]): Predicted entities, without those that touch tokens without
        annotation.
    confidence (float64 [P]): `ent._.confidence`; nan without one.
    mentions (Optional[Mentions]): All mentions, each once; None if the entities are all and cannot
        overlap.
    lost (ENTITY [L]): The annotated mentions that are no entities, because they overlap others.
    decisions (Optional[Mentions]): Where predicted mentions overlap: the types of each scored
        token, or `O`, one row for each; None elsewhere.
    at_taus (Optional[Tuple[Dict[str, float64 [3, ...]], ...]]): Where a calibrator decides mentions
        that overlap: what it would find with each of `settings.TAUS`, as counts of `decisions` and
        `mentions` over all documents (`counts.document_counts`).
    """

    classes: tuple[str, ...]
    n_docs: int
    patients: NDArray[np.int64]
    token_docs: NDArray[np.int32]
    gold: NDArray[np.int32]
    predicted: NDArray[np.int32]
    probabilities: NDArray[np.float32] | None
    prior: NDArray[np.float64] | None
    gold_ents: NDArray[Any]
    predicted_ents: NDArray[Any]
    confidence: NDArray[np.float64]
    mentions: Mentions | None = None
    lost: NDArray[Any] = field(default_factory=lambda: np.zeros(0, ENTITY))
    decisions: Mentions | None = None
    at_taus: tuple[Mapping[str, NDArray[np.float64]], ...] | None = None

    @cached_property
    def entities(self) -> Mentions:
        """Those of `doc.ents`."""
        return Mentions(self.gold_ents, self.predicted_ents, self.confidence)

    @property
    def all_mentions(self) -> Mentions:
        """All mentions, or the entities if those are all."""
        return self.entities if self.mentions is None else self.mentions

    @property
    def correct(self) -> NDArray[np.bool_]:
        """Whether each predicted entity is correct, bool [P]."""
        return self.entities.correct


def as_rows(ents: NDArray[Any]) -> NDArray[np.int32]:
    """Entities as rows, int32 [P, 4]."""
    return structured_to_unstructured(ents)


def as_predictions(
    rows: Sequence[Row], *, types: Iterable[str] = (), patients: NDArray[np.int64] | None = None
) -> Predictions:
    """Number the classes of D documents; the result has no probabilities.

    types (Iterable[str]): Types that are classes whether or not the documents have them.
    patients (Optional[int64 [D]]): The patient of each document; without, each has its own.
    """
    known = set(types).union(*(row.gold + row.predicted for row in rows))
    known.update(
        label
        for row in rows
        for pairs in (row.entities, row.mentions, row.decisions)
        if pairs is not None
        for _, _, label in pairs.gold + pairs.predicted
    )
    classes = (OUTSIDE, *sorted(known - {OUTSIDE}))
    number = {label: i for i, label in enumerate(classes)}

    def ids(names: Iterable[str]) -> NDArray[np.int32]:
        return np.array([number[name] for name in names], dtype="int32")

    def numbered(per_doc: Iterable[Sequence[Place]]) -> NDArray[Any]:
        places = [
            (doc, start, end, number[label])
            for doc, ents in enumerate(per_doc)
            for start, end, label in ents
        ]
        return np.array(places, dtype=ENTITY)

    def joined(per_doc: Sequence[Pairs]) -> Mentions:
        return Mentions(
            gold=numbered(pairs.gold for pairs in per_doc),
            predicted=numbered(pairs.predicted for pairs in per_doc),
            confidence=np.array([value for pairs in per_doc for value in pairs.confidence]),
        )

    entities = joined([row.entities for row in rows])
    decisions = [row.decisions for row in rows if row.decisions is not None]
    overlapping = bool(decisions) or any(row.mentions is not row.entities for row in rows)
    return Predictions(
        classes=classes,
        n_docs=len(rows),
        patients=np.arange(len(rows)) if patients is None else patients,
        token_docs=np.repeat(np.arange(len(rows), dtype="int32"), [len(row.gold) for row in rows]),
        gold=ids(tag for row in rows for tag in row.gold),
        predicted=ids(tag for row in rows for tag in row.predicted),
        probabilities=None,
        prior=None,
        gold_ents=entities.gold,
        predicted_ents=entities.predicted,
        confidence=entities.confidence,
        mentions=joined([row.mentions for row in rows]) if overlapping else None,
        lost=numbered(row.lost for row in rows),
        decisions=joined(decisions) if decisions else None,
    )
