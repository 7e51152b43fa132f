"""How a calibrator decides, chosen on held-out documents: more rare types at a bounded price."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from spacy.language import Language
from spacy.training import Corpus, Example

from spacy_btl.calibration.fit import fit_maps, fit_tokens, mixed
from spacy_btl.calibration.votes import Probabilities
from spacy_btl.corpora.docbin import read_docs
from spacy_btl.corpora.patients import patient_numbers
from spacy_btl.errors import CalibratorError
from spacy_btl.pipeline.knn_calibrator import KnnCalibrator, find_calibrator
from spacy_btl.pipelines import forget_paths, load_pipeline, refuse_foreign_folder, save_whole
from spacy_btl.training.judge import Judge, Scores, Settings
from spacy_btl.training.trained_on import warn_of_trained_on
from spacy_btl.training.validation import Validation, validate

KNN_WEIGHTS = (0.0, 0.25, 0.5, 1.0)
TRANSITION_WEIGHTS = (0.0, 0.2, 0.35, 0.5)
# From those that favour the common types to those that favour the rare ones.
TAUS = tuple(round(-0.5 + 0.1 * i, 1) for i in range(21))


@dataclass(frozen=True)
class Tuned:
    """What was chosen, and what it is worth on the held-out documents.

    knn_weight (float), tau (float), transition_weight (float): The settings.
    plain (Scores): Of the network's arg-max: knn_weight = 0, tau = 0, transition_weight = 0.
    chosen (Scores): Of the settings.
    validation (Optional[Validation]): What settings that are chosen so are worth on documents that
        they were not chosen on. None where that was not asked, or of a single patient.
    """

    knn_weight: float
    tau: float
    transition_weight: float
    plain: Scores
    chosen: Scores
    validation: Validation | None = None

    @property
    def settings(self) -> Settings:
        """What was chosen."""
        return Settings(self.knn_weight, self.tau, self.transition_weight)


def tune(model: str, corpus: Path, output: Path, *, tolerance: float = 0.01) -> Tuned:
    """Choose `knn_weight`, `tau` and `transition_weight` on held-out documents, and fit the maps for them.

    The settings have the greatest UAR of those that keep the token macro F1 of the network's
    arg-max, and its strict entity micro F1 but for the tolerance. What such a choice is worth
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
    if not any(doc.ents for doc in docs):
        raise CalibratorError(f"{corpus}: has no entity, so there is nothing to tune on.")
    warn_of_trained_on(nlp, docs, corpus)
    examples = Corpus(corpus).make_examples(nlp, docs)
    tuned = tune_calibrator(
        calibrator, examples, tolerance=tolerance, patients=patient_numbers(docs)
    )
    nlp.get_pipe_config(calibrator.name).update(
        {key: getattr(tuned, key) for key in ("knn_weight", "tau", "transition_weight")}
    )
    forget_paths(nlp)
    save_whole(nlp, output)
    return tuned


def tune_calibrator(
    calibrator: KnnCalibrator,
    examples: Iterable[Example],
    *,
    tolerance: float = 0.01,
    patients: NDArray[np.int64] | None = None,
) -> Tuned:
    """The same for a fitted calibrator in place, by examples.

    patients (Optional[int64 [D]]): The patient of each example, for the cross-validation; without
        there is none.
    """
    store = calibrator.fitted_store()
    held_out = calibrator.read_held_out(examples)
    p_knn = calibrator.neighbor_probabilities(held_out.logits[held_out.seen])
    judge = Judge(held_out, store, tolerance)
    tuned = choose(judge, p_knn)
    if patients is not None:
        present = Settings(calibrator.knn_weight, calibrator.tau, calibrator.transition_weight)
        found = validate(
            judge, p_knn, patients, present=present, choose=lambda *seen: choose(*seen).settings
        )
        tuned = replace(tuned, validation=found)
    calibrator.knn_weight, calibrator.tau = tuned.knn_weight, tuned.tau
    calibrator.transition_weight = tuned.transition_weight
    calibrator.maps = fit_maps(
        held_out,
        p_knn if tuned.knn_weight else None,
        store=store,
        settings=calibrator.settings,
    )
    return tuned


def _calibrator(nlp: Language, model: str) -> KnnCalibrator:
    calibrator = find_calibrator(nlp)
    if calibrator is None or not len(calibrator.fitted_store().tags):
        raise CalibratorError(
            f"'{model}' has no fitted knn_calibrator among its pipes {nlp.pipe_names}: add one "
            "with `python -m spacy btl calibrate` first."
        )
    return calibrator


def choose(judge: Judge, p_knn: Probabilities) -> Tuned:
    """Choose settings.

    p_knn (float64 [S, C]): What the neighbours say of the tokens that the encoder saw.
    """
    token_map = fit_tokens(judge.held_out, p_knn, prior=judge.store.prior)
    by_weight = {
        knn_weight: mixed(judge.held_out, p_knn if knn_weight else None, token_map, knn_weight)
        for knn_weight in KNN_WEIGHTS
    }
    plain = judge.score(by_weight[0.0], 0.0, 0.0)
    best = Tuned(0.0, 0.0, 0.0, plain, plain)
    for (knn_weight, p), transition_weight, tau in product(
        by_weight.items(), TRANSITION_WEIGHTS, TAUS
    ):
        best = _better(judge, best, knn_weight, p, tau, transition_weight)
    return best


def _better(
    judge: Judge,
    best: Tuned,
    knn_weight: float,
    p: Probabilities,
    tau: float,
    transition_weight: float,
) -> Tuned:
    scores = judge.score(p, tau, transition_weight)
    if scores.uar > best.chosen.uar and judge.allows(scores, best.plain):
        return Tuned(knn_weight, tau, transition_weight, best.plain, scores)
    return best
