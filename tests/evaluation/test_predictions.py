"""What is read from a pipeline, and pooled."""

from dataclasses import fields

import numpy as np
import pytest
import spacy
from scipy.special import softmax
from spacy.tokens import Doc, Span
from spacy.training import Example

from spacy_btl.errors import BtlWarning, PipelineError
from spacy_btl.evaluation.predictions import find_group, predict
from spacy_btl.metrics.counts import document_counts
from spacy_btl.metrics.predictions import Predictions
from spacy_btl.metrics.rows import Group
from tests.conftest import bert_pipeline, make_examples, train
from tests.evaluation.made_up import predictions_of, tagger


def equal(left, right):
    return all(
        np.array_equal(getattr(left, field.name), getattr(right, field.name))
        for field in fields(Predictions)
        if field.name != "confidence"
    ) and np.array_equal(left.confidence, right.confidence, equal_nan=True)


def test_classes_entities_and_documents_by_hand():
    predictions = predictions_of(
        [(["O", "B-Sign", "I-Sign"], ["B-Drug", "O", "B-Sign"]), (["O"], ["O"])]
    )
    assert predictions.classes == ("O", "Drug", "Sign")
    assert predictions.n_docs == 2
    assert predictions.patients.tolist() == [0, 1]
    assert predictions.token_docs.tolist() == [0, 0, 0, 1]
    assert predictions.gold.tolist() == [0, 2, 2, 0]
    assert predictions.predicted.tolist() == [1, 0, 2, 0]
    assert predictions.gold_ents.tolist() == [(0, 1, 3, 2)]
    assert predictions.predicted_ents.tolist() == [(0, 0, 1, 1), (0, 2, 3, 2)]
    assert np.isnan(predictions.confidence).all()
    assert predictions.probabilities is None
    assert predictions.prior is None


def test_whose_a_document_is_comes_from_the_annotation():
    docs = [Doc(tagger().vocab, ["a"], user_data={"tags": ["O"]}) for _ in range(3)]
    gold = [Doc(tagger().vocab, ["a"], user_data={"patient_id": p}) for p in "xyx"]
    predictions = predict(tagger(), [Example(*pair) for pair in zip(docs, gold, strict=True)])
    assert predictions.patients.tolist() == [0, 1, 0]


def annotate(gold, *tags):
    """What a pipeline says that tags the words of gold."""
    doc = Doc(gold.vocab, [token.text for token in gold], user_data={"tags": list(tags)})
    return predict(tagger(), [Example(doc, gold)])


def test_white_space_and_what_is_not_annotated_are_left_out():
    gold = Doc(tagger().vocab, ["fever", "\n", "cough", "today"], ents=["B-Sign", "O", "O", "O"])
    predictions = annotate(gold, "B-Sign", "O", "O", "O")
    assert predictions.gold.tolist() == [1, 0, 0]
    gold = Doc(tagger().vocab, ["fever", "and", "cough", "today"])
    gold.set_ents([Span(gold, 0, 1, label="Sign")], missing=[gold[2:]], default="outside")
    predictions = annotate(gold, "B-Sign", "O", "B-Sign", "O")
    assert predictions.gold.tolist() == [1, 0]
    assert predictions.predicted_ents.tolist() == [(0, 0, 1, 1)]


def test_a_mention_with_white_space_at_its_ends_is_its_entity():
    gold = Doc(tagger().vocab, ["fever", "\n", "today"], ents=["B-Sign", "I-Sign", "O"])
    gold.spans["mentions"] = [*gold.ents, Span(gold, 1, 2, label="Sign")]
    predictions = annotate(gold, "B-Sign", "O", "O")
    assert predictions.mentions is None
    assert predictions.gold_ents.tolist() == [(0, 0, 1, 1)]


def test_entities_are_in_the_tokens_of_the_annotation():
    gold = Doc(tagger().vocab, ["heart-attack", "today"], ents=["B-Sign", "O"])
    doc = Doc(
        tagger().vocab,
        ["heart", "-", "attack", "today"],
        spaces=[False, False, True, True],
        user_data={"tags": ["B-Sign", "I-Sign", "I-Sign", "O"]},
    )
    predictions = predict(tagger(), [Example(doc, gold)])
    assert predictions.predicted_ents.tolist() == predictions.gold_ents.tolist() == [(0, 0, 1, 1)]
    assert predictions.gold.tolist() == [1, 1, 1, 0]


def test_probabilities_are_the_softmax_of_the_logits(trained):
    predictions = predict(trained, make_examples(trained))
    ner = trained.get_pipe("ner")
    assert predictions.classes == ("O", *sorted(ner.labels))
    columns = [predictions.classes.index(label) for label in ("O", *ner.labels)]
    docs = [trained(example.predicted) for example in make_examples(trained)]
    expected = np.concatenate([softmax(doc._.token_logits, axis=1) for doc in docs])
    assert predictions.probabilities[:, columns] == pytest.approx(expected, abs=1e-5)
    assert predictions.prior[columns] == pytest.approx(ner.prior)
    assert (predictions.probabilities.argmax(axis=1) == predictions.predicted).all()


def test_a_calibrators_probabilities_come_first_and_a_cleaner_takes_nothing(trained_path):
    nlp = spacy.load(trained_path)
    pipe = nlp.add_pipe("knn_calibrator", config={"n_neighbors": 3})
    pipe.fit(make_examples(nlp))
    cleaned = {"_.token_probabilities": None, "_.token_logits": None}
    nlp.add_pipe("doc_cleaner", config={"attrs": cleaned})
    predictions = predict(nlp, make_examples(nlp))
    labels = ("O", *pipe.calibrator.datastore.labels)
    columns = [predictions.classes.index(label) for label in labels]
    with nlp.select_pipes(disable=["doc_cleaner"]):
        docs = [nlp(example.predicted) for example in make_examples(nlp)]
    expected = np.concatenate([doc._.token_probabilities for doc in docs])
    assert predictions.probabilities[:, columns] == pytest.approx(expected, abs=1e-5)
    confidence = [ent._.confidence for doc in docs for ent in doc.ents]
    assert predictions.confidence == pytest.approx(confidence, abs=1e-5)


def test_the_tags_of_a_type_are_added_up(tiny_bert):
    nlp = train(bert_pipeline(tiny_bert, scheme="BIO"), steps=2)
    predictions = predict(nlp, make_examples(nlp))
    assert predictions.probabilities.shape[1] == len(predictions.classes) == 5
    assert predictions.probabilities.sum(axis=1) == pytest.approx(1, abs=1e-5)
    assert predictions.prior.sum() == pytest.approx(1)


def test_docs_are_left_as_they_were(trained):
    examples = make_examples(trained)
    predict(trained, examples)
    assert not any(example.predicted.ents for example in examples)


def test_no_document_is_an_error(trained):
    with pytest.raises(PipelineError, match="nothing to score"):
        predict(trained, [])


def test_a_prior_that_is_not_known_is_that_of_the_datastore(trained_path):
    """As for a network that was trained elsewhere."""
    nlp = spacy.load(trained_path)
    ner = nlp.get_pipe("ner")
    ner.cfg["tag_counts"] = [0] * len(ner.tag_scheme)
    assert predict(nlp, make_examples(nlp)).prior is None
    pipe = nlp.add_pipe("knn_calibrator", config={"n_neighbors": 3})
    pipe.fit(make_examples(nlp))
    predictions = predict(nlp, make_examples(nlp))
    columns = [predictions.classes.index(label) for label in ("O", *ner.labels)]
    assert predictions.prior[columns] == pytest.approx(pipe.calibrator.datastore.prior)
    assert len(set(predictions.prior)) > 1


def test_a_pipe_that_is_disabled_says_nothing(trained_path):
    nlp = spacy.load(trained_path)
    nlp.disable_pipe("ner")
    nlp.add_pipe("entity_ruler").add_patterns([{"label": "Sign", "pattern": "fever"}])
    predictions = predict(nlp, make_examples(nlp))
    assert len(predictions.predicted_ents) == 2
    assert predictions.probabilities is None


def test_gold_with_white_space_at_its_ends_is_found_without_it():
    gold = Doc(tagger().vocab, ["no", "\n", "fever", "\n", "today"])
    gold.ents = [Span(gold, 1, 4, label="Sign")]
    predictions = annotate(gold, "O", "O", "B-Sign", "O", "O")
    assert predictions.gold_ents.tolist() == predictions.predicted_ents.tolist() == [(0, 2, 3, 1)]


# Pipelines whose predicted mentions can overlap.

PAIR = {"@losses": "spacy_btl.BinaryTokenLabels.v1", "competition": "pair"}


@pytest.fixture(scope="module")
def overlapping():
    nlp = spacy.blank("en")
    nlp.add_pipe("btl_ner", config={"spans_key": "found", "loss": PAIR})
    with pytest.warns(BtlWarning, match="doc.ents are read instead"):
        return train(nlp, steps=30)


def test_mentions_are_those_of_the_group(overlapping):
    examples = make_examples(overlapping)
    predictions = predict(overlapping, examples)
    docs = [overlapping(example.predicted.copy()) for example in examples]
    spans = [(i, span) for i, doc in enumerate(docs) for span in doc.spans["found"]]
    expected = [(i, s.start, s.end, predictions.classes.index(s.label_)) for i, s in spans]
    assert expected
    assert predictions.mentions.predicted.tolist() == expected
    assert predictions.mentions.confidence == pytest.approx([s._.confidence for _, s in spans])
    assert predictions.probabilities is predictions.prior is None
    assert {"mentions", "decisions", "mention_bins"} <= document_counts(predictions).keys()


def test_a_spancat_is_read_by_its_key():
    nlp = spacy.blank("en")
    suggester = {"@misc": "spacy.ngram_suggester.v1", "sizes": [1]}
    spancat = nlp.add_pipe("spancat", config={"spans_key": "sc", "suggester": suggester})
    examples = make_examples(nlp)
    for example in examples:
        example.reference.spans["sc"] = list(example.reference.ents)
        example.reference.ents = []
    nlp.initialize(lambda: examples)
    spancat.cfg["threshold"] = 0.0  # all that is suggested
    predictions = predict(nlp, examples)
    assert find_group(nlp) == Group("sc")
    assert len(predictions.mentions.gold) > 0
    n_tokens = sum(len(example.predicted) for example in examples)
    assert len(predictions.mentions.predicted) == n_tokens * len(spancat.labels)
    assert not np.isnan(predictions.mentions.confidence).any()


def test_the_last_pipe_that_decides_says_where_mentions_are(overlapping):
    assert find_group(overlapping) == Group("found", "mentions")
    nlp = spacy.blank("en")
    assert find_group(nlp) is None
    ruler = nlp.add_pipe("span_ruler", config={"spans_key": "ruled"})
    assert find_group(nlp) is None  # without a pattern it finds nothing
    ruler.add_patterns([{"label": "Sign", "pattern": "fever"}])
    assert find_group(nlp) == Group("ruled")
    nlp.add_pipe("btl_ner")
    assert find_group(nlp) is None
    nlp.add_pipe(
        "btl_ner", name="second", config={"spans_key": "a", "mentions_key": "b", "loss": PAIR}
    )
    nlp.add_pipe("doc_cleaner")
    assert find_group(nlp) == Group("a", "b")
    nlp.disable_pipe("second")
    assert find_group(nlp) is None
