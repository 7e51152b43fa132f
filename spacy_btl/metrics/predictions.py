"""Gold and predicted classes of documents as arrays, without their text.

Every score is computed from `Predictions`, so two pipelines can be compared document by document.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.recfunctions import structured_to_unstructured
from numpy.typing import NDArray
from spacy.tokens import Doc, Span
from spacy.training import Example

from spacy_btl.mentions import MENTIONS, Place, has_group, read_mentions
from spacy_btl.metrics.matching import are_correct
from spacy_btl.tags import OUTSIDE, gold_tags, token_types

# An entity: its document, its first token and the one after its last (in the tokens of the
# reference doc), and its class.
ENTITY = np.dtype([("doc", "i4"), ("start", "i4"), ("end", "i4"), ("label", "i4")])


@dataclass(frozen=True)
class Predictions:
    """Gold and predicted classes of D documents; C classes, the first of them `O`.

    classes (Tuple[str, ...]): `O` and the entity types, sorted.
    n_docs (int): D.
    patients (int64 [D]): The patient of each document, from 0; one of its own if not known.
    token_docs (int32 [N]): The document of each scored token: annotated, and not white space.
    gold (int32 [N]): The annotated class of each token.
    predicted (int32 [N]): The predicted class of each token.
    probabilities (Optional[float32 [N, C]]): Its class probabilities; None without any.
    prior (Optional[float64 [C]]): Training frequencies of the classes; None if not known.
    gold_ents (ENTITY [M]): Annotated entities.
    predicted_ents (ENTITY [P]): Predicted entities, without those that touch tokens without
        annotation.
    confidence (float64 [P]): `ent._.confidence`; nan without one.
    mentions (Optional[ENTITY [A]]): All annotated mentions, if some overlap others and so are not
        in `doc.ents`; None if the entities are all.
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
    mentions: NDArray[Any] | None = None

    @property
    def annotated(self) -> NDArray[Any]:
        """All annotated mentions."""
        return self.gold_ents if self.mentions is None else self.mentions

    @cached_property
    def correct(self) -> NDArray[np.bool_]:
        """Whether each predicted entity is correct, bool [P]."""
        return are_correct(as_rows(self.predicted_ents), as_rows(self.gold_ents))


def as_rows(ents: NDArray[Any]) -> NDArray[np.int32]:
    """Entities as rows, int32 [P, 4]."""
    return structured_to_unstructured(ents)


class Row(NamedTuple):
    """One document, classes by name.

    scored (bool [T]): Which tokens of the predicted doc are annotated and not white space.
    gold, predicted (List[str]): The classes of those.
    gold_ents, predicted_ents, mentions (List[Place]): In the tokens of the reference doc.
    confidence (List[float]): Of each predicted entity; nan without one.
    """

    scored: NDArray[np.bool_]
    gold: list[str]
    predicted: list[str]
    gold_ents: list[Place]
    predicted_ents: list[Place]
    confidence: list[float]
    mentions: list[Place]


def read_example(
    example: Example, confidence: Callable[[Span], float | None] = lambda _: None
) -> Row:
    """Read an example whose gold entities are trimmed (`tags.trim_gold`).

    confidence (Callable[[Span], Optional[float]]): The confidence of a predicted entity.
    """
    gold = gold_tags(example)
    scored = np.array([tag is not None for tag in gold], dtype=bool)
    ents = scored_entities(example)
    values = [confidence(ent) for ent, _ in ents]
    return Row(
        scored=scored,
        gold=[tag for tag in gold if tag is not None],
        predicted=[
            label
            for label, keep in zip(token_types(example.predicted), scored, strict=True)
            if keep
        ],
        gold_ents=[(ent.start, ent.end, ent.label_) for ent in example.reference.ents],
        predicted_ents=[entity for _, entity in ents],
        confidence=[np.nan if value is None else value for value in values],
        mentions=_mentions(example.reference),
    )


def scored_entities(example: Example) -> list[tuple[Span, Place]]:
    """The predicted entities, in the tokens of the reference as spaCy's scorer aligns them, without
    those that touch tokens without annotation."""
    if not example.reference.has_annotation("ENT_IOB"):
        return []
    to_reference = example.alignment.x2y
    entities = []
    for ent in example.predicted.ents:
        tokens = to_reference[ent.start : ent.end]
        if not len(tokens):
            continue
        start, end = int(tokens[0]), int(tokens[-1]) + 1
        if all(token.ent_iob for token in example.reference[start:end]):
            entities.append((ent, (start, end, ent.label_)))
    return entities


def _mentions(reference: Doc) -> list[Place]:
    """All annotated mentions, and the entities that are not among them."""
    listed = read_mentions(reference, MENTIONS) if has_group(reference, MENTIONS) else []
    ents = [(ent.start, ent.end, ent.label_) for ent in reference.ents]
    return listed + [ent for ent in ents if ent not in set(listed)]


def as_predictions(
    rows: Sequence[Row], *, types: Iterable[str] = (), patients: NDArray[np.int64] | None = None
) -> Predictions:
    """Number the classes of D documents; the result has no probabilities.

    types (Iterable[str]): Types that are classes whether or not the documents have them.
    patients (Optional[int64 [D]]): The patient of each document; without, each has its own.
    """
    known = {ent[2] for row in rows for ent in [*row.mentions, *row.predicted_ents]}
    known.update(*(row.gold + row.predicted for row in rows), types)
    classes = (OUTSIDE, *sorted(known - {OUTSIDE}))
    number = {label: i for i, label in enumerate(classes)}

    def ids(names: Iterable[str]) -> NDArray[np.int32]:
        return np.array([number[name] for name in names], dtype="int32")

    def entities(per_doc: Iterable[Sequence[Place]]) -> NDArray[Any]:
        numbered = [
            (doc, start, end, number[label])
            for doc, ents in enumerate(per_doc)
            for start, end, label in ents
        ]
        return np.array(numbered, dtype=ENTITY)

    overlapping = any(len(row.mentions) > len(row.gold_ents) for row in rows)
    return Predictions(
        classes=classes,
        n_docs=len(rows),
        patients=np.arange(len(rows)) if patients is None else patients,
        token_docs=np.repeat(np.arange(len(rows), dtype="int32"), [len(row.gold) for row in rows]),
        gold=ids(tag for row in rows for tag in row.gold),
        predicted=ids(tag for row in rows for tag in row.predicted),
        probabilities=None,
        prior=None,
        gold_ents=entities(row.gold_ents for row in rows),
        predicted_ents=entities(row.predicted_ents for row in rows),
        confidence=np.array([value for row in rows for value in row.confidence]),
        mentions=entities(row.mentions for row in rows) if overlapping else None,
    )
