"""The neighbours of a token that its probabilities come from, and where they are."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from spacy.tokens import Doc, Span
from spacy.vocab import Vocab

from spacy_btl.calibration.datastore import Datastore, LabelledRows
from spacy_btl.corpora.docbin import read_docs
from spacy_btl.errors import CalibratorError, CorpusError
from spacy_btl.mentions import OverlappingScheme
from spacy_btl.search.search import Search

CONTEXT_WORDS = 4


@dataclass(frozen=True)
class Neighbor:
    """A labelled token near another one.

    label (str): Its gold tag: its entity type or "O"; in a BIO pipeline "B-" or "I-" and the type.
        Where types decide for themselves, its tag for the type of the span: "O" if it is not of it.
    distance (float): Euclidean, between the raw logits.
    weight (float): Its share in the token's probabilities by neighbours: 1 / k.
    document (int): Number of its document, from 0 in the corpus that the calibrator was fitted to.
    start (int): Character offset in the document at which it starts.
    end (int): Character offset behind its end.
    """

    label: str
    distance: float
    weight: float
    document: int
    start: int
    end: int


@dataclass(frozen=True)
class TokenExplanation:
    """The neighbours of one token.

    token (int): Its place in the doc, as `token.i`.
    neighbors (Tuple[Neighbor, ...]): The nearest first. None for a token that the encoder never
        saw, which is `O` by definition.
    """

    token: int
    neighbors: tuple[Neighbor, ...]


def explain_span(
    span: Span, logits: NDArray[np.float32], datastore: Datastore, *, search: Search, k: int
) -> list[TokenExplanation]:
    """The neighbours of each token of a span, in their order; white space is left out.

    logits (float32 [T, C]): The raw logits of the span's doc.
    search (Search): Fitted to the datastore's logits.
    RAISES: CalibratorError, where types decide for themselves, for a span of no known type.
    """
    names, tags = _tags_of(span.label_, datastore)
    tokens = [token.i for token in span if not token.is_space]
    seen = [i for i in tokens if logits[i].any()]
    neighbors: dict[int, tuple[Neighbor, ...]] = {}
    if seen:
        distances, rows = search.query(logits[seen][:, : datastore.logits.shape[1]], k)
        for i, *columns in zip(seen, distances, rows, strict=True):
            neighbors[i] = tuple(
                Neighbor(
                    label=names[tags[row]],
                    distance=float(distance),
                    weight=1 / k,
                    document=int(datastore.documents[row]),
                    start=int(datastore.starts[row]),
                    end=int(datastore.ends[row]),
                )
                for distance, row in zip(*columns, strict=True)
            )
    return [TokenExplanation(i, neighbors.get(i, ())) for i in tokens]


def _tags_of(label: str, datastore: Datastore) -> tuple[tuple[str, ...], NDArray[np.integer]]:
    """The names of tags, and those of the rows as numbers [M]: with `spans_key`, of one type."""
    scheme = datastore.tag_scheme
    if not isinstance(scheme, OverlappingScheme):
        return scheme.tags, datastore.tags
    if label not in scheme.types:
        raise CalibratorError(
            f"A span of the type {label!r} cannot be explained: with spans_key the neighbours "
            f"decide type by type, and the calibrator knows {list(scheme.types)}."
        )
    number = scheme.types.index(label)
    return scheme.of_type(number).tags, datastore.tags[:, number]


def top_neighbors(explanations: Iterable[TokenExplanation], n: int) -> list[Neighbor]:
    """The neighbours that count most for a span.

    explanations (Iterable[TokenExplanation]): The span's tokens, from `KnnCalibrator.explain`.
    n (int): How many neighbours to give at most.
    RETURNS (List[Neighbor]): By weight, the heaviest first; of equal ones the nearest first. The
        weight is the mean over the tokens, the distance that to the nearest token.

    >>> from spacy_btl import top_neighbors
    >>> tokens = nlp.get_pipe("knn_calibrator").explain(doc.ents[0])
    >>> neighbors = top_neighbors(tokens, n=3)
    """
    explanations = [token for token in explanations if token.neighbors]
    found: defaultdict[tuple[int, int, int], list[Neighbor]] = defaultdict(list)
    for token in explanations:
        for neighbor in token.neighbors:
            found[neighbor.document, neighbor.start, neighbor.end].append(neighbor)
    merged = [
        replace(
            same[0],
            distance=min(neighbor.distance for neighbor in same),
            weight=sum(neighbor.weight for neighbor in same) / len(explanations),
        )
        for same in found.values()
    ]
    return sorted(merged, key=lambda neighbor: (-neighbor.weight, neighbor.distance))[:n]


def read_fitted_corpus(path: Path, vocab: Vocab, rows: LabelledRows) -> list[Doc]:
    """Read the corpus that a calibrator was fitted to, to look its neighbours up.

    path (Path): The `.spacy` file.
    rows (LabelledRows): What the calibrator keeps.
    RETURNS (List[Doc]): The docs in the order of their numbers.
    RAISES: CorpusError, for a file that cannot be read, or that is visibly another corpus.
    """
    docs = [doc for doc in read_docs(path, vocab) if len(doc)]  # as spaCy reads a corpus
    reason = ""
    if len(docs) <= rows.documents.max():
        reason = f"it has {len(docs)} documents, and the neighbours come from more"
    else:
        lengths = np.array([len(doc.text) for doc in docs])
        too_short = np.flatnonzero(rows.ends > lengths[rows.documents])
        if len(too_short):
            reason = f"neighbours lie beyond the end of its document {rows.documents[too_short[0]]}"
    if reason:
        raise CorpusError(
            f"{path}: not the corpus that the calibrator was fitted to: {reason}. Give the .spacy "
            "file that `python -m spacy btl calibrate` read."
        )
    return docs


def in_context(docs: list[Doc], neighbor: Neighbor) -> tuple[str, str, str]:
    """The text of a neighbour in its document.

    docs (List[Doc]): From `read_fitted_corpus`.
    RETURNS (Tuple[str, str, str]): A few words before it, the neighbour, and a few words behind;
        on one line.
    """
    text = docs[neighbor.document].text
    before = text[: neighbor.start].split()[-CONTEXT_WORDS:]
    after = text[neighbor.end :].split()[:CONTEXT_WORDS]
    return " ".join(before), text[neighbor.start : neighbor.end], " ".join(after)
