"""The choice of notes on made-up arrays, held against loops over all of them."""

import numpy as np
import pytest

from spacy_btl.calibration.datastore import LabelledRows
from spacy_btl.mentions import OverlappingScheme
from spacy_btl.suggest.choosing import choose
from spacy_btl.suggest.contents import (
    ROWS,
    annotated_mentions,
    beginnings,
    contents_of,
    near_distance,
    novelty_of,
)
from spacy_btl.tags import TagScheme

COUNTS = np.array([400.0, 20.0, 3.0])  # a common type, a rare one and a rarer one


def note(rng, words, *, types=3, novelty=True):
    """A note of random probabilities and logits."""
    p = rng.dirichlet(np.ones(types + 1) * 0.3, words)
    logits = rng.normal(size=(words, types + 1)).astype("float32")
    unlike = rng.uniform(size=words) if novelty else None
    return contents_of(p[:, 1:], p.max(axis=1), logits, unlike, COUNTS)


def brute_force(notes, counts, n, near, cost):
    """The same choice, word by word. Notes have fewer than `ROWS` words."""
    known = [float(count) for count in counts]
    novelty = [note.novelty.tolist() for note in notes]
    chosen = []
    while len(chosen) < min(n, len(notes)):
        totals = {}
        for number, one in enumerate(notes):
            expected = [
                sum(v * p for v, p in zip(novelty[number], one.begin[:, k].tolist(), strict=True))
                for k in range(len(known))
            ]
            before = sum((1 + count) ** -0.5 for count in known)
            after = sum((1 + c + e) ** -0.5 for c, e in zip(known, expected, strict=True))
            value = (before - after) / one.words**cost
            totals[number] = value, expected
        best = max((i for i in totals if i not in chosen), key=lambda i: totals[i][0])
        chosen.append(best)
        known = [c + e for c, e in zip(known, totals[best][1], strict=True)]
        for number, one in enumerate(notes):
            for i, row in enumerate(one.rows):
                if near is not None:
                    distance = min(np.linalg.norm(row - other) for other in notes[best].rows)
                    novelty[number][i] = min(novelty[number][i], distance / near)
    return chosen


@pytest.mark.parametrize("cost", [0, 0.5, 1])
@pytest.mark.parametrize("near", [None, 2.0])
def test_each_note_is_the_best_after_those_before_it(cost, near):
    rng = np.random.default_rng(0)
    notes = [note(rng, int(words)) for words in rng.integers(1, ROWS, 30)]
    chosen = [choice.number for choice in choose(notes, COUNTS, 12, near=near, cost=cost)]
    assert chosen == brute_force(notes, COUNTS, 12, near, cost)


def test_the_words_that_are_not_compared_count_too():
    rng = np.random.default_rng(1)
    p = rng.dirichlet(np.ones(4), 3 * ROWS)[:, 1:]
    novelty = rng.uniform(size=len(p))
    contents = contents_of(p, p.max(axis=1), np.ones((len(p), 4), "float32"), novelty, COUNTS)
    assert len(contents.rows) == ROWS
    np.testing.assert_allclose(contents.expected, novelty @ beginnings(p))
    np.testing.assert_allclose(contents.mentions, beginnings(p).sum(axis=0))
    # Those that are compared tell most of rare types.
    rises = beginnings(p) * novelty[:, None]
    telling = ((1 + COUNTS) ** -0.5 - (1 + COUNTS + rises) ** -0.5).sum(axis=1)
    np.testing.assert_array_equal(contents.novelty, novelty[np.sort(np.argsort(-telling)[:ROWS])])


def test_a_rare_type_counts_more_than_a_common_one():
    def holding(label):
        p = np.zeros((5, 3))
        p[:3, label] = 0.9
        return contents_of(p, p.max(axis=1), np.zeros((5, 4), "float32"), None, COUNTS)

    notes = [holding(0), holding(1), holding(2)]
    assert [choice.number for choice in choose(notes, COUNTS, 3)] == [2, 1, 0]


def test_what_is_chosen_counts_as_annotated_and_copies_teach_nothing():
    logits = np.eye(4, dtype="float32")
    p = np.array([[0, 0, 0.9]] * 4)
    other = np.array([[0, 0.5, 0]] * 4)
    notes = [
        contents_of(p, p.max(axis=1), logits, None, COUNTS),
        contents_of(p, p.max(axis=1), logits, None, COUNTS),
        contents_of(other, other.max(axis=1), logits + 9, None, COUNTS),
    ]
    choices = choose(notes, COUNTS, 3, near=0.5)
    assert [choice.number for choice in choices] == [0, 2, 1]
    assert choices[2].gains.sum() == 0
    assert [choice.number for choice in choose(notes, COUNTS, 2)] == [0, 1]  # by types alone


def test_a_long_note_costs_more_by_the_word():
    def mentioning(times, words):
        p = np.zeros((words, 3))
        p[: 2 * times : 2, 2] = 0.9
        return contents_of(p, np.ones(words), np.zeros((words, 4), "float32"), None, COUNTS)

    notes = [mentioning(2, 4), mentioning(4, 100)]
    assert choose(notes, COUNTS, 1, cost=0)[0].number == 1
    assert choose(notes, COUNTS, 1, cost=1)[0].number == 0


def test_fewer_notes_than_asked_for_are_all_chosen():
    rng = np.random.default_rng(2)
    assert choose([], COUNTS, 3) == []
    assert len(choose([note(rng, 4), note(rng, 1, novelty=False)], COUNTS, 3)) == 2


def test_a_mention_begins_where_its_probability_rises():
    p = np.array([[0.0, 0.9], [0.8, 0.9], [0.8, 0.1], [0.1, 0.4], [0.5, 0.0]])
    squares = [[0, 0.81], [0.64, 0], [0, 0], [0, 0.15], [0.24, 0]]
    np.testing.assert_allclose(beginnings(p), squares)
    certain = np.array([0, 1, 1, 0, 1, 0, 0, 1])[:, None]
    assert beginnings(certain).sum() == 3
    low = np.array([0, 0.1, 0] * 10)[:, None]  # ten chances of one in ten
    assert beginnings(low).sum() == pytest.approx(0.1)


@pytest.mark.parametrize("scheme", ["IO", "BIO"])
def test_annotated_mentions_are_counted_in_the_datastore(scheme):
    text = ["pain pain , fever", "fever cough , x", "x"]
    types = TagScheme(["A", "B"], scheme)
    of_words = [[1, 1, 0, 1], [1, 2, 0, 2], [2]]  # of documents
    assert [len(one.split()) for one in text] == [len(one) for one in of_words]
    tags = np.concatenate(of_words).astype("int16")
    if scheme == "BIO":  # the second "pain" goes on with the first
        tags = np.array([1, 2, 0, 1, 1, 3, 0, 3, 3], "int16")
    documents = np.repeat(np.arange(3), [4, 4, 1]).astype("int32")
    none = np.zeros(len(tags), "int32")
    rows = LabelledRows(np.zeros((len(tags), 3), "float32"), tags, documents, none, none)
    assert annotated_mentions(rows, types).tolist() == [3, 3]


def test_annotated_mentions_that_overlap_are_counted_by_type():
    tags = np.array([[1, 0], [1, 1], [0, 1], [1, 1]], "int8")
    documents = np.array([0, 0, 0, 1], "int32")
    rows = LabelledRows(np.zeros((4, 3), "float32"), tags, documents, documents, documents)
    assert annotated_mentions(rows, OverlappingScheme(["A", "B"])).tolist() == [2, 2]


def test_near_is_within_other_documents():
    rng = np.random.default_rng(3)
    logits = rng.normal(size=(60, 4)).astype("float32")
    documents = np.repeat(np.arange(6), 10).astype("int32")
    rows = LabelledRows(logits, np.ones(60, "int16"), documents, documents, documents)
    nearest = [
        min(
            np.linalg.norm(logits[i] - logits[j]) for j in range(60) if documents[j] != documents[i]
        )
        for i in range(60)
    ]
    assert near_distance(rows) == pytest.approx(np.quantile(nearest, 0.9), rel=1e-5)
    one = LabelledRows(logits, rows.tags, np.zeros(60, "int32"), documents, documents)
    assert near_distance(one) is None
    same = LabelledRows(np.zeros_like(logits), rows.tags, documents, documents, documents)
    assert near_distance(same) > 0
    assert novelty_of(np.array([0, 0.5, 3]), 1.0).tolist() == [0, 0.5, 1]
