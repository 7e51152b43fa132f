"""Fit the calibration maps of a pipeline again for notes of another source. The network and the
datastore stay."""

from pathlib import Path

import numpy as np
from spacy.language import Language
from spacy.training import Corpus

from spacy_btl.corpora.docbin import read_docs
from spacy_btl.errors import AnnotateError, CalibratorError
from spacy_btl.notes.notes import read_notes, scan_notes
from spacy_btl.pipeline.knn_calibrator import KnnCalibrator, find_calibrator
from spacy_btl.pipeline.unlike import find_reference
from spacy_btl.pipelines import forget_paths, load_pipeline, refuse_foreign_folder, save_whole
from spacy_btl.shift.check import read_facts
from spacy_btl.training.trained_on import warn_of_trained_on

NO_MAPS = (
    "'{model}' has no calibration maps to start from: fit them with "
    "`python -m spacy btl calibrate --held-out`."
)


def recalibrate(model: str, corpus: Path, output: Path) -> Language:
    """Fit the maps again to a few annotated notes of another source, near the earlier maps.

    Each coefficient has a Gaussian prior around its earlier value, so that few notes change what
    they tell most about. What other notes are compared with are these notes from now on.

    model (str): A calibrated pipeline: a package name or a folder.
    corpus (Path): The `.spacy` file of the notes; 5 to 20 are enough.
    output (Path): The folder to save to; it must be new, empty, or an earlier pipeline.
    RAISES: BtlError, where the model, the corpus or the output cannot be used.

    >>> from spacy_btl import recalibrate
    >>> nlp = recalibrate("mapped", Path("held_out.spacy"), Path("recalibrated"))
    """
    refuse_foreign_folder(output)
    nlp = load_pipeline(model)
    pipe = _pipe(nlp, model)
    docs = [doc for doc in read_docs(corpus, nlp.vocab) if len(doc)]
    warn_of_trained_on(nlp, docs, corpus)
    held_out = pipe.read_held_out(Corpus(corpus).make_examples(nlp, docs))
    pipe.calibrator.fit_maps(held_out, near=pipe.calibrator.maps)
    forget_paths(nlp)
    save_whole(nlp, output)
    return nlp


def recalibrate_unannotated(
    model: str, notes: Path, output: Path, *, text_column: str = "text", id_column: str = "id"
) -> float:
    """Change the prior of confidence to that of notes without annotation.

    What is found stays, and so does the order of confidence; see `unlike.prior_shift`. Other notes
    cannot be compared with these: nobody knows how many of their mentions are correct.

    notes (Path): See `read_notes`.
    RETURNS (float): What was added to the log odds of a mention.
    RAISES: BtlError, as `recalibrate`, or if no note can be read.

    >>> from spacy_btl import recalibrate_unannotated
    >>> shift = recalibrate_unannotated("mapped", Path("notes"), Path("shifted"))
    """
    from spacy_btl.calibration.unlike import prior_shift, shift_prior

    refuse_foreign_folder(output)
    nlp = load_pipeline(model)
    calibrator = _pipe(nlp, model).calibrator
    _, reference = find_reference(nlp, model)
    scan_notes(read_notes(notes, text_column=text_column, id_column=id_column), notes)
    read = read_notes(notes, text_column=text_column, id_column=id_column)
    rows = [row for found, _ in read_facts(nlp, read, nlp.batch_size) for row in found]
    if not rows:
        raise AnnotateError(f"{notes}: no note can be read.")
    shift = prior_shift(reference, np.array(rows))
    if calibrator.maps is not None:
        calibrator.maps = shift_prior(calibrator.maps, shift)
    calibrator.reference = None
    forget_paths(nlp)
    save_whole(nlp, output)
    return shift


def _pipe(nlp: Language, model: str) -> KnnCalibrator:
    pipe = find_calibrator(nlp)
    if pipe is None or pipe.calibrator.maps is None:
        raise CalibratorError(NO_MAPS.format(model=model))
    return pipe
