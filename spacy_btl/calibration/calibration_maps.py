"""Calibration maps: from stated to calibrated probabilities, as arrays. See `fit` for their fits.

N tokens or entities, C tags. Where each type decides for itself, [N, C] stands for [N, K, S], the S
tags of K decisions per token. All maps are log-linear models with few parameters, so each fit is a
convex problem with one optimum.
"""

from dataclasses import asdict, astuple, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spacy_btl.arrays import OPS, Arrays, Probabilities, load_arrays, save_arrays
from spacy_btl.calibration.mention_map import N_TERMS, MentionMap
from spacy_btl.calibration.settings import Settings
from spacy_btl.errors import CalibratorError
from spacy_btl.tags import O_TAG

FORMAT = "spacy_btl.maps"
VERSION = "2"
# Coefficients beyond these are not fitted, and what they give would not be finite.
MIN_COEFFICIENT, MAX_COEFFICIENT = 1e-9, 1e9

# Bounds on p and on 1 - p, so that their logarithms stay finite.
MIN_P = np.finfo("float64").tiny
MIN_REST = 1e-9

Floats = NDArray[np.floating]


@dataclass(frozen=True)
class TokenMap:
    """Calibrates the softmax and the neighbours, each by itself, and mixes them.

    Calibration does not change the argmax of either source. Until fitted it changes nothing.

    temperature (float): The softmax is that of logits / temperature (Guo et al. 2017).
    sharpness (float): a, above 0.
    certainty (float): b, at least 0. A probability p by the neighbours becomes
        p^a / (1 - p)^b, in proportion: the beta calibration of Kull et al. (2017), with one rising
        curve for all tags.
    """

    temperature: float = 1.0
    sharpness: float = 1.0
    certainty: float = 0.0

    def __call__(
        self, logits: Floats, p_knn: Probabilities | None, knn_weight: float
    ) -> Probabilities:
        """Calibrated probabilities, float64 [N, C].

        logits (float [N, C]): Raw logits. A row of zeros is a token that the encoder did not see:
            it is certainly `O`.
        p_knn (Optional[float64 [S, C]]): Probabilities by the neighbours of the S other tokens;
            None for the softmax alone.
        knn_weight (float): Their share, from 0 to 1.
        """
        seen = logits.any(axis=tuple(range(1, logits.ndim)))
        p_seen = OPS.softmax(logits[seen].astype("float64") / self.temperature)
        if p_knn is not None:
            p_seen = knn_weight * self.neighbors(p_knn) + (1 - knn_weight) * p_seen
        p = np.zeros(logits.shape)
        p[..., O_TAG] = 1
        p[seen] = p_seen
        return p

    def neighbors(self, p: Probabilities) -> Probabilities:
        """Calibrate the probabilities by the neighbours, float64 [N, C]."""
        if (self.sharpness, self.certainty) == (1.0, 0.0):
            return p
        log_p, log_odds = curves(p)
        return OPS.softmax(self.sharpness * log_p + self.certainty * log_odds)


@dataclass(frozen=True)
class ConfidenceMap:
    """From the minimum token probability of an entity to the probability that it is correct.

    The curve is sigmoid(sharpness * log p - certainty * log(1 - p) + bias).

    sharpness, certainty (float): At least 0, so that the curve never falls.
    bias (float): Any.
    n_entities (int): How many it was fitted to. The result stays between 1 / (n + 2) and
        1 - 1 / (n + 2), Laplace's estimates after n failures and n successes.
    """

    sharpness: float
    certainty: float
    bias: float
    n_entities: int

    def __call__(self, p: Floats) -> Probabilities:
        """Map probabilities, float [N]; strictly between 0 and 1."""
        log_p, log_odds = curves(np.asarray(p, dtype="float64"))
        score = self.sharpness * log_p + self.certainty * log_odds + self.bias
        margin = 1 / (self.n_entities + 2)
        return np.clip(OPS.sigmoid(score), margin, 1 - margin)


@dataclass(frozen=True)
class Maps:
    """The calibration maps of tokens and of entities, saved as plain arrays.

    confidence (ConfidenceMap | MentionMap): The latter where each type decides for itself.
    settings (Settings): Those that they were fitted for; with others confidence is not calibrated.
    """

    tokens: TokenMap
    confidence: ConfidenceMap | MentionMap
    settings: Settings

    def hold_for(self, settings: Settings) -> bool:
        """Whether confidence is calibrated with settings. A `MentionMap` does not depend on tau."""
        if isinstance(self.confidence, MentionMap):
            settings = replace(settings, tau=self.settings.tau)
        return settings == self.settings

    def to_bytes(self) -> bytes:
        """The maps as the bytes of a safetensors file."""
        content = {"format": FORMAT, "version": VERSION, "settings": asdict(self.settings)}
        confidence = self.confidence
        if isinstance(confidence, MentionMap):
            values = [confidence.n_entities, *confidence.weights, confidence.bias]
            name, values = "mentions", [*values, confidence.cutoff]
        else:
            name, values = "confidence", list(astuple(confidence))
        arrays = {
            "tokens": np.array(astuple(self.tokens)),
            name: np.array(values, dtype="float64"),
        }
        return save_arrays(arrays, content)

    @classmethod
    def from_bytes(cls, data: bytes, *, where: str) -> "Maps":
        """Read and check maps.

        where (str): What to call their origin in an error.
        RAISES: CalibratorError, for anything but complete and finite maps of this version.
        """
        try:
            arrays, content = load_arrays(data)
            if (content["format"], content["version"]) != (FORMAT, VERSION):
                raise ValueError("another format or version")
            _check(arrays["tokens"], 3, positive=2, not_negative=1)
            tokens = TokenMap(*arrays["tokens"].tolist())
            confidence = _mention_map(arrays) if "mentions" in arrays else _confidence_map(arrays)
            return cls(tokens, confidence, Settings(**content["settings"]))
        except Exception as error:  # safetensors, json and numpy each have their own
            raise CalibratorError(
                f"Cannot use the calibrator's maps in {where}: they are damaged, or of another "
                "version. Fit them again (python -m spacy btl calibrate --held-out)."
            ) from error


def _confidence_map(arrays: Arrays) -> ConfidenceMap:
    _check(arrays["confidence"], 4, positive=0, not_negative=2)
    sharpness, certainty, bias, n_entities = arrays["confidence"].tolist()
    return ConfidenceMap(sharpness, certainty, bias, _count(n_entities))


def _mention_map(arrays: Arrays) -> MentionMap:
    _check(arrays["mentions"], N_TERMS + 3, positive=1, not_negative=0)
    n_entities, *weights, bias, cutoff = arrays["mentions"].tolist()
    return MentionMap(tuple(weights), bias, cutoff, _count(n_entities))


def _count(number: float) -> int:
    if number < 1:
        raise ValueError("fitted to nothing")
    return int(number)


def _check(values: NDArray[Any], size: int, *, positive: int, not_negative: int) -> None:
    """Check coefficients: first those above 0, then those at least 0, then any."""
    bounded = values[positive : positive + not_negative]
    if values.dtype != "float64" or values.shape != (size,) or not np.isfinite(values).all():
        raise ValueError("not so many finite numbers")
    too_great = (np.abs(values) > MAX_COEFFICIENT).any()
    if too_great or (values[:positive] < MIN_COEFFICIENT).any() or (bounded < 0).any():
        raise ValueError("out of range")


def curves(p: Floats) -> tuple[Probabilities, Probabilities]:
    """log p and -log(1 - p)."""
    return np.log(np.maximum(p, MIN_P)), -np.log(np.maximum(1 - p, MIN_REST))
