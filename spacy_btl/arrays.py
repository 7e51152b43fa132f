"""Arrays: what computes with them, and how they are saved, with metadata, as a safetensors file.

The bytes depend on the content alone, so that a pipeline that is saved twice has one fingerprint.
safetensors writes several metadata keys in random order, so there is one key, of canonical JSON.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load, save
from thinc.api import NumpyOps

from spacy_btl.errors import FileError

CONTENT = "spacy_btl"
CHECKSUM = "sha256"
# softmax and sigmoid. Those of scipy take a third of the time in which a compiled pipeline loads.
OPS = NumpyOps()

Arrays = dict[str, NDArray[Any]]
Probabilities = NDArray[np.float64]


def save_arrays(arrays: Mapping[str, NDArray[Any]], content: Mapping[str, Any]) -> bytes:
    """Write arrays as the bytes of a safetensors file, with a checksum.

    arrays (Mapping[str, ndarray]): Numbers, in any memory order.
    content (Mapping[str, Any]): Metadata, of JSON's types.
    """
    # safetensors reads the memory of what it saves as if it were in row order.
    rows = {
        name: array.astype(array.dtype.newbyteorder("<"), order="C", copy=False)
        for name, array in arrays.items()
    }
    said = {**content, CHECKSUM: _checksum(rows, content)}
    return save(rows, metadata={CONTENT: _canonical(said)})


def load_arrays(data: bytes) -> tuple[Arrays, dict[str, Any]]:
    """Read arrays and metadata from the bytes of `save_arrays`.

    The checksum finds damage. It does not protect against a deliberate change, so callers must
    check what they read.

    RAISES: FileError, for another safetensors file; Exception, of whatever kind, for damaged bytes.
    """
    arrays = load(data)
    length = int.from_bytes(data[:8], "little")  # the numpy reader gives no metadata
    said = json.loads(data[8 : 8 + length]).get("__metadata__", {})
    if CONTENT not in said:
        raise FileError("it is no file of this version of spacy-btl")
    content = dict(json.loads(said[CONTENT]))
    if content.pop(CHECKSUM) != _checksum(arrays, content):
        raise ValueError("the checksum is another")
    return arrays, content


def _canonical(content: Mapping[str, Any]) -> str:
    return json.dumps(content, sort_keys=True, separators=(",", ":"))


def _checksum(arrays: Mapping[str, NDArray[Any]], content: Mapping[str, Any]) -> str:
    digest = hashlib.sha256(_canonical(content).encode("utf-8"))
    for name, array in sorted(arrays.items()):
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(array.data)
    return digest.hexdigest()
