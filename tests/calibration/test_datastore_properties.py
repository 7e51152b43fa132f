"""Any datastore comes back as it was, and no damaged byte goes unnoticed."""

from dataclasses import fields

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from spacy_btl.calibration.datastore import Datastore
from spacy_btl.errors import CalibratorError
from spacy_btl.tags import TagScheme

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
