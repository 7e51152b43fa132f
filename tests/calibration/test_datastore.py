"""The saved datastore: a round trip, and every kind of damage."""

import pickle
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load, save

from spacy_btl.arrays import CONTENT, load_arrays, save_arrays
from spacy_btl.calibration.datastore import (
    FORMAT,
    Datastore,
    LabelledRows,
    concatenate_rows,
    empty_rows,
)
from spacy_btl.errors import CalibratorError
from spacy_btl.tags import TagScheme

WHERE = "somewhere/datastore.safetensors"
ROW_FIELDS = fields(LabelledRows)
ARRAYS = {"logits", "tags", "documents", "starts", "ends", "prior"}


def make_datastore(scheme: str = "IO") -> Datastore:
    rng = np.random.default_rng(0)
    n_tags = 4 if scheme == "IO" else 7
    return Datastore(
        logits=rng.normal(0, 3, (10, n_tags)).astype("float32"),
        tags=rng.integers(0, n_tags, 10).astype("int16"),
        documents=np.repeat([0, 2], 5).astype("int32"),
        starts=np.arange(0, 50, 5, dtype="int32"),
        ends=np.arange(4, 54, 5, dtype="int32"),
        prior=rng.dirichlet(np.ones(n_tags)),
        labels=("Sign", "Größe", "a b"),
        scheme=scheme,
        network="0123",
    )


def damaged(content: dict | None = None, **arrays: np.ndarray | None) -> bytes:
    """A datastore's file with other arrays or content (None: left out), and a sound checksum."""
    kept, said = load_arrays(make_datastore().to_bytes())
    kept, said = {**kept, **arrays}, {**said, **(content or {})}
    return save_arrays(
        {name: array for name, array in kept.items() if array is not None},
        {key: value for key, value in said.items() if value is not None},
    )


def array_with(name: str, value: float) -> np.ndarray:
    array = np.array(load(make_datastore().to_bytes())[name])
    array.flat[1] = value
    return array


def test_the_helper_damages_nothing_by_itself():
    Datastore.from_bytes(damaged(), where=WHERE)


@pytest.mark.parametrize("scheme", ["IO", "BIO"])
def test_comes_back_as_it_was(scheme):
    datastore = make_datastore(scheme)
    back = Datastore.from_bytes(datastore.to_bytes(), where=WHERE)
    for field in fields(Datastore):
        before, after = getattr(datastore, field.name), getattr(back, field.name)
        np.testing.assert_array_equal(after, before)
        assert getattr(after, "dtype", None) == getattr(before, "dtype", None)
    assert (back.labels, back.scheme) == (datastore.labels, datastore.scheme)
    assert back.network == datastore.network


def test_the_clusters_of_the_rows_come_back():
    datastore = replace(make_datastore(), clusters=np.arange(10, dtype="int32") % 3)
    back = Datastore.from_bytes(datastore.to_bytes(), where=WHERE)
    np.testing.assert_array_equal(back.clusters, datastore.clusters)
    assert back.clusters.dtype == "int32"


def test_one_of_the_version_without_clusters_is_read():
    back = Datastore.from_bytes(damaged({"version": "3"}), where=WHERE)
    assert parts(back) == parts(make_datastore())


def test_a_datastore_without_rows_comes_back():
    empty = replace(make_datastore(), **vars(empty_rows(make_datastore().tag_scheme)))
    assert Datastore.from_bytes(empty.to_bytes(), where=WHERE).logits.shape == (0, 4)


def test_rows_are_concatenated_in_their_order():
    rows = LabelledRows(
        **{field.name: getattr(make_datastore(), field.name) for field in ROW_FIELDS}
    )
    again = replace(rows, documents=rows.documents + 3)
    both = concatenate_rows([empty_rows(make_datastore().tag_scheme), rows, again])
    for field in ROW_FIELDS:
        joined = getattr(both, field.name)
        np.testing.assert_array_equal(joined[:10], getattr(rows, field.name))
        np.testing.assert_array_equal(joined[10:], getattr(again, field.name))
        assert joined.dtype == getattr(rows, field.name).dtype
    np.testing.assert_array_equal(both.documents, np.repeat([0, 2, 3, 5], 5))


DAMAGES = {
    **{
        f"no array '{name}'": (
            damaged(**{name: None}),
            f"it holds the arrays {sorted({*ARRAYS} - {name})}",
        )
        for name in sorted(ARRAYS)
    },
    "an array too many": (damaged(more=np.zeros(1)), "it holds the arrays"),
    "rows missing": (damaged(logits=np.zeros((9, 4), "float32")), "'logits' is float32 (9, 4)"),
    "a tag too many": (damaged(logits=np.zeros((10, 5), "float32")), "'logits' is float32 (10, 5)"),
    "flat logits": (damaged(logits=np.zeros(40, "float32")), "'logits' is float32 (40,)"),
    "tags in a column": (damaged(tags=np.zeros((10, 1), "int16")), "'tags' is int16 (10, 1)"),
    "a single tag": (damaged(tags=np.zeros((), "int16")), "it is damaged"),
    "a short prior": (damaged(prior=np.ones(3) / 3), "'prior' is float64 (3,)"),
    "wide logits": (damaged(logits=np.zeros((10, 4))), "'logits' is float64"),
    "wide tags": (damaged(tags=np.zeros(10, "int64")), "'tags' is int64"),
    "wide documents": (damaged(documents=np.zeros(10, "int64")), "'documents' is int64"),
    "few documents": (damaged(documents=np.zeros(9, "int32")), "'documents' is int32 (9,)"),
    "wide starts": (damaged(starts=np.zeros(10, "int64")), "'starts' is int64"),
    "many ends": (damaged(ends=np.full(11, 99, "int32")), "'ends' is int32 (11,)"),
    "a negative document": (damaged(documents=array_with("documents", -1)), "'documents' holds"),
    "a negative start": (damaged(starts=array_with("starts", -1)), "hold offsets of no token"),
    "a token without end": (damaged(ends=array_with("ends", 5)), "hold offsets of no token"),
    "a narrow prior": (damaged(prior=np.ones(4, "float32") / 4), "'prior' is float32"),
    "a NaN": (damaged(logits=array_with("logits", np.nan)), "'logits' holds values that are not"),
    "infinity": (damaged(logits=array_with("logits", -np.inf)), "'logits' holds values that are"),
    "a logit beyond belief": (damaged(logits=array_with("logits", -3e38)), "that are no logits"),
    "a prior of NaN": (damaged(prior=array_with("prior", np.nan)), "'prior' holds values that are"),
    "a tag out of range": (damaged(tags=array_with("tags", 4)), "'tags' holds numbers of no tag"),
    "a negative tag": (damaged(tags=array_with("tags", -1)), "'tags' holds numbers of no tag"),
    "wide clusters": (damaged(clusters=np.zeros(10, "int64")), "'clusters' is int64"),
    "few clusters": (damaged(clusters=np.zeros(9, "int32")), "'clusters' is int32 (9,)"),
    "a negative cluster": (damaged(clusters=np.full(10, -1, "int32")), "numbers of no cluster"),
    "a cluster too many": (damaged(clusters=np.full(10, 10, "int32")), "numbers of no cluster"),
    "a prior of zero": (damaged(prior=np.array([1.0, 0, 0, 0])), "'prior' holds no frequencies"),
    "a prior beyond 1": (damaged(prior=np.ones(4)), "'prior' holds no frequencies"),
    "an early version": (damaged({"version": "2"}), "its version is 2, not 4"),
    "no version": (damaged({"version": None}), "its version is None, not 4"),
    "another format": (damaged({"format": "pt"}), "it is no calibrator of spacy-btl"),
    "no format": (damaged({"format": None}), "it is no calibrator of spacy-btl"),
    "no content": (save({"logits": np.zeros((1, 4), "float32")}), "no file of this version"),
    "an old file": (
        save(load(make_datastore().to_bytes()), metadata={"format": FORMAT, "version": "2"}),
        "no file of this version",
    ),
    "content that is no JSON": (save({}, metadata={CONTENT: "{"}), "it is damaged"),
    "content without end": (save({}, metadata={CONTENT: "[" * 100_000}), "it is damaged"),
    "no checksum": (save({}, metadata={CONTENT: "{}"}), "it is damaged"),
    "another checksum": (save({}, metadata={CONTENT: '{"sha256":"0"}'}), "it is damaged"),
    "another number of labels": (damaged({"labels": ["a", "b"]}), "'logits' is float32 (10, 4)"),
    "labels of numbers": (damaged({"labels": [1, 2, 3]}), "its list of labels is damaged"),
    "labels as a text": (damaged({"labels": "abc"}), "its list of labels is damaged"),
    "no labels": (damaged({"labels": None}), "it is damaged"),
    "another scheme": (damaged({"scheme": "BILUO"}), "its list of labels is damaged"),
    "no scheme": (damaged({"scheme": None}), "it is damaged"),
    "an empty file": (b"", "it is damaged"),
    "a text": (b"not fitted", "it is damaged"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_an_error_that_names_the_file_and_the_reason(damage):
    data, reason = DAMAGES[damage]
    with pytest.raises(CalibratorError) as caught:
        Datastore.from_bytes(data, where=WHERE)
    assert WHERE in str(caught.value)
    assert reason in str(caught.value)


def test_a_file_cut_off_anywhere_is_an_error():
    data = make_datastore().to_bytes()
    for length in range(len(data)):
        with pytest.raises(CalibratorError, match="is damaged"):
            Datastore.from_bytes(data[:length], where=WHERE)


@settings(max_examples=200)
@given(st.binary(max_size=200))
def test_random_bytes_are_an_error(data):
    with pytest.raises(CalibratorError, match=WHERE):
        Datastore.from_bytes(data, where=WHERE)


@settings(max_examples=200)
@given(st.data())
def test_a_changed_byte_is_an_error_or_changes_nothing(data):
    datastore = make_datastore()
    whole = bytearray(datastore.to_bytes())
    whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    try:
        back = Datastore.from_bytes(bytes(whole), where=WHERE)
    except CalibratorError:
        return
    assert back.to_bytes() == datastore.to_bytes()


class Exploit:
    """Writes a file when it is unpickled."""

    def __init__(self, target: Path):
        self.target = target

    def __reduce__(self):
        return Path.touch, (self.target,)


def test_nothing_in_a_file_is_executed(tmp_path):
    flag = tmp_path / "executed"
    data = pickle.dumps(Exploit(flag))
    with pytest.raises(CalibratorError):
        Datastore.from_bytes(data, where=WHERE)
    assert not flag.exists()
    pickle.loads(data)
    assert flag.exists()  # it would have been


def test_the_bytes_are_those_of_a_safetensors_file():
    assert set(load(make_datastore().to_bytes())) == ARRAYS


# Any datastore comes back as it was, and no damaged byte goes unnoticed.

EXTREMES = np.array([0, -0.0, 1e-45, -1e15, 1e15], "float32")


@st.composite
def datastores(draw: st.DrawFn) -> Datastore:
    # numpy draws the arrays: hypothesis would take a hundred times as long.
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    labels = tuple(draw(st.lists(st.text(min_size=1, max_size=9), max_size=3, unique=True)))
    scheme = draw(st.sampled_from(["IO", "BIO"]))
    n_tags, n_rows = len(TagScheme(labels, scheme)), draw(st.integers(0, 6))
    logits = rng.normal(0, 10, (n_rows, n_tags)).astype("float32")
    some = rng.random(logits.shape) < 0.2
    logits[some] = rng.choice(EXTREMES, some.sum())
    documents, starts = rng.integers(0, 2**31 - 1, (2, n_rows)).astype("int32")
    return Datastore(
        logits=logits,
        tags=rng.integers(0, n_tags, n_rows).astype("int16"),
        documents=documents,
        starts=starts,
        ends=starts + 1,
        prior=rng.dirichlet(np.full(n_tags, 2.0)),
        labels=labels,
        scheme=scheme,
    )


def parts(datastore: Datastore) -> list[object]:
    """All that a datastore is, bit for bit."""
    values = [getattr(datastore, field.name) for field in fields(Datastore)]
    return [
        (value.dtype.str, value.shape, value.tobytes()) if isinstance(value, np.ndarray) else value
        for value in values
    ]


@settings(max_examples=60)
@given(datastores())
def test_any_datastore_comes_back_as_it_was(datastore):
    assert parts(Datastore.from_bytes(datastore.to_bytes(), where="here")) == parts(datastore)


@settings(max_examples=150)
@given(datastores(), st.data())
def test_any_damaged_byte_or_cut_is_an_error_or_changes_nothing(datastore, data):
    whole = bytearray(datastore.to_bytes())
    place = data.draw(st.integers(0, len(whole) - 1))
    if data.draw(st.booleans(), label="cut"):
        del whole[place:]
    else:
        whole[place] ^= data.draw(st.integers(1, 255))
    try:
        found = Datastore.from_bytes(bytes(whole), where="here")
    except CalibratorError:
        return
    assert parts(found) == parts(datastore)
