"""Arrays on disk: right in any memory order, and the same bytes every time."""

import copy
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save
from spacy.tokens import Doc
from spacy.vocab import Vocab

import spacy_btl
from spacy_btl.arrays import load_arrays, save_arrays
from spacy_btl.calibration.datastore import Datastore
from spacy_btl.corpora.docbin import read_docs, write_docs
from spacy_btl.errors import FileError
from spacy_btl.metrics.counts import load_counts, save_counts
from spacy_btl.pipeline.annotations import LOGITS, install_extensions

CONTENT = {"version": "1", "labels": ["Größe", "a b"], "tau": {"b": 0.5, "a": 1.0}, "none": None}

# One array in other memory: none of them is in row order.
LAYOUTS = {
    "column order": np.asfortranarray,
    "turned round": lambda array: array[..., ::-1].copy()[..., ::-1],
    "every other": lambda array: np.repeat(array, 2, axis=0)[::2],
    "big-endian": lambda array: array.astype(array.dtype.newbyteorder(">")),
    "a column of a table": lambda array: np.stack([array, array], axis=-1)[..., 0],
    "read-only": lambda array: np.frombuffer(array.tobytes(), array.dtype).reshape(array.shape),
}


def a_datastore() -> Datastore:
    rng = np.random.default_rng(0)
    return Datastore(
        logits=rng.normal(0, 3, (10, 4)).astype("float32"),
        tags=rng.integers(0, 4, 10).astype("int16"),
        documents=np.arange(10, dtype="int32"),
        starts=np.arange(0, 50, 5, dtype="int32"),
        ends=np.arange(4, 54, 5, dtype="int32"),
        prior=np.array([0.4, 0.3, 0.2, 0.1]),
        labels=("a", "b", "c"),
        scheme="IO",
    )


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", ["float64", "float32", "int64", "int32", "int16", "bool"])
@pytest.mark.parametrize("shape", [(5, 3), (5,), (2, 3, 4), (0, 3), (1, 1)])
def test_an_array_in_any_memory_order_comes_back_as_it_was(layout, dtype, shape):
    values = np.random.default_rng(0).integers(0, 2 if dtype == "bool" else 99, shape)
    array = LAYOUTS[layout](values.astype(dtype))
    back, _ = load_arrays(save_arrays({"array": array}, {}))
    np.testing.assert_array_equal(back["array"], values.astype(dtype))
    assert back["array"].dtype == dtype


def test_broadcast_arrays_and_single_numbers_come_back():
    row = np.broadcast_to(np.arange(4.0), (3, 4))
    back, _ = load_arrays(save_arrays({"row": row, "number": np.array(7)}, {}))
    np.testing.assert_array_equal(back["row"], row)
    assert back["number"].shape == ()
    assert back["number"] == 7


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_datastore_in_any_memory_order_is_saved_as_it_is(layout):
    datastore = a_datastore()
    names = ("logits", "tags", "documents", "starts", "ends", "prior")
    other = Datastore(
        **{name: LAYOUTS[layout](getattr(datastore, name)) for name in names},
        labels=datastore.labels,
        scheme=datastore.scheme,
    )
    assert other.to_bytes() == datastore.to_bytes()
    np.testing.assert_array_equal(
        Datastore.from_bytes(other.to_bytes(), where="here").logits, datastore.logits
    )


@pytest.mark.parametrize("layout", LAYOUTS)
def test_counts_in_any_memory_order_are_saved_as_they_are(layout, tmp_path):
    tokens = np.random.default_rng(0).integers(0, 9, (5, 3, 4)).astype("float64")
    counts = {"documents": np.ones(5), "tokens": LAYOUTS[layout](tokens)}
    save_counts(tmp_path / "counts.npz", counts, ["O", "a", "b", "c"])
    back, _ = load_counts((tmp_path / "counts.npz").read_bytes(), "counts.npz")
    np.testing.assert_array_equal(back["tokens"], tokens)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_weights_in_any_memory_order_are_saved_as_they_are(layout, trained, tmp_path):
    nlp = copy.deepcopy(trained)
    for layer in nlp.get_pipe("ner").model.walk():
        for name in layer.param_names:
            weights = layer.get_param(name)
            other = LAYOUTS[layout](weights)
            layer.set_param(name, other.astype(weights.dtype, copy=False))
    assert nlp.get_pipe("ner").to_bytes() == trained.get_pipe("ner").to_bytes()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_logits_in_any_memory_order_are_saved_with_their_docs(layout, tmp_path):
    install_extensions()
    doc = Doc(Vocab(), words=["severe", "fever"])
    logits = np.random.default_rng(0).normal(size=(2, 3)).astype("float32")
    doc._.set(LOGITS, LAYOUTS[layout](logits))
    write_docs(tmp_path / "docs.spacy", [doc])
    (back,) = read_docs(tmp_path / "docs.spacy", Vocab())
    np.testing.assert_array_equal(back._.get(LOGITS), logits)


def test_what_is_said_of_arrays_comes_back():
    assert load_arrays(save_arrays({"a": np.zeros(1)}, CONTENT))[1] == CONTENT


SAVE_IN_ANOTHER_PROCESS = """
import sys
import numpy as np
from spacy_btl.arrays import save_arrays
content = {key: key for key in set("abcdefghij")}
arrays = {name: np.ones(3) for name in set("klmnop")}
sys.stdout.buffer.write(save_arrays(arrays, content))
"""


@pytest.mark.slow
def test_the_same_content_makes_the_same_bytes_in_every_process():
    files = {
        subprocess.run(
            [sys.executable, "-c", SAVE_IN_ANOTHER_PROCESS],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(files) == 1
    assert len(files.pop()) > 100


def test_a_file_that_is_not_ours_is_a_clear_error():
    for metadata in (None, {"format": "pt"}):
        with pytest.raises(FileError, match="no file of this version of spacy-btl"):
            load_arrays(save({"a": np.zeros(1)}, metadata=metadata))


def test_only_one_module_writes_safetensors():
    sources = Path(spacy_btl.__file__).parent.rglob("*.py")
    users = [path.name for path in sources if "from safetensors" in path.read_text("utf-8")]
    assert users == ["arrays.py"]
