"""The labelled logits that a calibrator keeps, saved as plain arrays and never as pickles."""

import json
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load, save

from spacy_btl.errors import CalibratorError
from spacy_btl.tags import SchemeName

FORMAT = "spacy_btl.neighbors"
VERSION = "1"


@dataclass(frozen=True)
class Store:
    """Labelled logits of tokens that the encoder saw, and the tags' training frequencies.

    logits (float32 [M, C]): Raw logits; M = 0 where only the softmax is read.
    tags (int16 [M]): Gold tags.
    prior (float64 [C]): Training frequency of each tag; all positive, sum 1.
    labels (Tuple[str, ...]): The entity types, in the order of their tags.
    scheme (str): The tag scheme, "IO" or "BIO".
    """

    logits: NDArray[np.float32]
    tags: NDArray[np.int16]
    prior: NDArray[np.float64]
    labels: tuple[str, ...]
    scheme: SchemeName

    def to_bytes(self) -> bytes:
        """The store as the bytes of a safetensors file."""
        arrays: dict[str, NDArray] = {"logits": self.logits, "tags": self.tags, "prior": self.prior}
        metadata = {
            "format": FORMAT,
            "version": VERSION,
            "labels": json.dumps(self.labels),
            "scheme": self.scheme,
        }
        return save(arrays, metadata=metadata)

    @classmethod
    def from_bytes(cls, data: bytes, *, where: str) -> "Store":
        """Read and check a store.

        where (str): What to call its origin in an error.
        RAISES: CalibratorError, for anything but a complete and finite store of this version.
        """
        try:
            arrays, metadata = load(data), _metadata(data)
            _require(metadata.get("format") == FORMAT, "it is no calibrator of spacy-btl")
            version = metadata.get("version")
            _require(version == VERSION, f"its version is {version}, not {VERSION}")
            labels = json.loads(metadata["labels"])
            _check(arrays, labels, metadata["scheme"])
        except CalibratorError as error:
            raise _unusable(where, str(error)) from None
        except Exception as error:  # safetensors, json and numpy each have their own
            raise _unusable(where, "it is damaged") from error
        return cls(**arrays, labels=tuple(labels), scheme=cast(SchemeName, metadata["scheme"]))


def _unusable(where: str, reason: str) -> CalibratorError:
    return CalibratorError(
        f"Cannot use the calibrator in {where}: {reason}. Fit it again "
        "(python -m spacy btl calibrate)."
    )


def _require(holds: bool, reason: str) -> None:
    if not holds:
        raise CalibratorError(reason)


def _metadata(data: bytes) -> dict[str, str]:
    """The metadata of safetensors bytes, which its numpy reader does not give."""
    length = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + length])["__metadata__"]


def _check(arrays: dict[str, NDArray], labels: list[str], scheme: str) -> None:
    is_list = isinstance(labels, list) and all(isinstance(label, str) for label in labels)
    _require(is_list and scheme in ("IO", "BIO"), "its list of labels is damaged")
    n_tags = 1 + len(labels) * {"IO": 1, "BIO": 2}[scheme]
    _require(set(arrays) == {"logits", "tags", "prior"}, f"it holds the arrays {sorted(arrays)}")
    n_rows = arrays["tags"].size
    expected = {
        "logits": ("float32", (n_rows, n_tags)),
        "tags": ("int16", (n_rows,)),
        "prior": ("float64", (n_tags,)),
    }
    for name, (dtype, shape) in expected.items():
        found = arrays[name]
        _require(
            found.dtype == dtype and found.shape == shape,
            f"'{name}' is {found.dtype} {found.shape}, not {dtype} {shape}",
        )
        _require(bool(np.isfinite(found).all()), f"'{name}' holds values that are not finite")
    in_range = not n_rows or 0 <= arrays["tags"].min() <= arrays["tags"].max() < n_tags
    _require(bool(in_range), "'tags' holds numbers of no tag")
    prior = arrays["prior"]
    is_prior = (prior > 0).all() and np.isclose(prior.sum(), 1)
    _require(bool(is_prior), "'prior' holds no frequencies (positive, and 1 in sum)")
