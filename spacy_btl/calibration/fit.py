"""Fitting calibration maps to held-out documents, and trying settings on them."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import logsumexp

from spacy_btl.arrays import Probabilities
from spacy_btl.calibration.calibration_maps import ConfidenceMap, Floats, Maps, TokenMap, curves
from spacy_btl.calibration.candidates import (
    border_log_odds,
    describe,
    find_candidates,
    type_log_odds,
)
from spacy_btl.calibration.datastore import Datastore
from spacy_btl.calibration.decisions import decide, tau_per_tag
from spacy_btl.calibration.fit_mentions import fit_mention_map
from spacy_btl.calibration.held_out import HeldOut, judge_runs, read_entities
from spacy_btl.calibration.mention_map import MentionMap
from spacy_btl.calibration.settings import Settings
from spacy_btl.errors import CalibratorError
from spacy_btl.mentions import OverlappingScheme

# Coefficients that must not fall to 0 (a map would no longer rise), and those that must not go
# below it.
POSITIVE = (1e-3, None)
NOT_NEGATIVE = (0.0, None)

# The strength of the prior around the coefficients of earlier maps: half the square of a distance
# costs as much as so many units of log likelihood.
PENALTY = 10.0

Bounds = tuple[float | None, float | None]


def fit_maps(
    held_out: HeldOut,
    p_knn: Probabilities | None,
    *,
    datastore: Datastore,
    settings: Settings,
    near: Maps | None = None,
) -> Maps:
    """Fit the map of tokens, then that of the entities which its probabilities make: with
    `OverlappingScheme`, of candidates for mentions.

    held_out (HeldOut): Documents that the network did not train on.
    p_knn (Optional[float64 [S, C]]): Probabilities by the neighbours, from other documents, of the
        S tokens that the encoder saw; None where `knn_weight` is 0.
    datastore (Datastore): Has the tags, their training frequencies and their transitions.
    near (Optional[Maps]): Earlier maps, of another source, that a few documents change little:
        each coefficient has a Gaussian prior around its earlier value.
    RAISES: CalibratorError, without an annotated token or a predicted entity, or without a
        candidate that is a gold mention.
    """
    token_map = fit_tokens(held_out, p_knn, datastore, None if near is None else near.tokens)
    scores = held_out.logits[:, datastore.tag_scheme.columns]
    p = token_map(scores, p_knn, settings.knn_weight)
    scheme = datastore.tag_scheme
    earlier = None if near is None else near.confidence
    confidence_map: ConfidenceMap | MentionMap
    if isinstance(scheme, OverlappingScheme):
        p = scheme.add_borders(p, held_out.logits)
        of_mentions = earlier if isinstance(earlier, MentionMap) else None
        confidence_map = fit_mentions(held_out, p, datastore, settings, of_mentions)
    else:
        of_entities = earlier if isinstance(earlier, ConfidenceMap) else None
        confidence_map = fit_entities(held_out, p, datastore, settings, of_entities)
    return Maps(token_map, confidence_map, replace(settings))  # a tau per type can be changed


def fit_entities(
    held_out: HeldOut,
    p: Probabilities,
    datastore: Datastore,
    settings: Settings,
    near: ConfidenceMap | None = None,
) -> ConfidenceMap:
    """Fit the confidence of the entities that settings decide, by probabilities [N, C].

    near (Optional[ConfidenceMap]): See `fit_confidence_map`.
    RAISES: CalibratorError, without a predicted entity.
    """
    tags = decide_held_out(held_out, p, datastore, settings)
    entities = read_entities(held_out, tags, p, scheme=datastore.tag_scheme)
    _require(len(entities.correct))
    return fit_confidence_map(entities.p, entities.correct, near)


def fit_mentions(
    held_out: HeldOut,
    p: Probabilities,
    datastore: Datastore,
    settings: Settings,
    near: MentionMap | None = None,
) -> MentionMap:
    """Fit what tells mentions among the candidates. It does not depend on tau.

    p (float64 [N, K, S + 2]): Probabilities of tags and borders.
    near (Optional[MentionMap]): See `fit_maps`.
    RAISES: CalibratorError, without a candidate that is a gold mention.
    """
    scheme = datastore.tag_scheme
    assert isinstance(scheme, OverlappingScheme)
    log_odds = type_log_odds(p, scheme)
    tags = decide_held_out(held_out, p, datastore, replace(settings, tau=0.0))
    candidates = find_candidates(log_odds, tags, held_out.words, scheme)
    known, correct = judge_runs(held_out, candidates)
    _require(len(correct))
    if not correct.any():
        raise CalibratorError(
            "No candidate is a gold mention in the held-out documents, so what tells mentions "
            "cannot be fitted: give documents with mentions, or train the network better."
        )
    features = describe(candidates, log_odds, border_log_odds(p), held_out.words)[known]
    candidates = candidates.take(known)
    documents, n_gold = held_out.documents[candidates.first], len(held_out.gold_ents)
    return fit_mention_map(candidates, features, correct, documents, n_gold, near)


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


def fit_tokens(
    held_out: HeldOut,
    p_knn: Probabilities | None,
    datastore: Datastore,
    near: TokenMap | None = None,
) -> TokenMap:
    """Fit the map of tokens.

    near (Optional[TokenMap]): See `fit_maps`.
    RAISES: CalibratorError, without an annotated token.
    """
    labelled = held_out.labelled
    if not labelled.any():
        raise CalibratorError("The held-out documents have no annotated token to fit a map on.")
    if p_knn is not None:
        p_knn = p_knn[labelled[held_out.seen]]
    scores = held_out.logits[labelled][:, datastore.tag_scheme.columns]
    return fit_token_map(scores, p_knn, held_out.tags[labelled], datastore.prior, near)


def fit_token_map(
    logits: Floats,
    p_knn: Probabilities | None,
    tags: NDArray[np.integer],
    prior: Probabilities,
    near: TokenMap | None = None,
) -> TokenMap:
    """Fit the token map, each source by itself, by maximum likelihood of held-out tags.

    logits (float [N, C]): Raw logits.
    p_knn (Optional[float64 [N, C]]): Probabilities by the neighbours, if they are used.
    tags (int [N], or [N, K]): Gold tags.
    prior (float64 [C], or [K, S]): Training frequencies.
    near (Optional[TokenMap]): See `fit_maps`.
    """
    start, strength = near or TokenMap(), PENALTY * (near is not None)
    (inverse,) = _fit_log_linear(
        [logits.astype("float64")], tags, prior, [1 / start.temperature], [POSITIVE], strength
    )
    if p_knn is None:
        return TokenMap(1 / inverse, start.sharpness, start.certainty)
    sharpness, certainty = _fit_log_linear(
        curves(p_knn),
        tags,
        prior,
        [start.sharpness, start.certainty],
        [POSITIVE, NOT_NEGATIVE],
        strength,
    )
    return TokenMap(1 / inverse, sharpness, certainty)


def fit_confidence_map(
    p: Floats, correct: NDArray[np.bool_], near: ConfidenceMap | None = None
) -> ConfidenceMap:
    """Fit the confidence map by maximum likelihood of which entities are correct.

    p (float [N]): The minimum token probability of each entity; N > 0.
    correct (bool [N]): Whether the entity is correct.
    near (Optional[ConfidenceMap]): See `fit_maps`.
    """
    features = [
        np.stack([np.zeros(len(p)), curve], axis=1) for curve in (*curves(p), np.ones(len(p)))
    ]
    share = (correct.sum() + 1) / (len(correct) + 2)
    bounds = [NOT_NEGATIVE, NOT_NEGATIVE, (None, None)]
    start = near or ConfidenceMap(1.0, 0.0, 0.0, n_entities=1)
    sharpness, certainty, bias = _fit_log_linear(
        features,
        correct.astype("int64"),
        np.array([1 - share, share]),
        [start.sharpness, start.certainty, start.bias],
        bounds,
        PENALTY * (near is not None),
    )
    return ConfidenceMap(sharpness, certainty, bias, n_entities=len(correct))


def _fit_log_linear(
    features: Sequence[Probabilities],
    classes: NDArray[np.integer],
    prior: Probabilities,
    start: Sequence[float],
    bounds: Sequence[Bounds],
    strength: float,
) -> list[float]:
    """Fit the coefficients of a softmax over weighted features by maximum likelihood.

    Every target gives 1 / (N + 1) to the prior, one observation's worth in all, which keeps the
    optimum finite where the classes can be told apart without an error.

    features (Sequence[float64 [N, C]]): One array per coefficient.
    classes (int [N]): What was observed.
    strength (float): Of the Gaussian prior around where the fit starts; 0 is without one.
    """
    share = 1 / (classes.size + 1)
    places = classes[..., None]
    expected = np.array(
        [
            (1 - share) * np.take_along_axis(feature, places, axis=-1).mean()
            + share * (feature * prior).sum(axis=-1).mean()
            for feature in features
        ]
    )

    weight = strength / classes.size

    def loss(coefficients: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        score = sum(c * feature for c, feature in zip(coefficients, features, strict=True))
        log_sum = logsumexp(score, axis=-1, keepdims=True)
        p: Any = np.exp(score - log_sum)
        predicted = np.array([(p * feature).sum() for feature in features]) / classes.size
        away = coefficients - np.array(start)
        cost = log_sum.mean() - coefficients @ expected + weight * away @ away / 2
        return float(cost), predicted - expected + weight * away

    options = {"ftol": 1e-13, "gtol": 1e-9, "maxiter": 1000}
    fitted = minimize(loss, start, jac=True, bounds=bounds, method="L-BFGS-B", options=options)
    return fitted.x.tolist()
