"""The datastore of a calibrator: labelled logits as plain arrays, never a pickle."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import cast

import numpy as np
from numpy.typing import NDArray

from spacy_btl.arrays import Arrays, Probabilities, load_arrays, save_arrays
from spacy_btl.calibration.decisions import Transitions, TypeTransitions, count_pairs
from spacy_btl.errors import BtlError, CalibratorError
from spacy_btl.mentions import OverlappingScheme
from spacy_btl.tags import SchemeName, TagScheme

FORMAT = "spacy_btl.neighbors"
VERSION = "4"
EARLIER = "3"  # had no clusters
ARRAYS = ("logits", "tags", "documents", "starts", "ends", "prior")
# Greater ones come from no network, and the squares of their distances would not be finite.
MAX_LOGIT = 1e15
# Tokens whose neighbours are counted at once, type by type.
CHUNK = 1024


@dataclass(frozen=True)
class LabelledRows:
    """Labelled logits of tokens that the encoder saw, and where in a corpus these tokens stand.

    logits (float32 [M, C]): Raw logits.
    tags (int16 [M], or int8 [M, K] where each of K types decides for itself): Gold tags.
    documents (int32 [M]): Number of the token's document, from 0 in the order of the corpus. It
        says nothing about the note: a note id may identify a patient.
    starts (int32 [M]): Character offset in the document at which the token starts.
    ends (int32 [M]): Character offset behind its end.
    """

    logits: NDArray[np.float32]
    tags: NDArray[np.integer]
    documents: NDArray[np.int32]
    starts: NDArray[np.int32]
    ends: NDArray[np.int32]


@dataclass(frozen=True)
class Datastore(LabelledRows):
    """Labelled rows (M = 0 where only the softmax is read) and the training frequencies of tags.
    The logits are those of tags alone, without borders.

    prior (float64 [C], or [K, S] for the S tags of each type's decision): Training frequency of
        each tag; all positive, sum 1.
    labels (Tuple[str, ...]): The entity types, in the order of their tags.
    scheme (str): The tag scheme, "IO" or "BIO".
    network (str): A digest of the head that computed the logits; empty where it is not known.
    clusters (Optional[int32 [M]]): The cluster of each row, if the search divided the rows.
    """

    prior: NDArray[np.float64]
    labels: tuple[str, ...]
    scheme: SchemeName
    network: str = ""
    clusters: NDArray[np.int32] | None = None

    @cached_property
    def tag_scheme(self) -> TagScheme:
        """The tags of the C columns."""
        kind = TagScheme if self.tags.ndim == 1 else OverlappingScheme
        return kind(self.labels, self.scheme)

    @cached_property
    def transitions(self) -> Transitions | TypeTransitions:
        """Which tag follows which in the rows."""
        if self.tag_scheme.overlapping:
            return TypeTransitions.from_tags(self.tags, self.documents, self.prior.shape[1])
        return Transitions.from_pairs(count_pairs(self.tags, self.documents), len(self.prior))

    def type_shares(self, rows: NDArray[np.integer]) -> Probabilities:
        """The share of each tag of each type among rows, float64 [N, K, S].

        rows (int [N, k]): k row numbers for each of N tokens.
        """
        shares = np.zeros((len(rows), *self.prior.shape))
        for start in range(0, len(rows), CHUNK):
            tags = self.tags[rows[start : start + CHUNK]]
            for tag in range(self.prior.shape[1]):
                shares[start : start + CHUNK, :, tag] = (tags == tag).mean(axis=1)
        return shares

    def to_bytes(self) -> bytes:
        """The datastore as the bytes of a safetensors file."""
        arrays = {name: getattr(self, name) for name in ARRAYS}
        if self.clusters is not None:
            arrays["clusters"] = self.clusters
        content = {
            "format": FORMAT,
            "version": VERSION,
            "labels": self.labels,
            "scheme": self.scheme,
            "network": self.network,
        }
        return save_arrays(arrays, content)

    @classmethod
    def from_bytes(cls, data: bytes, *, where: str) -> "Datastore":
        """Read and check a datastore.

        where (str): What to call its origin in an error.
        RAISES: CalibratorError, for anything but a complete and finite datastore of this version.
        """
        try:
            arrays, content = load_arrays(data)
            _require(content.get("format") == FORMAT, "it is no calibrator of spacy-btl")
            version = content.get("version")
            is_known = version in (VERSION, EARLIER)
            _require(is_known, f"its version is {version}, not {VERSION}")
            _check(arrays, content["labels"], content["scheme"])
        except BtlError as error:
            raise _unusable(where, str(error)) from None
        except Exception as error:  # safetensors, json and numpy each have their own
            raise _unusable(where, "it is damaged") from error
        return cls(
            **arrays,
            labels=tuple(content["labels"]),
            scheme=cast(SchemeName, content["scheme"]),
            network=str(content["network"]),
        )


def empty_rows(scheme: TagScheme) -> LabelledRows:
    """No rows, for the tags of a scheme."""
    none = np.zeros(0, "int32")
    tags = np.zeros((0, *scheme.tag_shape), scheme.tag_dtype)
    return LabelledRows(np.zeros((0, len(scheme)), "float32"), tags, none, none, none)


def concatenate_rows(parts: Sequence[LabelledRows]) -> LabelledRows:
    """The rows of one or more parts, in their order."""
    names = [field.name for field in fields(LabelledRows)]
    arrays = (np.concatenate([getattr(part, name) for part in parts]) for name in names)
    return LabelledRows(*arrays)


def _unusable(where: str, reason: str) -> CalibratorError:
    return CalibratorError(
        f"Cannot use the calibrator in {where}: {reason}. Fit it again "
        "(python -m spacy btl calibrate)."
    )


def _require(holds: bool, reason: str) -> None:
    if not holds:
        raise CalibratorError(reason)


def _check(arrays: Arrays, labels: list[str], scheme: str) -> None:
    is_list = isinstance(labels, list) and all(isinstance(label, str) for label in labels)
    _require(is_list and scheme in ("IO", "BIO"), "its list of labels is damaged")
    width = {"IO": 1, "BIO": 2}[scheme]
    n_tags = 1 + len(labels) * width
    are_known = set(arrays) - {"clusters"} == set(ARRAYS)
    _require(are_known, f"it holds the arrays {sorted(arrays)}")
    n_rows, overlapping = len(arrays["tags"]), arrays["tags"].ndim == 2
    of_types = (len(labels),) if overlapping else ()
    prior_shape = (*of_types, 1 + width if overlapping else n_tags)
    expected = {
        "logits": ("float32", (n_rows, n_tags)),
        "tags": ("int8" if overlapping else "int16", (n_rows, *of_types)),
        "documents": ("int32", (n_rows,)),
        "starts": ("int32", (n_rows,)),
        "ends": ("int32", (n_rows,)),
        "prior": ("float64", prior_shape),
    }
    if "clusters" in arrays:
        expected["clusters"] = ("int32", (n_rows,))
    for name, (dtype, shape) in expected.items():
        found = arrays[name]
        _require(
            found.dtype == dtype and found.shape == shape,
            f"'{name}' is {found.dtype} {found.shape}, not {dtype} {shape}",
        )
        _require(bool(np.isfinite(found).all()), f"'{name}' holds values that are not finite")
    are_logits = np.abs(arrays["logits"]).max(initial=0) <= MAX_LOGIT
    _require(bool(are_logits), "'logits' holds values that are no logits")
    in_range = not n_rows or 0 <= arrays["tags"].min() <= arrays["tags"].max() < prior_shape[-1]
    _require(bool(in_range), "'tags' holds numbers of no tag")
    _require(bool((arrays["documents"] >= 0).all()), "'documents' holds negative numbers")
    clusters = arrays.get("clusters", np.zeros(0, "int32"))
    are_of_rows = ((clusters >= 0) & (clusters < n_rows)).all()
    _require(bool(are_of_rows), "'clusters' holds numbers of no cluster")
    starts, ends = arrays["starts"], arrays["ends"]
    are_offsets = (starts >= 0).all() and (starts < ends).all()
    _require(bool(are_offsets), "'starts' and 'ends' hold offsets of no token")
    prior = arrays["prior"]
    is_prior = (prior > 0).all() and np.isclose(prior.sum(axis=-1), 1).all()
    _require(bool(is_prior), "'prior' holds no frequencies (positive, and 1 in sum)")
