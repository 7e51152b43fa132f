"""Fitting calibration maps to held-out documents, and trying settings on them."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from spacy_btl.arrays import Probabilities
from spacy_btl.calibration.calibration_maps import (
    ConfidenceMap,
    Maps,
    TokenMap,
    fit_confidence_map,
    fit_token_map,
)
from spacy_btl.calibration.candidates import describe, find_candidates, type_log_odds
from spacy_btl.calibration.datastore import Datastore
from spacy_btl.calibration.decisions import decide, tau_per_tag, type_shifts
from spacy_btl.calibration.held_out import HeldOut, judge_runs, read_entities
from spacy_btl.calibration.mention_map import MentionMap, fit_mention_map
from spacy_btl.calibration.settings import Settings
from spacy_btl.errors import CalibratorError
from spacy_btl.mentions import OverlappingScheme


def fit_maps(
    held_out: HeldOut, p_knn: Probabilities | None, *, datastore: Datastore, settings: Settings
) -> Maps:
    """Fit the map of tokens, then that of the entities which its probabilities make: with
    `OverlappingScheme`, of candidates for mentions.

    held_out (HeldOut): Documents that the network did not train on.
    p_knn (Optional[float64 [S, C]]): Probabilities by the neighbours, from other documents, of the
        S tokens that the encoder saw; None where `knn_weight` is 0.
    datastore (Datastore): Has the tags, their training frequencies and their transitions.
    RAISES: CalibratorError, without an annotated token or a predicted entity, or without a
        candidate that is a gold mention.
    """
    token_map = fit_tokens(held_out, p_knn, datastore)
    scores = held_out.logits[:, datastore.tag_scheme.columns]
    p = token_map(scores, p_knn, settings.knn_weight)
    tags = decide_held_out(held_out, p, datastore, settings)
    scheme = datastore.tag_scheme
    confidence_map: ConfidenceMap | MentionMap
    if isinstance(scheme, OverlappingScheme):
        shifts = type_shifts(settings.tau, scheme, datastore.prior)
        confidence_map = _fit_mentions(held_out, p, tags, scheme, shifts)
    else:
        entities = read_entities(held_out, tags, p, scheme=scheme)
        _require(len(entities.correct))
        confidence_map = fit_confidence_map(entities.p, entities.correct)
    return Maps(token_map, confidence_map, replace(settings))  # a tau per type can be changed


def _fit_mentions(
    held_out: HeldOut,
    p: Probabilities,
    tags: NDArray[np.integer],
    scheme: OverlappingScheme,
    shifts: NDArray[np.float64],
) -> MentionMap:
    log_odds = type_log_odds(p, scheme)
    candidates = find_candidates(log_odds, tags, held_out.words, scheme)
    known, correct = judge_runs(held_out, candidates)
    _require(len(correct))
    if not correct.any():
        raise CalibratorError(
            "No candidate is a gold mention in the held-out documents, so what tells mentions "
            "cannot be fitted: give documents with mentions, or train the network better."
        )
    features = describe(candidates, log_odds, held_out.words)[known]
    candidates = candidates.take(known)
    return fit_mention_map(
        candidates,
        features,
        correct,
        held_out.documents[candidates.first],
        shifts[candidates.types],
        len(held_out.gold_ents),
    )


def _require(n_entities: int) -> None:
    if not n_entities:
        raise CalibratorError(
            "No entity is predicted in the held-out documents, so no confidence can be fitted: "
            "give more of them, or train the network better."
        )


def decide_held_out(
    held_out: HeldOut, p: Probabilities, datastore: Datastore, settings: Settings
) -> NDArray[np.integer]:
    """The tags of all N tokens, from their probabilities [N, C] or [N, K, S]."""
    return decide(
        p,
        datastore.prior,
        tau_per_tag(settings.tau, datastore.tag_scheme),
        documents=held_out.documents,
        transitions=datastore.transitions if settings.transition_weight else None,
        transition_weight=settings.transition_weight,
    )


def fit_tokens(held_out: HeldOut, p_knn: Probabilities | None, datastore: Datastore) -> TokenMap:
    """Fit the map of tokens. RAISES: CalibratorError, without an annotated token."""
    labelled = held_out.labelled
    if not labelled.any():
        raise CalibratorError("The held-out documents have no annotated token to fit a map on.")
    if p_knn is not None:
        p_knn = p_knn[labelled[held_out.seen]]
    scores = held_out.logits[labelled][:, datastore.tag_scheme.columns]
    return fit_token_map(scores, p_knn, held_out.tags[labelled], datastore.prior)
