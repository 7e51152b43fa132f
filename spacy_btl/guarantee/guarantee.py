"""Set a calibrated pipeline so that what is promised of it holds with a stated probability."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Corpus
from thinc.api import Config

from spacy_btl.calibration.calibrator import Calibrator
from spacy_btl.calibration.fit import fit_entities
from spacy_btl.calibration.settings import Settings
from spacy_btl.corpora.docbin import read_docs
from spacy_btl.corpora.groups import group_numbers
from spacy_btl.errors import GuaranteeError, counted
from spacy_btl.guarantee.asked import Asked
from spacy_btl.guarantee.choosing import Chosen, Notes, choose_settings
from spacy_btl.guarantee.promises import Promise, write_promises
from spacy_btl.guarantee.tally import Match
from spacy_btl.pipeline.knn_calibrator import KnnCalibrator, find_calibrator
from spacy_btl.pipelines import forget_paths, load_pipeline, refuse_foreign_folder, save_whole
from spacy_btl.training.trained_on import had_before


def guarantee_pipeline(
    model: str,
    corpus: Path,
    output: Path,
    *,
    recall: Mapping[str, float] | None = None,
    precision: Mapping[str, float] | None = None,
    risk: float = 0.05,
    match: Match = "overlap",
) -> list[Chosen]:
    """Choose tau, or the least confidence, of some types, so that their recall, or precision, is at
    least what is asked, and save the pipeline with that promise.

    Each promise by itself is wrong with probability `risk` at most, over the drawing of the
    calibration documents, if new ones are drawn alike. It is of the mean over the documents
    (patients, where the corpus names them) that have annotated mentions of the type, or predicted
    ones. Settings are certified by Learn then Test (Angelopoulos et al. 2021), and the cheapest of
    those that are is taken.

    model (str): A calibrated pipeline: a package name or a folder. Earlier promises are replaced.
    corpus (Path): The `.spacy` file of annotated documents that the pipeline never had.
    output (Path): The folder to save to; it must be new, empty, or an earlier pipeline.
    recall, precision (Optional[Mapping[str, float]]): The levels by type, between 0 and 1. A type
        is in one of the two. Without `spans_key` types compete, and there is one of the two only.
    risk (float): Between 0 and 1.
    match (str): "overlap" or "strict", see `tally.tally`.
    RAISES: BtlError, where the model, the corpus, the output or what is asked cannot be used, or a
        level cannot be certified: the error says which can, and about how many notes it takes.

    >>> from spacy_btl import guarantee_pipeline
    >>> notes = Path("unseen.spacy")
    >>> chosen = guarantee_pipeline("calibrated", notes, Path("safe"), recall={"Sign": 0.8})
    """
    refuse_foreign_folder(output)
    asked = Asked(dict(recall or {}), dict(precision or {}), risk, match)
    nlp = load_pipeline(model)
    pipe = _calibrator(nlp, model)
    docs = [doc for doc in read_docs(corpus, nlp.vocab) if len(doc)]
    documents = _documents(nlp, docs, corpus)
    held_out = pipe.read_held_out(Corpus(corpus).make_examples(nlp, docs))
    p = pipe.calibrator.predict_proba(held_out.logits)
    notes = Notes(held_out, p, documents, corpus.name)
    chosen = choose_settings(pipe.calibrator, notes, asked)
    if asked.recall:
        _refit_confidence(pipe.calibrator, notes)
    pipe.calibrator.fit_reference(held_out)  # other settings find other mentions
    settings = pipe.calibrator.settings
    _check_names(settings)
    nlp.get_pipe_config(pipe.name).update(tau=settings.tau, min_confidence=settings.min_confidence)
    date = datetime.now(UTC).date().isoformat()
    promises = [
        Promise(
            label=one.label,
            kind=one.kind,
            level=one.level,
            risk=risk,
            match=match,
            documents=one.documents,
            seen=one.seen,
            corpus=corpus.name,
            date=date,
        )
        for one in chosen
    ]
    write_promises(nlp, pipe, promises)
    forget_paths(nlp)
    save_whole(nlp, output)
    return chosen


def _calibrator(nlp: Language, model: str) -> KnnCalibrator:
    """The calibrator that decides the mentions of a pipeline.

    RAISES: GuaranteeError, if there is none, or another pipe writes entities too.
    """
    pipe = find_calibrator(nlp)
    if pipe is None:
        raise GuaranteeError(
            f"'{model}' has no fitted knn_calibrator among its pipes {nlp.pipe_names}: add one "
            "with `python -m spacy btl calibrate` first."
        )
    others = [
        name
        for name in nlp.pipe_names
        if name not in (pipe.ner, pipe.name) and "doc.ents" in nlp.get_pipe_meta(name).assigns
    ]
    if others and not pipe.calibrator.fitted_datastore().tag_scheme.overlapping:
        raise GuaranteeError(
            f"'{model}': the pipes {others} write entities too, and the calibrator does not decide "
            "which of them are left. Take these pipes out."
        )
    return pipe


def _documents(nlp: Language, docs: Sequence[Doc], corpus: Path) -> NDArray[np.int64]:
    """Number what is drawn independently: patients, and copies of one text; int64 [D].

    RAISES: GuaranteeError, for fewer than two, and for documents that the pipeline had before.
    """
    had = int(had_before(nlp, docs).sum())
    if had:
        raise GuaranteeError(
            f"{corpus}: {had:,} of {counted(len(docs), 'document')} are among those that the "
            "pipeline was trained or fitted on, where it is better than on new ones. Leave them "
            "out."
        )
    documents = group_numbers(docs)
    if documents.max(initial=-1) < 1:
        raise GuaranteeError(
            f"{corpus}: has one document, or those of one patient, or none. Nothing follows from "
            "that for others: give more."
        )
    return documents


def _refit_confidence(calibrator: Calibrator, notes: Notes) -> None:
    """Fit the confidence of entities to the new tau. That of overlapping mentions does not depend
    on it, and none of those that are promised is left out by its confidence where tau changes."""
    maps, settings = calibrator.maps, calibrator.settings
    if maps is not None and not maps.hold_for(settings):
        fitted = fit_entities(notes.held_out, notes.p, calibrator.fitted_datastore(), settings)
        calibrator.maps = replace(maps, confidence=fitted, settings=replace(settings))


def _check_names(settings: Settings) -> None:
    """RAISES: GuaranteeError, for types whose names a config cannot hold as keys: thinc would save
    others in their place."""
    block = {"tau": settings.tau, "min_confidence": settings.min_confidence}
    try:
        kept = Config().from_str(Config({"calibrator": block}).to_str())["calibrator"]
    except ValueError:
        kept = None
    if kept != block:
        raise GuaranteeError(
            "A type's name holds a sign that a config cannot have in a key (such as ':', '=', '#' "
            "or '['), so settings per type cannot be saved. Rename the type and train again."
        )
