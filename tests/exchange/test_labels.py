"""Labels of token classifiers in the spellings that are in use."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spacy_btl.errors import PipelineError
from spacy_btl.exchange.labels import NAMELESS, from_labels, to_labels
from spacy_btl.tags import TagScheme


def read(*labels: str):
    """The scheme's name and types, and for each of our tags the label that it is read from."""
    scheme, ids = from_labels(dict(enumerate(labels)))
    return scheme.scheme, scheme.types, [None if i is None else labels[i] for i in ids]


names = st.text(st.sampled_from("BIOLUESMbi-_x "), min_size=1, max_size=5).filter(str.strip)


@given(st.lists(names, min_size=1, max_size=4, unique=True), st.sampled_from(["IO", "BIO"]))
def test_labels_of_our_tags_are_read_as_our_tags_whatever_the_types_are_called(types, scheme):
    tags = TagScheme(sorted(types), scheme)
    back, ids = from_labels(dict(enumerate(to_labels(tags))))
    assert (back.tags, back.scheme) == (tags.tags, scheme)
    assert ids == list(range(len(tags)))


@pytest.mark.parametrize("separator", "-_:./| ")
@pytest.mark.parametrize("spelling", ["{m}%s{t}", "{t}%s{m}"])
@pytest.mark.parametrize("case", [str.upper, str.lower])
def test_marks_at_either_end_behind_one_separator(separator, spelling, case):
    spelling %= separator
    types = ["B-cell", "I", "Lab_value", "Sign_symptom"]
    labels = [spelling.format(m=case(m), t=type_) for type_ in types for m in "IB"]
    scheme, found, columns = read(*labels, "O")
    assert (scheme, found) == ("BIO", tuple(types))
    assert columns == ["O", *(spelling.format(m=case(m), t=t) for t in types for m in "BI")]


@pytest.mark.parametrize(
    "types",
    [
        ["Age", "Sign"],
        ["B-cell", "T-cell"],
        ["B-cell", "I"],
        ["E-cadherin", "S-phase"],
        ["Lab_value", "Sign_symptom"],
        ["Stage_I", "Stage_II"],
    ],
)
def test_plain_types_are_io_whatever_letters_they_begin_or_end_with(types):
    assert read("O", *types) == ("IO", tuple(types), ["O", *types])


def test_a_type_without_inside_is_known():
    assert read("O", "B-Age", "B-Sign", "I-Sign") == (
        "BIO",
        ("Age", "Sign"),
        ["O", "B-Age", None, "B-Sign", "I-Sign"],
    )


def test_io_with_a_mark_in_any_order_and_a_small_o():
    assert read("I-Sign", "o", "I-Age") == ("IO", ("Age", "Sign"), ["o", "I-Age", "I-Sign"])


def test_marks_alone_are_of_one_type_without_a_name():
    assert read("O", "B", "I") == ("BIO", (NAMELESS,), ["O", "B", "I"])
    assert read("i", "o", "b") == ("BIO", (NAMELESS,), ["o", "b", "i"])


@pytest.mark.parametrize("spelling", ["{m}-{t}", "{m}_{t}", "{t}-{m}", "{t}_{m}"])
@pytest.mark.parametrize(
    ("marks", "scheme"), [("BILU", "BILOU"), ("BIES", "BIOES"), ("BIMES", "BMES")]
)
def test_a_scheme_without_columns_of_ours_is_refused_by_its_name(spelling, marks, scheme):
    labels = [spelling.format(m=mark, t=type_) for mark in marks for type_ in ("A", "B-cell")]
    with pytest.raises(PipelineError, match=f"labels of the checkpoint .* scheme {scheme}"):
        read("O", *labels)
    with pytest.raises(PipelineError, match=f"scheme {scheme}"):
        read("O", *marks)


@pytest.mark.parametrize(
    ("labels", "problem"),
    [
        (["LABEL_0", "LABEL_1"], "set id2label"),
        (["O"], "must be different"),
        (["O", "O", "A"], "must be different"),
        (["O", "o", "A"], "must be different"),
        (["A", "B-x", "I-x"], "'O' among them"),
        (["O", ""], "must be different"),
        (["O", "I-A", "B"], "'B' has none"),
        (["O", "B-A", "I-A", "[CLS]"], r"'\[CLS\]' has none"),
        (["O", "B-A", "b-A", "I-A"], "upper and lower case"),
        (["O", "B-A", "B-C"], "all have the mark B"),
        (["O", "B-A", "E-A", "S-A"], "BIOES"),
    ],
)
def test_other_labels_are_refused_in_one_line(labels, problem):
    with pytest.raises(PipelineError, match=f"labels of the checkpoint.*{problem}"):
        read(*labels)


def test_labels_must_be_numbered_from_0():
    with pytest.raises(PipelineError, match="numbered from 0"):
        from_labels({0: "O", 2: "A"})
