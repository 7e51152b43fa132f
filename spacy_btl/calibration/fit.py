"""The maps of a calibrator: fitted on held-out documents, saved as plain arrays."""

from dataclasses import astuple, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spacy_btl.arrays import load_arrays, save_arrays
from spacy_btl.calibration.calibration_maps import (
    ConfidenceMap,
    TokenMap,
    fit_confidence_map,
    fit_token_map,
)
from spacy_btl.calibration.datastore import Store
from spacy_btl.calibration.held_out import HeldOut, read_entities
from spacy_btl.calibration.tau import Tau, tau_per_tag
from spacy_btl.calibration.viterbi import decide
from spacy_btl.calibration.votes import Probabilities
from spacy_btl.errors import CalibratorError
from spacy_btl.tags import O_TAG, TagScheme

FORMAT = "spacy_btl.maps"
VERSION = "2"
# Coefficients beyond these are not fitted, and what they give would not be finite.
LEAST, GREATEST = 1e-9, 1e9


@dataclass(frozen=True)
class Maps:
    """What makes the probabilities and the confidences of a calibrator honest.

    settings (Dict[str, Any]): The calibrator's settings that they were fitted for; with others
        they are no longer honest.
    """

    tokens: TokenMap
    confidence: ConfidenceMap
    settings: dict[str, Any]

    def to_bytes(self) -> bytes:
        """The maps as the bytes of a safetensors file."""
        content = {"format": FORMAT, "version": VERSION, "settings": self.settings}
        arrays = {
            "tokens": np.array(astuple(self.tokens)),
            "confidence": np.array(astuple(self.confidence), dtype="float64"),
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
            _check(arrays["confidence"], 4, positive=0, not_negative=2)
            tokens = TokenMap(*arrays["tokens"].tolist())
            sharpness, certainty, bias, n_entities = arrays["confidence"].tolist()
            confidence = ConfidenceMap(sharpness, certainty, bias, int(n_entities))
            if n_entities < 1:
                raise ValueError("fitted to nothing")
            return cls(tokens, confidence, dict(content["settings"]))
        except Exception as error:  # safetensors, json and numpy each have their own
            raise CalibratorError(
                f"Cannot use the calibrator's maps in {where}: they are damaged, or of another "
                "version. Fit them again (python -m spacy btl calibrate --held-out)."
            ) from error


def _check(values: NDArray[Any], size: int, *, positive: int, not_negative: int) -> None:
    """Check coefficients: first those above 0, then those at least 0, then any."""
    bounded = values[positive : positive + not_negative]
    if values.dtype != "float64" or values.shape != (size,) or not np.isfinite(values).all():
        raise ValueError("not so many finite numbers")
    too_great = (np.abs(values) > GREATEST).any()
    if too_great or (values[:positive] < LEAST).any() or (bounded < 0).any():
        raise ValueError("out of range")


def fit_maps(
    held_out: HeldOut,
    p_knn: Probabilities | None,
    *,
    store: Store,
    settings: dict[str, Any],
) -> Maps:
    """Fit both maps: that of tokens, then that of the entities which its probabilities make.

    held_out (HeldOut): Documents that the network did not train on.
    p_knn (Optional[float64 [S, C]]): What the neighbours say of the S tokens that the encoder saw,
        found among other documents; None where `knn_weight` is 0.
    store (Store): Knows the tags, their training frequencies, and which of them follow which.
    settings (Dict[str, Any]): Those of the calibrator: `knn_weight`, `tau`, `transitions`, and what
        neighbours depend on.
    RAISES: CalibratorError, if there is no annotated token or no entity is found.
    """
    scheme = TagScheme(store.labels, store.scheme)
    token_map = fit_tokens(held_out, p_knn, prior=store.prior)
    p = mixed(held_out, p_knn, token_map, settings["knn_weight"])
    tags = decide_held_out(held_out, p, store, settings["tau"], settings["transitions"])
    entities = read_entities(held_out, tags, p, scheme=scheme)
    if not len(entities.right):
        raise CalibratorError(
            "No entity is found in the held-out documents, so no confidence can be fitted: give "
            "more of them, or train the network better."
        )
    return Maps(token_map, fit_confidence_map(entities.p, entities.right), settings)


def decide_held_out(
    held_out: HeldOut, p: Probabilities, store: Store, tau: Tau, transitions: float
) -> NDArray[np.integer]:
    """The tags of all N tokens, by their probabilities [N, C] and the settings of a calibrator."""
    return decide(
        p,
        store.prior,
        tau_per_tag(tau, TagScheme(store.labels, store.scheme)),
        documents=held_out.documents,
        transitions=store.transitions if transitions else None,
        weight=transitions,
    )


def fit_tokens(held_out: HeldOut, p_knn: Probabilities | None, *, prior: Probabilities) -> TokenMap:
    """Fit the map of tokens. RAISES: CalibratorError, if there is no annotated token."""
    labelled = held_out.labelled
    if not labelled.any():
        raise CalibratorError("The held-out documents have no annotated token to fit a map on.")
    if p_knn is not None:
        p_knn = p_knn[labelled[held_out.seen]]
    return fit_token_map(held_out.logits[labelled], p_knn, held_out.tags[labelled], prior)


def mixed(
    held_out: HeldOut, p_knn: Probabilities | None, token_map: TokenMap, knn_weight: float
) -> Probabilities:
    """The probabilities of all N tokens, float64 [N, C]; p_knn is None where knn_weight is 0."""
    p = token_map.softmax(held_out.logits[held_out.seen])
    if p_knn is not None:
        p = knn_weight * token_map.votes(p_knn) + (1 - knn_weight) * p
    return with_unseen(p, held_out.seen)


def with_unseen(p: Probabilities, seen: NDArray[np.bool_]) -> Probabilities:
    """The probabilities of all N tokens: certainly `O` where the encoder saw nothing.

    p (float64 [S, C]): Those of the tokens that it saw.
    seen (bool [N]): Which tokens these are.
    """
    every = np.zeros((len(seen), p.shape[1]))
    every[:, O_TAG] = 1
    every[seen] = p
    return every
