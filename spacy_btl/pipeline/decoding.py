"""From class probabilities to the entities of docs and their confidence."""

from collections.abc import Sequence
from operator import getitem
from typing import NamedTuple

import numpy as np
from spacy.tokens import Doc, Span

from spacy_btl.arrays import Probabilities
from spacy_btl.calibration.calibrator import Calibrator
from spacy_btl.calibration.candidates import Words
from spacy_btl.calibration.decisions import Tau
from spacy_btl.calibration.mention_map import Found
from spacy_btl.lines import Lines, read_lines
from spacy_btl.tags import Runs


class Decided(NamedTuple):
    """What is decided of the words of docs, white space left out.

    lines (Sequence[Lines]): The words of each doc.
    words (Words): Of all docs; they are numbered from 0.
    p (float64 [N, C]): The probabilities of the words.
    found (Found): Their entities.
    spans (List[Tuple[List[Span], List[float]]]): The entities of each doc, and their confidence.
    """

    lines: Sequence[Lines]
    words: Words
    p: Probabilities
    found: Found
    spans: list[tuple[list[Span], list[float]]]


def decode(
    docs: Sequence[Doc],
    probabilities: Sequence[Probabilities],
    calibrator: Calibrator,
    *,
    tau: Tau | None = None,
) -> list[tuple[list[Span], list[float]]]:
    """Decide the entities of docs. Changes nothing on them.

    probabilities (Sequence[float64 [T, C]]): Probabilities of their tokens, as
        `Calibrator.predict_proba` returns them.
    calibrator (Calibrator): A fitted one.
    tau (Optional[float | Dict[str, float]]): In place of the calibrator's own.
    RETURNS (List[Tuple[List[Span], List[float]]]): For each doc entities, and the confidence of
        each, see `Calibrator.find_entities`.
    RAISES: CalibratorError, while unfitted, or if tau names a type that is not known.
    """
    if not docs:
        return []
    return decide_docs(docs, probabilities, calibrator, tau=tau).spans


def decide_docs(
    docs: Sequence[Doc],
    probabilities: Sequence[Probabilities],
    calibrator: Calibrator,
    *,
    tau: Tau | None = None,
) -> Decided:
    """Decide the entities of one or more docs, as `decode` does, and keep how."""
    # White space has no tag of its own: the words on both sides of it follow each other.
    lines = list(map(read_lines, docs))
    places, breaks, short = zip(*lines, strict=True)
    n_words = list(map(len, places))
    documents = np.repeat(np.arange(len(docs)), n_words)
    words = Words(documents, np.concatenate(breaks), np.concatenate(short))
    p_words = np.concatenate(list(map(getitem, probabilities, places)))
    scheme = calibrator.fitted_datastore().tag_scheme
    found = calibrator.find_entities(p_words, words, tau=tau)
    runs, confidences = found.runs, found.confidences
    starts = np.cumsum([0, *n_words])
    borders = np.searchsorted(runs.first, starts)
    decoded = []
    for number, (doc, of_doc) in enumerate(zip(docs, lines, strict=True)):
        first, last, types = runs.take(of_one := np.arange(*borders[number : number + 2]))
        of_doc_runs = Runs(first - starts[number], last - starts[number], types)
        decoded.append((scheme.spans(doc, of_doc_runs, of_doc), confidences[of_one].tolist()))
    return Decided(lines, words, p_words, found, decoded)
