"""From class probabilities to the entities of docs and their confidence."""

from collections.abc import Sequence
from operator import getitem

import numpy as np
from spacy.tokens import Doc, Span

from spacy_btl.arrays import Probabilities
from spacy_btl.calibration.calibrator import Calibrator
from spacy_btl.calibration.candidates import Words
from spacy_btl.calibration.decisions import Tau
from spacy_btl.lines import read_lines
from spacy_btl.tags import Runs


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
    # White space has no tag of its own: the words on both sides of it follow each other.
    lines = list(map(read_lines, docs))
    places, breaks, short = zip(*lines, strict=True)
    n_words = list(map(len, places))
    documents = np.repeat(np.arange(len(docs)), n_words)
    words = Words(documents, np.concatenate(breaks), np.concatenate(short))
    p_words = np.concatenate(list(map(getitem, probabilities, places)))
    scheme = calibrator.fitted_datastore().tag_scheme
    runs, confidences = calibrator.find_entities(p_words, words, tau=tau)
    starts = np.cumsum([0, *n_words])
    borders = np.searchsorted(runs.first, starts)
    decoded = []
    for number, (doc, of_doc) in enumerate(zip(docs, lines, strict=True)):
        first, last, types = runs.take(of_one := np.arange(*borders[number : number + 2]))
        of_doc_runs = Runs(first - starts[number], last - starts[number], types)
        decoded.append((scheme.spans(doc, of_doc_runs, of_doc), confidences[of_one].tolist()))
    return decoded
