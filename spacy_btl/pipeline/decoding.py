"""From class probabilities to the entities of docs and their confidence."""

from collections.abc import Sequence
from itertools import compress

import numpy as np
from spacy.tokens import Doc, Span

from spacy_btl.arrays import Probabilities
from spacy_btl.calibration.calibrator import Calibrator
from spacy_btl.calibration.decisions import Tau
from spacy_btl.lines import read_lines


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
        minima = scheme.span_probabilities(spans, p, of_doc)
        confidences = calibrator.confidence(minima)
        kept = confidences >= calibrator.settings.min_confidence
        decoded.append((list(compress(spans, kept)), confidences[kept].tolist()))
    return decoded
