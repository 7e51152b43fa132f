"""Whether docs are like the held-out documents that a pipeline's calibrator knows."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from spacy.language import Language
from spacy.tokens import Doc

from spacy_btl.calibration.reference import Reference
from spacy_btl.errors import CalibratorError, counted
from spacy_btl.pipeline.annotations import FACTS
from spacy_btl.pipeline.knn_calibrator import KnnCalibrator, find_calibrator

if TYPE_CHECKING:
    from spacy_btl.calibration.unlike import Comparison

NAMED = 3  # features that are named in a sentence


def find_reference(nlp: Language, model: str) -> tuple[KnnCalibrator, Reference]:
    """The calibrator of a pipeline, and the held-out documents that it knows.

    RAISES: CalibratorError, without either.
    """
    pipe = find_calibrator(nlp)
    reference = None if pipe is None else pipe.calibrator.reference
    if pipe is None or reference is None:
        raise CalibratorError(
            f"'{model}' does not know what its own notes are like: it has no calibration maps, or "
            "was saved by an earlier version. Fit them again with "
            "`python -m spacy btl calibrate --held-out`."
        )
    return pipe, reference


def unlike_source(nlp: Language, facts: Sequence[Sequence[float]]) -> str:
    """How notes are unlike the pipeline's own, in a sentence; empty if they are alike, or that
    cannot be known.

    facts (Sequence[Sequence[float]]): Their rows.
    """
    pipe = find_calibrator(nlp)
    reference = None if pipe is None else pipe.calibrator.reference
    rows = np.array(facts)
    if pipe is None or reference is None or not len(rows) or not rows[:, 0].any():
        return ""
    from spacy_btl.calibration.unlike import compare  # scipy is not for prediction

    comparison = compare(reference, rows, pipe.calibrator.fitted_datastore().labels)
    return said(comparison) if comparison.unlike else ""


def said(comparison: "Comparison") -> str:
    """A comparison in a sentence or two, which quote nothing of a note."""
    what = f"{counted(comparison.notes, 'note')}"
    known = f"{counted(comparison.held_out, 'held-out document')} of the pipeline's source"
    if not comparison.unlike:
        return f"The {what} are like the {known} (p = {comparison.p_value:.3f})."
    names = [
        f"{one.feature} ({one.before:.3g} there, {one.now:.3g} here)"
        for one in comparison.differences[:NAMED]
    ]
    return (
        f"The {what} are unlike the {known} (p = {comparison.p_value:.4f}): {'; '.join(names)}. "
        f"Of their mentions about {comparison.expected:.0%} are expected to be correct, and "
        f"{comparison.accuracy:.0%} were there. Do not rely on their confidence."
    )


def is_far(pipe: KnnCalibrator, doc: Doc) -> bool:
    """Whether a doc of the pipeline is far from all that its calibrator knows; never where that
    knows no held-out documents."""
    from spacy_btl.calibration import unlike  # scipy is not for prediction

    reference = pipe.calibrator.reference
    if reference is None or FACTS not in doc.user_data:
        return False
    return unlike.is_far(reference, doc.user_data[FACTS])
