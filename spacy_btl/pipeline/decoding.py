"""From class probabilities to the entities of docs and their confidence."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from spacy.tokens import Doc, Span

from spacy_btl.arrays import Probabilities
from spacy_btl.calibration.calibrator import Calibrator
from spacy_btl.calibration.decisions import Tau
from spacy_btl.lines import Lines, read_lines
from spacy_btl.tags import TagScheme


def decode(
    docs: Sequence[Doc],
    probabilities: Sequence[Probabilities],
    calibrator: Calibrator,
    *,
    tau: Tau | None = None,
) -> list[tuple[list[Span], list[float]]]:
    """Decide the entities of docs. Changes nothing on them.

    probabilities (Sequence[float64 [T, C]]): Probabilities of the tags of their tokens; [T, K, S]
        where each of K types decides for itself.
    calibrator (Calibrator): A fitted one.
    tau (Optional[float | Dict[str, float]]): In place of the calibrator's own.
    RETURNS (List[Tuple[List[Span], List[float]]]): For each doc entities, and the confidence of
        each: from the minimum, over its words, of the probability of its type. The shifted scores
        that decide do not count. Those below `min_confidence` are left out.
    RAISES: CalibratorError, while unfitted, or if tau names a type that is not known.
    """
    if not docs:
        return []
    # White space has no tag of its own: the words on both sides of it follow each other.
    lines = list(map(read_lines, docs))
    scheme = calibrator.fitted_datastore().tag_scheme
    n_words, p_words = [], []
    for p, of_doc in zip(probabilities, lines, strict=True):
        n_words.append(len(of_doc.words))
        p_words.append(p[of_doc.words])
    documents = np.repeat(np.arange(len(docs)), n_words)
    tags = calibrator.decide(np.concatenate(p_words), documents=documents, tau=tau)
    decoded, borders = [], np.cumsum(n_words)[:-1]
    for doc, of_doc, p, doc_tags in zip(docs, lines, p_words, np.split(tags, borders), strict=True):
        spans = scheme.decode(doc, doc_tags, of_doc)
        minima = span_probabilities(spans, p, of_doc, scheme)
        confidences = calibrator.confidence(minima)
        kept = np.flatnonzero(confidences >= calibrator.settings.min_confidence)
        decoded.append(([spans[i] for i in kept], confidences[kept].tolist()))
    return decoded


def span_probabilities(
    spans: Sequence[Span], p: NDArray[np.floating], lines: Lines, scheme: TagScheme
) -> NDArray[np.floating]:
    """The minimum, over the words of each of P spans, of the probability of its type: float64 [P].

    p (float [W, C], or [W, K, S]): Those of the words.
    lines (Lines): Of the doc of the spans.
    """
    of_types = scheme.type_probabilities(p)
    numbers = {label: number for number, label in enumerate(scheme.types)}
    minima = np.ones(len(spans))
    for i, span in enumerate(spans):
        first, end = np.searchsorted(lines.words, (span.start, span.end))
        # The sum over the tags of a type may round to more than 1.
        minima[i] = min(1.0, of_types[first:end, numbers[span.label_]].min())
    return minima
