"""Labels in brat: any of them comes back, and no two share a name."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spacy_btl.corpora.brat_types import brat_type, label_of

LETTERS = st.characters(exclude_categories=["Cs"])
# Labels that look like the escapes, or nearly.
TRICKY = st.lists(st.sampled_from(["-", "u", "2F", "E9", "_", "é", "疾", "A", "-u41-", "-uD800-"]))
LABELS = st.text(LETTERS, min_size=1) | TRICKY.map("".join).filter(bool)


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("Sign_symptom", "Sign_symptom"),
        ("Follow-up", "Follow-up"),
        ("Signe/clé", "Signe-u2F-cl-uE9-"),
        ("疾病", "-u75BE_75C5-"),
        ("A-u2F-B", "A-u2D-u2F-B"),
        ("---", "-u2D---"),
    ],
)
def test_names(label, name):
    assert brat_type(label) == name
    assert label_of(name) == label


@given(LABELS)
def test_any_label_has_a_name_that_brat_allows_and_comes_back(label):
    name = brat_type(label)
    assert re.fullmatch("[a-zA-Z0-9_-]+", name)
    assert name.strip("-"), "brat takes it for a rule"
    assert label_of(name) == label


@given(st.text("-u2FDE98_0", min_size=1))
def test_a_name_from_elsewhere_is_read_in_one_way(name):
    label = label_of(name)
    assert label == name or brat_type(label) == name
    assert label.encode("utf-8")
