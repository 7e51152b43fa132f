"""How a calibrator decides, chosen on held-out documents: more rare types at a bounded price."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
from spacy.language import Language
from spacy.training import Corpus, Example

from spacy_btl.corpora.docbin import read_docs
from spacy_btl.errors import CalibratorError
from spacy_btl.neighbors.store import Store
from spacy_btl.neighbors.votes import Probabilities
from spacy_btl.pipeline.confidence import decide_held_out, fit_maps, fit_tokens, mixed
from spacy_btl.pipeline.files import forget_paths, load_pipeline, refuse_foreign_folder, save_whole
from spacy_btl.pipeline.held_out import HeldOut, read_entities
from spacy_btl.pipeline.knn_calibrator import KnnCalibrator, find_calibrator
from spacy_btl.pipeline.trained_on import warn_of_trained_on
from spacy_btl.tags import MISSING, TagScheme

MIXES = (0.0, 0.25, 0.5, 1.0)
TRANSITIONS = (0.0, 0.2, 0.35, 0.5)
# From those that favour the common types to those that favour the rare ones.
TAUS = tuple(round(-0.5 + 0.1 * i, 1) for i in range(21))


class Scores(NamedTuple):
    """Figures on the held-out documents, from 0 to 1.

    uar (float): Mean token recall of the classes in the annotation, `O` among them.
    token_macro_f (float): Their mean token F1.
    entity_micro_f (float): F1 of entities, boundaries and type right.
    """

    uar: float
    token_macro_f: float
    entity_micro_f: float


@dataclass(frozen=True)
class Tuned:
    """What was chosen, and what it is worth on the held-out documents.

    mix (float), tau (float), transitions (float): The settings.
    plain (Scores): Of the network's arg-max: mix = 0, tau = 0, transitions = 0.
    chosen (Scores): Of the settings.
    """

    mix: float
    tau: float
    transitions: float
    plain: Scores
    chosen: Scores


@dataclass(frozen=True)
class Judge:
    """Scores decisions on held-out documents, and says which of them are good enough.

    tolerance (float): How far entity micro F1 may fall below that of the network's arg-max. Token
        macro F1 may not fall.
    """

    held_out: HeldOut
    store: Store
    tolerance: float

    @property
    def scheme(self) -> TagScheme:
        """The tags."""
        return TagScheme(self.store.labels, self.store.scheme)

    def score(self, p: Probabilities, tau: float, transitions: float) -> Scores:
        """Score the decisions by probabilities [N, C]."""
        tags = decide_held_out(self.held_out, p, self.store, tau, transitions)
        scored = self.held_out.tags != MISSING
        tag_types, n_types = self.scheme.tag_types, len(self.scheme.types)
        gold, found = tag_types[self.held_out.tags[scored]], tag_types[tags[scored]]
        n_right, n_gold, n_found = (
            np.bincount(types, minlength=n_types + 1).astype("float64")
            for types in (gold[gold == found], gold, found)
        )
        held = n_gold > 0
        entities = read_entities(self.held_out, tags, p, scheme=self.scheme)
        n_ents = len(self.held_out.gold_ents) + len(entities.right)
        return Scores(
            uar=float((n_right[held] / n_gold[held]).mean()),
            token_macro_f=float((2 * n_right[held] / (n_gold + n_found)[held]).mean()),
            entity_micro_f=2 * int(entities.right.sum()) / max(n_ents, 1),
        )

    def allows(self, scores: Scores, plain: Scores) -> bool:
        """Whether scores keep what the network's arg-max has."""
        return (
            scores.token_macro_f >= plain.token_macro_f
            and scores.entity_micro_f >= plain.entity_micro_f - self.tolerance
        )


def tune(model: str, corpus: Path, output: Path, *, tolerance: float = 0.01) -> Tuned:
    """Choose `mix`, `tau` and `transitions` on held-out documents, and fit the maps for them.

    The settings have the greatest UAR of those that keep the token macro F1 of the network's
    arg-max, and its strict entity micro F1 but for the tolerance.

    model (str): A calibrated pipeline: a package name or a folder.
    corpus (Path): The `.spacy` file of documents that neither the network nor the calibrator had.
    output (Path): The folder to save to; it must be new, empty, or an earlier pipeline.
    tolerance (float): How much of entity micro F1 may be given up.
    RAISES: BtlError, where the model, the corpus or the output cannot be used.
    """
    refuse_foreign_folder(output)
    nlp = load_pipeline(model)
    calibrator = _calibrator(nlp, model)
    docs = read_docs(corpus, nlp.vocab)
    if not any(doc.ents for doc in docs):
        raise CalibratorError(f"{corpus}: has no entity, so there is nothing to tune on.")
    warn_of_trained_on(nlp, docs, corpus)
    examples = Corpus(corpus).make_examples(nlp, docs)
    tuned = tune_calibrator(calibrator, examples, tolerance=tolerance)
    nlp.get_pipe_config(calibrator.name).update(
        {key: getattr(tuned, key) for key in ("mix", "tau", "transitions")}
    )
    forget_paths(nlp)
    save_whole(nlp, output)
    return tuned


def tune_calibrator(
    calibrator: KnnCalibrator,
    examples: Iterable[Example],
    *,
    tolerance: float = 0.01,
) -> Tuned:
    """The same for a fitted calibrator in place, by examples."""
    store = calibrator.fitted_store()
    held_out = calibrator.read_held_out(examples)
    p_knn = calibrator.neighbor_probabilities(held_out.logits[held_out.seen])
    judge = Judge(held_out, store, tolerance)
    tuned = choose(judge, p_knn)
    calibrator.mix, calibrator.tau = tuned.mix, tuned.tau
    calibrator.transitions = tuned.transitions
    calibrator.maps = fit_maps(
        held_out,
        p_knn if tuned.mix else None,
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
    by_mix = {mix: mixed(judge.held_out, p_knn if mix else None, token_map, mix) for mix in MIXES}
    plain = judge.score(by_mix[0.0], 0.0, 0.0)
    best = Tuned(0.0, 0.0, 0.0, plain, plain)
    for (mix, p), transitions, tau in product(by_mix.items(), TRANSITIONS, TAUS):
        best = _better(judge, best, mix, p, tau, transitions)
    return best


def _better(
    judge: Judge, best: Tuned, mix: float, p: Probabilities, tau: float, transitions: float
) -> Tuned:
    scores = judge.score(p, tau, transitions)
    if scores.uar > best.chosen.uar and judge.allows(scores, best.plain):
        return Tuned(mix, tau, transitions, best.plain, scores)
    return best
