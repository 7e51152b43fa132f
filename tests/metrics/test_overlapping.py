"""Scores of mentions that overlap, against a count by plain sets and spaCy's own scorer."""

import random

import pytest
import spacy
from spacy.scorer import Scorer
from spacy.tokens import Doc, Span
from spacy.training import Example

from spacy_btl.metrics.scorer import score_ner

VOCAB = spacy.blank("en").vocab
TYPES = ("Condition", "Drug", "Scope")
KEYS = {"spans_key": "btl", "mentions_key": "gold"}


def doc_of(n_words, mentions, key, *, missing=()):
    doc = Doc(VOCAB, words=["w"] * n_words)
    doc.spans[key] = [Span(doc, start, end, label=label) for start, end, label in mentions]
    doc.set_ents([], missing=[doc[i : i + 1] for i in missing], default="outside")
    return doc


def draw(rng, n_words, n):
    starts = [rng.randrange(n_words - 3) for _ in range(n)]
    return [(start, start + rng.randint(1, 3), rng.choice(TYPES)) for start in starts]


def corpus(seed):
    """(words, gold mentions, predicted mentions) of ten documents; some of them agree."""
    rng = random.Random(seed)
    documents = []
    for _ in range(10):
        n_words = rng.randint(4, 20)
        gold = draw(rng, n_words, rng.randint(0, 6))
        kept = [mention for mention in gold if rng.random() < 0.6]
        predicted = sorted({*kept, *draw(rng, n_words, rng.randint(0, 3))})
        documents.append((n_words, gold, predicted))
    return documents


def examples_of(documents):
    return [
        Example(doc_of(n, predicted, "btl"), doc_of(n, gold, "gold"))
        for n, gold, predicted in documents
    ]


def f_of(correct, gold, predicted):
    return 2 * correct / (gold + predicted) if gold + predicted else 0.0


def mean(values):
    values = list(values)
    return sum(values) / len(values)


@pytest.mark.parametrize("seed", range(20))
def test_scores_are_those_of_plain_sets(seed):
    documents = corpus(seed)
    gold, predicted, token_gold, token_predicted = set(), set(), set(), set()
    for number, (n_words, in_gold, in_predicted) in enumerate(documents):
        for mentions, all_, tokens in (
            (in_gold, gold, token_gold),
            (in_predicted, predicted, token_predicted),
        ):
            all_ |= {(number, *mention) for mention in mentions}
            inside = {(number, i, t) for start, end, t in mentions for i in range(start, end)}
            covered = {i for _, i, _ in inside}
            outside = {(number, i, "O") for i in range(n_words) if i not in covered}
            tokens |= inside | outside
    scores = score_ner(examples_of(documents), **KEYS)
    assert scores["spans_btl_p"] == pytest.approx(len(gold & predicted) / len(predicted))
    assert scores["spans_btl_r"] == pytest.approx(len(gold & predicted) / len(gold))

    def by_class(items, label):
        return {item for item in items if item[-1] == label}

    def f_by_class(one, other, label):
        one, other = by_class(one, label), by_class(other, label)
        return f_of(len(one & other), len(one), len(other))

    types = {mention[-1] for mention in gold}
    classes = {token[-1] for token in token_gold}
    recalls = [
        len(by_class(token_gold, c) & token_predicted) / len(by_class(token_gold, c))
        for c in classes
    ]
    assert scores["spans_btl_macro_f"] == pytest.approx(
        mean(f_by_class(gold, predicted, label) for label in types)
    )
    assert scores["tag_uar"] == pytest.approx(mean(recalls))
    assert scores["tag_macro_f"] == pytest.approx(
        mean(f_by_class(token_gold, token_predicted, c) for c in classes)
    )


@pytest.mark.parametrize("seed", range(20))
def test_scores_are_those_of_spacys_scorer(seed):
    documents = corpus(seed)
    theirs = [
        Example(doc_of(n, predicted, "btl"), doc_of(n, gold, "btl"))
        for n, gold, predicted in documents
    ]
    expected = Scorer.score_spans(
        theirs,
        "btl",
        allow_overlap=True,
        getter=lambda doc, key: doc.spans[key],
        has_annotation=lambda doc: True,
    )
    scores = score_ner(examples_of(documents), **KEYS)
    for name in ("p", "r", "f"):
        assert scores[f"spans_btl_{name}"] == pytest.approx(expected[f"btl_{name}"])
    for label, values in expected["btl_per_type"].items():
        assert scores["spans_btl_per_type"][label] == pytest.approx(values)


def test_where_nothing_overlaps_the_token_scores_are_the_flat_ones():
    words = ["w"] * 8
    gold, predicted = Doc(VOCAB, words=words), Doc(VOCAB, words=words)
    gold.ents = [Span(gold, 0, 2, label="Drug"), Span(gold, 3, 6, label="Scope")]
    predicted.ents = [Span(predicted, 0, 3, label="Drug"), Span(predicted, 3, 5, label="Drug")]
    gold.spans["gold"], predicted.spans["btl"] = list(gold.ents), list(predicted.ents)
    flat = score_ner([Example(predicted, gold)])
    scores = score_ner([Example(predicted, gold)], **KEYS)
    assert {key: scores[key] for key in flat} == flat
    assert scores["spans_btl_f"] == scores["ents_f"]


def test_spans_that_touch_missing_annotation_are_not_counted():
    gold = doc_of(6, [(0, 1, "Drug")], "gold", missing=[3, 4])
    predicted = doc_of(6, [(0, 1, "Drug"), (2, 4, "Scope"), (3, 5, "Drug")], "btl")
    scores = score_ner([Example(predicted, gold)], **KEYS)
    assert (scores["spans_btl_p"], scores["spans_btl_r"]) == (1.0, 1.0)
    assert scores["tag_macro_f"] < 1  # token 2 is annotated as `O`


def test_the_tokens_of_the_reference_count():
    gold = Doc(VOCAB, words=["heart-attack", "today"])
    gold.spans["gold"] = [Span(gold, 0, 1, label="Drug"), Span(gold, 0, 2, label="Drug")]
    predicted = Doc(
        VOCAB, words=["heart", "-", "attack", "today"], spaces=[False, False, True, True]
    )
    predicted.spans["btl"] = [Span(predicted, 0, 3, label="Drug")]
    scores = score_ner([Example(predicted, gold)], **KEYS)
    assert (scores["spans_btl_p"], scores["spans_btl_r"]) == (1.0, 0.5)


def test_without_annotation_there_is_no_score():
    bare = Doc(VOCAB, words=["w"] * 4)
    scores = score_ner([Example(doc_of(4, [(0, 1, "Drug")], "btl"), bare)], **KEYS)
    assert set(scores.values()) == {None}
