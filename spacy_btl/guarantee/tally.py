"""What a setting finds on annotated documents, as counts for each of them, and its losses.

A document stands for all that is drawn together: the notes of a patient, and copies of one text.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from spacy_btl.calibration.held_out import HeldOut, gold_documents, in_annotation
from spacy_btl.metrics.matching import Span, count_overlaps
from spacy_btl.tags import Runs

Kind = Literal["recall", "precision"]
Match = Literal["overlap", "strict"]

# The columns of counts.
MATCHED, GOLD, PREDICTED = range(3)
WHOLE = {"recall": GOLD, "precision": PREDICTED}

Counts = NDArray[np.int64]


def tally(
    held_out: HeldOut,
    runs: Runs,
    types: Sequence[int],
    documents: NDArray[np.integer],
    match: Match,
) -> Counts:
    """Count the mentions of some types, int64 [D, K, 3]: matched, gold and predicted ones.

    A mention is matched to at most one other of its type. They are matched if they have the same
    boundaries ("strict"), or share a token ("overlap", as "partial" of SemEval-2013 task 9.1).

    runs (Runs): The predicted mentions. Those that touch missing annotation are left out.
    types (Sequence[int]): The places of K types in those of the tag scheme.
    documents (int [N]): For each document of `held_out` the number, from 0, that it counts as.
    """
    runs = runs.take(np.isin(runs.types, types))
    spans, known = in_annotation(held_out, runs)
    found = _by_document(spans[known], held_out.documents[runs.first[known]])
    asked = np.isin(held_out.gold_ents[:, 2] - 1, types)
    gold = _by_document(held_out.gold_ents[asked], gold_documents(held_out)[asked])
    counts = np.zeros((documents.max(initial=-1) + 1, len(types), 3), dtype="int64")
    columns = {kind + 1: column for column, kind in enumerate(types)}
    for document, kind in gold.keys() | found.keys():
        pair = gold[document, kind], found[document, kind]
        counts[documents[document], columns[kind]] += _count(*pair, match)
    return counts


def losses(counts: Counts, kind: Kind) -> NDArray[np.float64]:
    """The losses of the n documents that have any: for recall the share of the gold mentions that
    are not found, for precision that of the predicted mentions that are wrong; float64 [n].

    counts (int64 [D, 3]): Of one type.
    """
    whole = counts[:, WHOLE[kind]]
    has_any = whole > 0
    return 1 - counts[has_any, MATCHED] / whole[has_any]


def pooled(counts: Counts) -> tuple[float, float]:
    """Recall and precision over all mentions, not by document; nan without any.

    counts (int64 [D, 3]): Of one type.
    """
    matched, gold, predicted = counts.sum(axis=0)
    return tuple(matched / n if n else np.nan for n in (gold, predicted))  # type: ignore[return-value]


def _count(gold: list[Span], predicted: list[Span], match: Match) -> tuple[int, int, int]:
    same = len(set(gold) & set(predicted))
    matched = same if match == "strict" else count_overlaps(gold, predicted)
    return matched, len(gold), len(predicted)


def _by_document(
    spans: NDArray[np.integer], documents: NDArray[np.integer]
) -> defaultdict[tuple[int, int], list[Span]]:
    """The boundaries of mentions by their document and the number of their type."""
    found: defaultdict[tuple[int, int], list[Span]] = defaultdict(list)
    for (start, end, kind), document in zip(spans.tolist(), documents.tolist(), strict=True):
        found[document, kind].append((start, end))
    return found
