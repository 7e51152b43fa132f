"""Whether the confidence of a pipeline is calibrated. It needs nothing that only training does."""

from spacy.language import Language

from spacy_btl.pipeline.knn_calibrator import find_calibrator

USE_CALIBRATE = "Use `python -m spacy btl calibrate --held-out`."


def uncalibrated(nlp: Language) -> str:
    """Why the confidence of a pipeline is not calibrated, and what to do; empty if it is."""
    pipe = find_calibrator(nlp)
    if pipe is None:
        return f"there is no fitted knn_calibrator, which computes it. {USE_CALIBRATE}"
    if pipe.calibrator.maps is None:
        return (
            "its knn_calibrator was fitted without held-out documents, so it is likely too high. "
            + USE_CALIBRATE
        )
    return ""
