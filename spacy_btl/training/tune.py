"""Choose the settings of a calibrator: the best UAR at a bounded cost in F1."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from spacy.language import Language
from spacy.training import Corpus, Example

from spacy_btl.arrays import Probabilities
from spacy_btl.calibration.fit import fit_tokens
from spacy_btl.calibration.settings import TAUS, Settings
from spacy_btl.corpora.docbin import read_docs
from spacy_btl.corpora.patients import patient_numbers
from spacy_btl.errors import CalibratorError
from spacy_btl.pipeline.knn_calibrator import KnnCalibrator, find_calibrator
from spacy_btl.pipelines import forget_paths, load_pipeline, refuse_foreign_folder, save_whole
from spacy_btl.training.judge import Judge, Scores
from spacy_btl.training.trained_on import warn_of_trained_on
from spacy_btl.training.validation import Validation, validate

KNN_WEIGHTS = (0.0, 0.25, 0.5, 1.0)
TRANSITION_WEIGHTS = (0.0, 0.2, 0.35, 0.5)
CHOSEN = ("knn_weight", "tau", "transition_weight")


@dataclass(frozen=True)
class Tuned:
    """The chosen settings and their scores on the held-out documents.

    settings (Settings): The choice.
    plain (Scores): Of the network's argmax; with `spans_key`, of the mentions without neighbours
        and tau.
    chosen (Scores): Of the chosen settings.
    validation (Optional[Validation]): The gain on documents that the settings were not chosen on;
        None where that was not asked for, or with a single patient.
    overlapping (bool): Whether the scores of entities are those of all mentions, as with
        `spans_key`.
    """

    settings: Settings
    plain: Scores
    chosen: Scores
    validation: Validation | None = None
    overlapping: bool = False


def tune(model: str, corpus: Path, output: Path, *, tolerance: float = 0.01) -> Tuned:
    """Choose `knn_weight`, `tau` and `transition_weight` on held-out documents, and fit the maps.

    The settings have the greatest UAR of those that keep the token macro F1 of the network's
    argmax, and its strict entity micro F1 but for the tolerance. With `spans_key` it is compared
    with the mentions without neighbours and tau in place of the argmax. What such a choice is worth
    beside the pipeline's present settings is cross-validated over documents, or patients.

    model (str): A calibrated pipeline: a package name or a folder.
    corpus (Path): The `.spacy` file of documents that neither the network nor the calibrator had.
    output (Path): The folder to save to; it must be new, empty, or an earlier pipeline.
    tolerance (float): How much of entity micro F1 may be given up.
    RAISES: BtlError, where the model, the corpus or the output cannot be used.

    >>> from spacy_btl import tune
    >>> tuned = tune("calibrated", Path("held_out.spacy"), Path("tuned"))
    """
    refuse_foreign_folder(output)
    nlp = load_pipeline(model)
    calibrator = _calibrator(nlp, model)
    docs = [doc for doc in read_docs(corpus, nlp.vocab) if len(doc)]
    scheme = calibrator.calibrator.fitted_datastore().tag_scheme
    if not any(scheme.annotation(doc).mentions for doc in docs):
        raise CalibratorError(f"{corpus}: has no entity, so there is nothing to tune on.")
    warn_of_trained_on(nlp, docs, corpus)
    examples = Corpus(corpus).make_examples(nlp, docs)
    tuned = tune_calibrator(
        calibrator, examples, tolerance=tolerance, patients=patient_numbers(docs)
    )
    nlp.get_pipe_config(calibrator.name).update(
        {key: getattr(tuned.settings, key) for key in CHOSEN}
    )
    forget_paths(nlp)
    save_whole(nlp, output)
    return tuned


def tune_calibrator(
    pipe: KnnCalibrator,
    examples: Iterable[Example],
    *,
    tolerance: float = 0.01,
    patients: NDArray[np.int64] | None = None,
) -> Tuned:
    """Tune a fitted pipe in place, on examples.

    patients (Optional[int64 [D]]): The patient of each example, for the cross-validation; without
        there is none.
    """
    calibrator = pipe.calibrator
    held_out = pipe.read_held_out(examples)
    neighbors = calibrator.neighbors(held_out.logits[held_out.seen])
    p_knn = neighbors.p
    judge = Judge(held_out, calibrator.fitted_datastore(), tolerance)
    present = calibrator.settings
    tuned = choose(judge, p_knn, present)
    if patients is not None:
        found = validate(
            judge,
            p_knn,
            patients,
            present=present,
            choose=lambda part, p_part: choose(part, p_part, present).settings,
        )
        tuned = replace(tuned, validation=found)
    calibrator.settings = tuned.settings
    calibrator.fit_maps(held_out, neighbors)
    return tuned


def _calibrator(nlp: Language, model: str) -> KnnCalibrator:
    pipe = find_calibrator(nlp)
    if pipe is None or not len(pipe.calibrator.fitted_datastore().tags):
        raise CalibratorError(
            f"'{model}' has no fitted knn_calibrator among its pipes {nlp.pipe_names}: add one "
            "with `python -m spacy btl calibrate` first."
        )
    return pipe


def choose(judge: Judge, p_knn: Probabilities, present: Settings) -> Tuned:
    """Choose settings; `n_neighbors` stays, and so does `transition_weight` with `spans_key`, where
    mentions are chosen among candidates.

    p_knn (float64 [S, C]): Probabilities by the neighbours of the tokens that the encoder saw.
    """
    overlapping = judge.datastore.tag_scheme.overlapping
    token_map = fit_tokens(judge.held_out, p_knn, judge.datastore)
    by_weight = {}
    for weight in KNN_WEIGHTS:
        p = judge.probabilities(token_map, p_knn, weight)
        by_weight[weight] = p, judge.fit_mentions(p, replace(present, knn_weight=weight))

    def score(settings: Settings) -> Scores:
        p, mention_map = by_weight[settings.knn_weight]
        return judge.score(p, settings, mention_map)

    weights = (present.transition_weight,) if overlapping else TRANSITION_WEIGHTS
    plain = replace(present, knn_weight=0.0, tau=0.0)
    if not overlapping:
        plain = replace(plain, transition_weight=0.0)
    of_plain = score(plain)
    best = Tuned(plain, of_plain, of_plain, overlapping=overlapping)
    for knn_weight, transition_weight, tau in product(KNN_WEIGHTS, weights, TAUS):
        settings = replace(
            present, knn_weight=knn_weight, tau=tau, transition_weight=transition_weight
        )
        scores = score(settings)
        if scores.tag_uar > best.chosen.tag_uar and judge.allows(scores, of_plain):
            best = replace(best, settings=settings, chosen=scores)
    return best
