"""Held-out documents as arrays: logits, gold tags, and which runs of tags are correct entities.

Entities are read from tags without spaCy's spans, so that hundreds of settings can be tried on one
pass over the documents. They are those of `TagScheme.decode`, and correct as spaCy's scorer has it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spacy_btl.arrays import Probabilities
from spacy_btl.calibration.candidates import Words
from spacy_btl.calibration.datastore import LabelledRows
from spacy_btl.metrics.matching import are_correct
from spacy_btl.tags import MISSING, Runs, TagScheme

Ints = NDArray[np.integer]


@dataclass(frozen=True)
class HeldOut:
    """N tokens that are not white space, R tokens and M entities of the annotation.

    The tokens of the annotation are counted on from document to document.

    logits (float32 [N, C]): Raw logits; a row of zeros for a token that the encoder never saw.
    tags (int16 [N], or int8 [N, K] where each of K types decides for itself): Gold tags; MISSING
        without annotation.
    documents, starts, ends (int32 [N]): As in `LabelledRows`.
    breaks (int8 [N]), short (bool [N]): What lies before each token, and whether its line is short:
        see `lines.Lines`.
    gold_starts, gold_ends (int64 [N]): The first token of the annotation that the token aligns to,
        and the one after the last; -1 if there is none.
    annotated (bool [R]): Whether entity annotation is there.
    gold_ents (int64 [M, 3]): First token, the one after the last, number of the type from 1
        (0 for one that the pipe lacks).
    """

    logits: NDArray[np.float32]
    tags: NDArray[np.integer]
    documents: NDArray[np.int32]
    starts: NDArray[np.int32]
    ends: NDArray[np.int32]
    breaks: NDArray[np.int8]
    short: NDArray[np.bool_]
    gold_starts: NDArray[np.int64]
    gold_ends: NDArray[np.int64]
    annotated: NDArray[np.bool_]
    gold_ents: NDArray[np.int64]

    @property
    def words(self) -> Words:
        """Where the tokens stand."""
        return Words(self.documents, self.breaks, self.short)

    @cached_property
    def seen(self) -> NDArray[np.bool_]:
        """Which tokens the encoder saw, bool [N]."""
        return np.any(self.logits != 0, axis=1)

    @cached_property
    def labelled(self) -> NDArray[np.bool_]:
        """Which tokens it saw and are annotated, bool [N]."""
        return self.seen & self.known

    @cached_property
    def known(self) -> NDArray[np.bool_]:
        """Which tokens are annotated, bool [N]."""
        return np.all(self.tags != MISSING, axis=tuple(range(1, self.tags.ndim)))

    def rows(self) -> LabelledRows:
        """The labelled tokens as rows of a datastore."""
        names = [field.name for field in fields(LabelledRows)]
        return LabelledRows(**{name: getattr(self, name)[self.labelled] for name in names})


class Entities(NamedTuple):
    """The P entities that tags make, and which of them are correct.

    types (int64 [P]): Numbers of their types, from 1.
    p (float64 [P]): The minimum of their tokens' probabilities of their type.
    correct (bool [P]): Whether boundaries and type are those of a gold entity.
    """

    types: Ints
    p: Probabilities
    correct: NDArray[np.bool_]


def concatenate(parts: Sequence[HeldOut]) -> HeldOut:
    """The tokens of one or more parts, in their order; they keep the numbers of their documents."""
    before = np.cumsum([0, *(len(part.annotated) for part in parts[:-1])])
    arrays = {
        field.name: np.concatenate([getattr(part, field.name) for part in parts])
        for field in fields(HeldOut)
    }
    for name in ("gold_starts", "gold_ends"):
        shifted = [
            np.where(getattr(part, name) < 0, -1, getattr(part, name) + n)
            for part, n in zip(parts, before, strict=True)
        ]
        arrays[name] = np.concatenate(shifted)
    ents = [part.gold_ents + np.array([n, n, 0]) for part, n in zip(parts, before, strict=True)]
    arrays["gold_ents"] = np.concatenate(ents)
    return HeldOut(**arrays)


def part(held_out: HeldOut, documents: NDArray[np.bool_]) -> HeldOut:
    """The tokens and entities of some of the documents; the annotation's tokens stay counted as
    they were. documents (bool [D]): Which ones."""
    here = documents[held_out.documents]
    tokens = {
        field.name: getattr(held_out, field.name)[here]
        for field in fields(HeldOut)
        if field.name not in ("annotated", "gold_ents")
    }
    ents = held_out.gold_ents[documents[gold_documents(held_out)]]
    return HeldOut(**tokens, annotated=held_out.annotated, gold_ents=ents)


def gold_documents(held_out: HeldOut) -> NDArray[np.int32]:
    """The documents of the entities of the annotation, int32 [M]."""
    aligned = held_out.gold_starts >= 0
    numbers, first = np.unique(held_out.documents[aligned], return_index=True)
    begins = held_out.gold_starts[aligned][first]  # of each document that has one
    places = np.searchsorted(begins, held_out.gold_ents[:, 0], side="right") - 1
    return numbers[np.maximum(places, 0)] if len(numbers) else np.zeros(0, "int32")


def read_entities(
    held_out: HeldOut, tags: Ints, p: Probabilities, *, scheme: TagScheme
) -> Entities:
    """The entities that tags make, less those where annotation is missing.

    tags (int [N], or [N, K]): Decided tags.
    p (float64 [N, C], or [N, K, S]): Probabilities.
    """
    runs = scheme.runs(tags, held_out.breaks, held_out.short)
    known, correct = judge_runs(held_out, runs)
    return Entities(runs.types[known] + 1, scheme.run_probabilities(runs, p)[known], correct)


def judge_runs(held_out: HeldOut, runs: Runs) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which of P runs of words are where annotation is known, bool [P], and which of these are
    gold entities."""
    spans, known = in_annotation(held_out, runs)
    return known, are_correct(spans[known], held_out.gold_ents)


def in_annotation(held_out: HeldOut, runs: Runs) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """P runs of words as rows of `gold_ents`, int64 [P, 3], and which of them are where annotation
    is known, bool [P]."""
    spans = np.stack(
        [held_out.gold_starts[runs.first], held_out.gold_ends[runs.last], runs.types + 1], axis=1
    )
    unknown = np.concatenate([[0], np.cumsum(~held_out.annotated)])
    known = (spans[:, 0] >= 0) & (spans[:, 1] >= 0)
    known[known] = unknown[spans[known, 1]] == unknown[spans[known, 0]]
    return spans, known
