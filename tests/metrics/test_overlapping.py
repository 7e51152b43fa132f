"""Scores of mentions that overlap, against a count by plain sets and spaCy's own scorer."""

import random

import numpy as np
import pytest
import spacy
from hypothesis import given, settings
from sklearn.metrics import multilabel_confusion_matrix, recall_score
from spacy.scorer import Scorer
from spacy.tokens import Doc, Span
from spacy.training import Example

from spacy_btl.errors import PipelineError
from spacy_btl.metrics.counts import document_counts, total, widened
from spacy_btl.metrics.predictions import as_predictions
from spacy_btl.metrics.rows import Group, read_example
from spacy_btl.metrics.scorer import score_ner
from spacy_btl.metrics.scores import scores, type_scores
from tests.metrics.test_scorer import CORPUS
from tests.metrics.test_scorer import doc_of as tagged
from tests.metrics.test_scores import ece

VOCAB = spacy.blank("en").vocab
TYPES = ("Condition", "Drug", "Scope")
KEYS = {"spans_key": "btl", "mentions_key": "gold"}
GROUP = Group("btl", "gold")


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


def predictions_of(examples, group=GROUP, confidence=lambda _: None):
    return as_predictions([read_example(one, confidence, group) for one in examples])


def indicators(documents, which):
    """Whether each token is of each class, and `O` if it is of none: bool [N, 1 + types]."""
    rows = []
    for n_words, *mentions in documents:
        for token in range(n_words):
            types = {t for start, end, t in mentions[which] if start <= token < end}
            rows.append([not types, *(label in types for label in TYPES)])
    return np.array(rows)


@pytest.mark.parametrize("seed", range(5))
def test_tokens_are_counted_as_binary_decisions(seed):
    documents = corpus(seed)
    predictions = predictions_of(examples_of(documents))
    counts = document_counts(predictions)
    assert "tokens" not in counts
    counts = total(widened(counts, predictions.classes, ("O", *TYPES)))
    gold, predicted = (indicators(documents, which) for which in (0, 1))
    (_, false_positive), (false_negative, correct) = np.moveaxis(
        multilabel_confusion_matrix(gold, predicted), 0, 2
    )
    expected = [correct, correct + false_negative, correct + false_positive]
    assert counts["decisions"].tolist() == np.array(expected).tolist()
    values = scores(counts)
    present = gold.any(axis=0)
    recall = recall_score(gold[:, present], predicted[:, present], average="macro")
    assert values["tag_uar"] == pytest.approx(recall)
    assert "tag_accuracy" not in values


def test_counts_of_a_flat_pipeline_by_hand():
    """All mentions count, and those that `doc.ents` has no room for besides."""
    gold = Doc(VOCAB, words=["w"] * 9)
    places = [(0, 4, "Scope"), (1, 2, "Drug"), (3, 6, "Drug"), (7, 8, "Condition")]
    gold.spans["mentions"] = [
        *(Span(gold, start, end, label=label) for start, end, label in places),
        Span(gold, 1, 2, label="Drug"),  # twice
    ]
    gold.set_ents(
        [gold.spans["mentions"][0], gold.spans["mentions"][3]],
        missing=[gold[4:6]],
        default="outside",
    )
    predicted = Doc(VOCAB, words=["w"] * 9)
    predicted.ents = [
        Span(predicted, 1, 2, label="Drug"),
        Span(predicted, 3, 6, label="Drug"),  # in tokens without annotation of entities
        Span(predicted, 7, 8, label="Drug"),
    ]
    values = {1: 0.9, 3: 0.7, 7: 0.6}
    predictions = predictions_of([Example(predicted, gold)], None, lambda ent: values[ent.start])
    assert predictions.classes == ("O", "Condition", "Drug", "Scope")
    counts = total(document_counts(predictions))
    assert counts["mentions"].tolist() == [[0, 2, 0], [1, 2, 1], [0, 3, 0]]
    assert counts["lost"].tolist() == [[0, 2, 0], [0, 2, 0]]
    assert counts["entities"].tolist() == [[0, 0, 0], [1, 0, 1], [0, 2, 0]]
    n, confidence, correct = counts["mention_bins"].sum(axis=1)
    assert (n, confidence, correct) == (3, pytest.approx(2.2), 2)
    assert counts["mention_losses"][0] == pytest.approx(0.1**2 + 0.3**2 + 0.6**2)
    found = scores(counts)
    assert (found["spans_btl_p"], found["spans_btl_r"]) == (2 / 3, 2 / 4)
    assert found["spans_btl_r_lost"] == 1
    assert found["spans_btl_macro_f"] == pytest.approx((0 + 4 / 5 + 0) / 3)


def test_lost_mentions_are_those_that_are_no_entities():
    documents = [(8, [(0, 4, "Scope"), (1, 2, "Drug"), (3, 6, "Drug")], [(1, 2, "Drug")])]
    (example,) = examples_of(documents)
    example.reference.ents = [Span(example.reference, 0, 4, label="Scope")]
    counts = total(document_counts(predictions_of([example])))
    assert counts["lost"].sum(axis=-1).tolist() == [1, 2]
    example.reference.set_ents([], default="missing")  # it says nothing about entities
    counts = total(document_counts(predictions_of([example])))
    assert counts["lost"].sum() == 0
    assert np.isnan(scores(counts)["spans_btl_r_lost"])


@settings(max_examples=25)
@given(CORPUS)
def test_where_nothing_overlaps_mentions_are_counted_as_entities(notes):
    examples = [Example(tagged(predicted), tagged(gold)) for gold, predicted in notes]
    flat = predictions_of(examples, None)
    assert flat.mentions is None
    for example in examples:
        example.reference.spans["gold"] = list(example.reference.ents)
        example.predicted.spans["btl"] = list(example.predicted.ents)
    expected, counts = document_counts(flat), document_counts(predictions_of(examples))
    assert counts["mentions"].tolist() == counts["entities"].tolist()
    assert counts["entities"].tolist() == expected["entities"].tolist()
    assert counts["decisions"].tolist() == expected["tokens"].tolist()
    values, of_types = scores(total(counts)), type_scores(total(counts))
    for name in ("p", "r", "f", "macro_f"):
        assert values[f"spans_btl_{name}"] == pytest.approx(values[f"ents_{name}"], nan_ok=True)
    for name in "prf":
        np.testing.assert_array_equal(of_types[f"spans_btl_{name}"], of_types[f"ents_{name}"])


def test_calibration_is_of_all_mentions():
    examples = examples_of([document for seed in range(8) for document in corpus(seed)])
    rng = np.random.default_rng(0)
    spans = [span for example in examples for span in example.predicted.spans["btl"]]
    known = {(id(s.doc), s.start, s.end, s.label_): float(rng.random()) for s in spans}
    predictions = predictions_of(
        examples, confidence=lambda s: known[id(s.doc), s.start, s.end, s.label_]
    )
    confidence, correct = [], []
    for example in examples:
        gold = {(s.start, s.end, s.label_) for s in example.reference.spans["gold"]}
        for span in example.predicted.spans["btl"]:
            confidence.append(known[id(span.doc), span.start, span.end, span.label_])
            correct.append((span.start, span.end, span.label_) in gold)
    values = scores(total(document_counts(predictions)))
    confidence, correct = np.array(confidence), np.array(correct)
    assert values["spans_btl_ece"] == pytest.approx(ece(confidence, correct))
    assert values["spans_btl_brier"] == pytest.approx(((confidence - correct) ** 2).mean())
    assert "ents_ece" not in values


def test_the_scores_of_a_group_are_confidence_where_we_state_none():
    (example,) = examples_of([(5, [(0, 1, "Drug")], [(0, 1, "Drug"), (2, 3, "Drug")])])
    example.predicted.spans["btl"].attrs["scores"] = np.array([0.9, 0.6], dtype="float32")
    values = predictions_of([example]).mentions.confidence
    assert values == pytest.approx([0.9, 0.6])
    ours = predictions_of([example], confidence=lambda span: 0.5).mentions.confidence
    assert ours.tolist() == [0.5, 0.5]
    example.predicted.spans["btl"].attrs["scores"] = np.array([0.9])  # of other spans
    assert np.isnan(predictions_of([example]).mentions.confidence).all()


def test_equal_predicted_mentions_count_once_with_the_highest_confidence():
    (example,) = examples_of([(5, [(0, 1, "Drug")], [(0, 1, "Drug")] * 3)])
    example.predicted.spans["btl"].attrs["scores"] = np.array([0.2, 0.9, 0.6])
    predictions = predictions_of([example])
    assert predictions.mentions.confidence.tolist() == [0.9]
    assert total(document_counts(predictions))["mentions"].tolist() == [[1], [1], [1]]


def test_gold_is_in_the_group_of_the_pipe_where_there_are_no_mentions():
    doc = doc_of(4, [(0, 1, "Drug")], "sc")
    for key, correct in (("sc", 1), ("mentions", 1), ("other", 0)):
        gold = doc_of(4, [(0, 1, "Drug")], key)
        predictions = predictions_of([Example(doc, gold)], Group("sc"))
        assert predictions.mentions.correct.sum() == correct


def test_missing_tokens_of_a_doc_without_any_mention_are_not_counted():
    gold = doc_of(4, [], "gold", missing=[1, 2])
    counts = document_counts(predictions_of([Example(doc_of(4, [], "btl"), gold)]))
    assert counts["decisions"][0, :, 0].tolist() == [2, 2, 2]


@pytest.mark.parametrize("label", ["", "O"])
def test_predicted_mentions_without_a_type_are_a_clear_error(label):
    (example,) = examples_of([(4, [(0, 1, "Drug")], [(0, 1, label)])])
    with pytest.raises(PipelineError, match=r"doc.spans\['btl'\] without a type"):
        predictions_of([example])
