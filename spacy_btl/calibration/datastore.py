"""The datastore of a calibrator: labelled logits as plain arrays, never a pickle."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import cast

import numpy as np
from numpy.typing import NDArray

from spacy_btl.arrays import Arrays, load_arrays, save_arrays
from spacy_btl.calibration.decisions import Transitions, count_pairs
from spacy_btl.errors import BtlError, CalibratorError
from spacy_btl.tags import SchemeName, TagScheme

FORMAT = "spacy_btl.neighbors"
VERSION = "3"
ARRAYS = ("logits", "tags", "documents", "starts", "ends", "prior")
# Greater ones come from no network, and the squares of their distances would not be finite.
MAX_LOGIT = 1e15


@dataclass(frozen=True)
class LabelledRows:
    """Labelled logits of tokens that the encoder saw, and where in a corpus these tokens stand.

    logits (float32 [M, C]): Raw logits.
    tags (int16 [M]): Gold tags.
    documents (int32 [M]): Number of the token's document, from 0 in the order of the corpus. It
        says nothing about the note: a note id may identify a patient.
    starts (int32 [M]): Character offset in the document at which the token starts.
    ends (int32 [M]): Character offset behind its end.
    """

    logits: NDArray[np.float32]
    tags: NDArray[np.int16]
    documents: NDArray[np.int32]
    starts: NDArray[np.int32]
    ends: NDArray[np.int32]


@dataclass(frozen=True)
class Datastore(LabelledRows):
    """Labelled rows (M = 0 where only the softmax is read) and the training frequencies of tags.

    prior (float64 [C]): Training frequency of each tag; all positive, sum 1.
    labels (Tuple[str, ...]): The entity types, in the order of their tags.
    scheme (str): The tag scheme, "IO" or "BIO".
    network (str): A digest of the head that computed the logits; empty where it is not known.
    """

    prior: NDArray[np.float64]
    labels: tuple[str, ...]
    scheme: SchemeName
    network: str = ""

    @cached_property
    def tag_scheme(self) -> TagScheme:
        """The tags of the C columns."""
        return TagScheme(self.labels, self.scheme)

    @cached_property
    def transitions(self) -> Transitions:
        """Which tag follows which in the rows."""
        return Transitions.from_pairs(count_pairs(self.tags, self.documents), len(self.prior))

    def to_bytes(self) -> bytes:
        """The datastore as the bytes of a safetensors file."""
        arrays = {name: getattr(self, name) for name in ARRAYS}
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
            _require(version == VERSION, f"its version is {version}, not {VERSION}")
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


def empty_rows(n_tags: int) -> LabelledRows:
    """No rows, for C tags."""
    none = np.zeros(0, "int32")
    return LabelledRows(np.zeros((0, n_tags), "float32"), np.zeros(0, "int16"), none, none, none)


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
    n_tags = 1 + len(labels) * {"IO": 1, "BIO": 2}[scheme]
    _require(set(arrays) == set(ARRAYS), f"it holds the arrays {sorted(arrays)}")
    n_rows = arrays["tags"].size
    expected = {
        "logits": ("float32", (n_rows, n_tags)),
        "tags": ("int16", (n_rows,)),
        "documents": ("int32", (n_rows,)),
        "starts": ("int32", (n_rows,)),
        "ends": ("int32", (n_rows,)),
        "prior": ("float64", (n_tags,)),
    }
    for name, (dtype, shape) in expected.items():
        found = arrays[name]
        _require(
            found.dtype == dtype and found.shape == shape,
            f"'{name}' is {found.dtype} {found.shape}, not {dtype} {shape}",
        )
        _require(bool(np.isfinite(found).all()), f"'{name}' holds values that are not finite")
    are_logits = np.abs(arrays["logits"]).max(initial=0) <= MAX_LOGIT
    _require(bool(are_logits), "'logits' holds values that are no logits")
    in_range = not n_rows or 0 <= arrays["tags"].min() <= arrays["tags"].max() < n_tags
    _require(bool(in_range), "'tags' holds numbers of no tag")
    _require(bool((arrays["documents"] >= 0).all()), "'documents' holds negative numbers")
    starts, ends = arrays["starts"], arrays["ends"]
    are_offsets = (starts >= 0).all() and (starts < ends).all()
    _require(bool(are_offsets), "'starts' and 'ends' hold offsets of no token")
    prior = arrays["prior"]
    is_prior = (prior > 0).all() and np.isclose(prior.sum(), 1)
    _require(bool(is_prior), "'prior' holds no frequencies (positive, and 1 in sum)")
