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
from spacy_btl.tags import Runs, TagScheme


class Decided(NamedTuple):
    """What is decided of the words of docs, white space left out.

    lines (Sequence[Lines]): The words of each doc.
    words (Words): Of all docs; they are numbered from 0.
    p (float64 [N, C]): The probabilities of the words.
    found (Found): Their entities.
    """

    lines: Sequence[Lines]
    words: Words
    p: Probabilities
    found: Found


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
    decided = decide_docs(docs, probabilities, calibrator, tau=tau)
    return spans_of(docs, decided, calibrator.fitted_datastore().tag_scheme)


def decide_docs(
    docs: Sequence[Doc],
    probabilities: Sequence[Probabilities],
    calibrator: Calibrator,
    *,
    tau: Tau | None = None,
) -> Decided:
    """The first half of `decode`: the entities of one or more docs as arrays."""
    # White space has no tag of its own: the words on both sides of it follow each other.
    lines = list(map(read_lines, docs))
    places, breaks, short = zip(*lines, strict=True)
    n_words = list(map(len, places))
    documents = np.repeat(np.arange(len(docs)), n_words)
    words = Words(documents, np.concatenate(breaks), np.concatenate(short))
    p_words = np.concatenate(list(map(getitem, probabilities, places)))
    return Decided(lines, words, p_words, calibrator.find_entities(p_words, words, tau=tau))


def spans_of(
    docs: Sequence[Doc], decided: Decided, scheme: TagScheme
) -> list[tuple[list[Span], list[float]]]:
    """The second half of `decode`: the spans of each doc and their confidence."""
    runs, confidences = decided.found.runs, decided.found.confidences
    starts = np.cumsum([0, *(len(of_doc.words) for of_doc in decided.lines)])
    borders = np.searchsorted(runs.first, starts)
    decoded = []
    for number, (doc, of_doc) in enumerate(zip(docs, decided.lines, strict=True)):
        first, last, types = runs.take(of_one := np.arange(*borders[number : number + 2]))
        of_doc_runs = Runs(first - starts[number], last - starts[number], types)
        decoded.append((scheme.spans(doc, of_doc_runs, of_doc), confidences[of_one].tolist()))
    return decoded
