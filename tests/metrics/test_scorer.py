"""The scorer against scikit-learn (tokens), seqeval and spaCy's own scorer (entities)."""

import pytest
import spacy
from hypothesis import given, settings
from hypothesis import strategies as st
from seqeval.metrics import classification_report
from seqeval.metrics import f1_score as seqeval_f1
from seqeval.metrics import precision_score as seqeval_precision
from seqeval.metrics import recall_score as seqeval_recall
from seqeval.scheme import IOB2
from sklearn.metrics import f1_score, recall_score
from spacy.scorer import get_ner_prf
from spacy.tokens import Doc, Span
from spacy.training import Example

from spacy_btl.metrics.rows import read_example
from spacy_btl.metrics.scorer import make_ner_scorer, score_ner

VOCAB = spacy.blank("en").vocab
RUNS = st.lists(
    st.tuples(st.sampled_from(["O", "O", "Sign", "Test", "Value"]), st.integers(1, 3)),
    min_size=1,
    max_size=6,
)


def tag_runs(runs, n_tokens):
    """Runs of (type, length) as IOB2 tags of exactly n_tokens tokens."""
    tags = []
    for label, length in runs:
        tags += ["O"] * length if label == "O" else [f"B-{label}", *[f"I-{label}"] * (length - 1)]
    return (tags + ["O"] * n_tokens)[:n_tokens]


def doc_of(tags):
    return Doc(VOCAB, words=["fever"] * len(tags), ents=tags)


def classes(tags):
    return [tag.split("-")[-1] for tag in tags]


# Per note: the gold runs and the predicted ones, which cover the gold's length.
CORPUS = st.lists(st.tuples(RUNS, RUNS), min_size=1, max_size=5).map(
    lambda notes: [
        (tag_runs(gold, n), tag_runs(predicted, n))
        for gold, predicted in notes
        for n in [sum(length for _, length in gold)]
    ]
)


def score(corpus):
    return score_ner(Example(doc_of(predicted), doc_of(gold)) for gold, predicted in corpus)


@given(CORPUS)
def test_token_scores_are_scikit_learns(corpus):
    gold = [tag for tags, _ in corpus for tag in classes(tags)]
    predicted = [tag for _, tags in corpus for tag in classes(tags)]
    over = {"labels": sorted(set(gold)), "average": "macro", "zero_division": 0}
    scores = score(corpus)
    assert scores["tag_uar"] == pytest.approx(recall_score(gold, predicted, **over))
    assert scores["tag_macro_f"] == pytest.approx(f1_score(gold, predicted, **over))


@settings(max_examples=30)
@given(CORPUS)
def test_entities_are_scored_as_spacy_scores_them(corpus):
    examples = [Example(doc_of(predicted), doc_of(gold)) for gold, predicted in corpus]
    expected, scores = get_ner_prf(examples), score_ner(examples)
    for name in ("ents_p", "ents_r", "ents_f"):
        assert scores[name] == pytest.approx(expected[name])
    assert (scores["ents_per_type"] is None) == (expected["ents_per_type"] is None)
    for label, row in (expected["ents_per_type"] or {}).items():
        assert scores["ents_per_type"][label] == pytest.approx(row)


@given(CORPUS.filter(lambda corpus: any(tag != "O" for gold, _ in corpus for tag in gold)))
def test_entity_scores_are_seqevals(corpus):
    gold = [tags for tags, _ in corpus]
    predicted = [tags for _, tags in corpus]
    strict = {"mode": "strict", "scheme": IOB2, "zero_division": 0}
    scores = score(corpus)
    assert scores["ents_p"] == pytest.approx(seqeval_precision(gold, predicted, **strict))
    assert scores["ents_r"] == pytest.approx(seqeval_recall(gold, predicted, **strict))
    assert scores["ents_f"] == pytest.approx(seqeval_f1(gold, predicted, **strict))
    report = classification_report(gold, predicted, output_dict=True, **strict)
    gold_types = {label for tags in gold for label in classes(tags)} - {"O"}
    per_type = {label: report[label]["f1-score"] for label in gold_types}
    assert scores["ents_macro_f"] == pytest.approx(sum(per_type.values()) / len(per_type))
    for label, f in per_type.items():
        assert scores["ents_per_type"][label]["f"] == pytest.approx(f)


def test_missing_tokens_are_left_out():
    gold = Doc(VOCAB, words=["fever"] * 4)
    gold.set_ents([Span(gold, 1, 2, label="Sign")], missing=[gold[2:4]], default="outside")
    scores = score_ner([Example(doc_of(["O", "B-Sign", "O", "B-Test"]), gold)])
    assert (scores["tag_uar"], scores["tag_macro_f"], scores["ents_p"]) == (1.0, 1.0, 1.0)


def test_white_space_is_left_out():
    gold = Doc(VOCAB, words=["fever", "\n", "cough"], ents=["B-Sign", "O", "O"])
    predicted = Doc(VOCAB, words=["fever", "\n", "cough"], ents=["B-Sign", "B-Sign", "O"])
    row = read_example(Example(predicted, gold))
    assert (row.gold, row.predicted) == (["Sign", "O"], ["Sign", "O"])
    assert row.scored.tolist() == [True, False, True]


def test_without_annotation_there_is_no_score():
    bare = Doc(VOCAB, words=["severe", "fever"])
    scores = score_ner([Example(doc_of(["O", "B-Sign"]), bare)])
    assert set(scores.values()) == {None}
    assert score_ner([]) == scores


def test_without_gold_entities_entity_macro_f_is_undefined_and_outside_is_still_measured():
    scores = score([(["O", "O"], ["O", "B-Sign"])])
    assert (scores["ents_macro_f"], scores["tag_uar"], scores["ents_p"]) == (None, 0.5, 0.0)


def test_gold_of_another_tokenization_is_aligned():
    gold = Doc(VOCAB, words=["heart-attack", "today"], ents=["B-Sign", "O"])
    predicted = Doc(
        VOCAB,
        words=["heart", "-", "attack", "today"],
        spaces=[False, False, True, True],
        ents=["B-Sign", "I-Sign", "I-Sign", "O"],
    )
    scores = make_ner_scorer()([Example(predicted, gold)])
    assert scores["tag_uar"] == scores["ents_f"] == 1.0


def test_gold_with_white_space_at_its_ends_is_not_counted_wrong():
    words = ["no", "\n", "fever", " ", "today"]
    gold, predicted = Doc(VOCAB, words=words), Doc(VOCAB, words=words)
    gold.ents = [Span(gold, 1, 4, label="Sign")]
    predicted.ents = [Span(predicted, 2, 3, label="Sign")]
    scores = score_ner([Example(predicted, gold)])
    assert scores["ents_f"] == scores["ents_macro_f"] == scores["tag_uar"] == 1
