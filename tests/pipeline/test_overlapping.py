"""`btl_ner` with `spans_key`: mentions that overlap, from training to the doc."""

import json
import math
import pickle
import warnings
from collections import Counter

import numpy as np
import pytest
import spacy
import srsly
import torch
from spacy.cli.train import train
from spacy.tokens import Doc, DocBin, Span
from spacy.training import Corpus, Example
from torch.nn.functional import cross_entropy

from spacy_btl.annotate.annotate import annotate_file
from spacy_btl.calibration.candidates import Words, border_log_odds, describe, type_log_odds
from spacy_btl.calibration.mention_map import MentionMap
from spacy_btl.corpora.docbin import write_docs
from spacy_btl.errors import BtlWarning, CalibratorError, PipelineError
from spacy_btl.evaluation.evaluate import evaluate
from spacy_btl.exchange.huggingface import export_hf
from spacy_btl.lines import read_lines
from spacy_btl.pipeline.annotations import install_extensions, set_entities, set_spans
from spacy_btl.pipeline.labels import count_mentions
from spacy_btl.tags import Runs
from spacy_btl.training.average import average
from spacy_btl.training.calibrate import calibrate
from spacy_btl.training.ensemble import ensemble
from spacy_btl.training.judge import Judge
from spacy_btl.training.tune import tune
from spacy_btl.training.uncalibrated import uncalibrated
from tests.conftest import bert_pipeline, step

LOSS = {
    "@losses": "spacy_btl.BinaryTokenLabels.v1",
    "competition": "pair",
    "class_weights": "fourth_root_odds",
}
# (text, mentions): a scope around its conditions, a value in a test, one word of two types.
NOTES = [
    ("no fever or cough today", [(3, 8, "Sign"), (12, 17, "Sign"), (0, 17, "Negation")]),
    ("crp was 84 mg / l", [(0, 17, "Test"), (8, 17, "Value")]),
    ("severe pain in chest", [(0, 11, "Sign"), (0, 6, "Severity"), (15, 20, "Place")]),
    ("given aspirin daily", []),
]
TYPES = ("Negation", "Place", "Severity", "Sign", "Test", "Value")
MARKER = "Zebedee"


def reference(nlp, text, mentions, key="mentions"):
    doc = nlp.make_doc(text)
    spans = [doc.char_span(start, end, label=label) for start, end, label in mentions]
    doc.spans[key] = spans
    doc.set_ents(spacy.util.filter_spans(spans), default="outside")
    return doc


def make_examples(nlp, notes=NOTES, repeat=1, **settings):
    return [
        Example(nlp.make_doc(text), reference(nlp, text, mentions, **settings))
        for text, mentions in notes * repeat
    ]


def blank(**config):
    nlp = spacy.blank("en")
    nlp.add_pipe("btl_ner", name="ner", config={"spans_key": "btl", "loss": LOSS, **config})
    return nlp


def initialized(nlp=None, examples=None):
    nlp = nlp or blank()
    nlp.initialize(lambda: make_examples(nlp) if examples is None else examples)
    return nlp


def trained_on_notes(tiny_bert, scheme="IO"):
    nlp = bert_pipeline(tiny_bert, scheme=scheme, loss=LOSS)
    config = nlp.get_pipe_config("ner")
    nlp.remove_pipe("ner")
    del config["factory"]
    nlp.add_pipe("btl_ner", name="ner", config={**config, "spans_key": "btl"})
    spacy.util.fix_random_seed(0)
    optimizer = nlp.initialize(lambda: make_examples(nlp))
    optimizer.learn_rate = 0.005
    for _ in range(40):
        step(nlp, make_examples(nlp, repeat=2), optimizer)
    return nlp


@pytest.fixture(scope="module")
def nlp(tiny_bert):
    return trained_on_notes(tiny_bert)


def places(spans):
    return [(span.start_char, span.end_char, span.label_) for span in spans]


def test_other_pipes_of_the_same_types_leave_the_confidence_of_a_group():
    install_extensions()
    doc = Doc(spacy.blank("en").vocab, words=["a", "b", "c"])
    spans = [Span(doc, 0, 1, "Sign"), Span(doc, 0, 3, "Sign")]
    set_spans(doc, "btl", spans, [0.9, 0.8], labels=["Sign"])
    joined = Doc.from_docs([doc])
    set_spans(doc, "second", [Span(doc, 0, 3, "Sign")], [0.4], labels=["Sign"])
    assert doc._.span_confidence == {"btl": [0.9, 0.8], "second": [0.4]}
    set_entities(doc, [Span(doc, 1, 2, "Sign")], [0.7], labels=["Sign"])
    assert doc._.span_confidence == {"btl": [0.9, 0.8], "second": [0.4]}
    assert [span._.confidence for span in doc.spans["btl"]] == [0.9, 0.8]
    set_spans(doc, "btl", [], [], labels=["Sign"])
    assert doc._.span_confidence == {"second": [0.4]}
    assert Span(doc, 0, 1, "Sign")._.confidence is None
    assert joined._.span_confidence == {"btl": [0.9, 0.8]}


# Training


@pytest.mark.parametrize("scheme", ["IO", "BIO"])
def test_it_learns_mentions_that_overlap(tiny_bert, scheme):
    nlp = trained_on_notes(tiny_bert, scheme)
    for text, mentions in NOTES:
        doc = nlp(text)
        assert set(places(doc.spans["btl"])) == set(mentions)
        assert places(doc.spans["btl"]) == sorted(places(doc.spans["btl"]))
        assert set(doc.ents) <= set(doc.spans["btl"])
    scores = nlp.evaluate(make_examples(nlp))
    names = ("spans_btl_p", "spans_btl_r", "spans_btl_f", "spans_btl_macro_f", "tag_uar")
    assert [scores[name] for name in names] == [1.0] * 5
    assert scores["tag_macro_f"] == 1.0
    assert scores["spans_btl_per_type"]["Negation"] == {"p": 1.0, "r": 1.0, "f": 1.0}


@pytest.mark.parametrize("scheme", ["IO", "BIO"])
def test_the_loss_is_that_of_the_copies_and_missing_tokens_carry_none(scheme):
    """In plain torch, from the mentions to the loss of a batch of two docs."""
    nlp = initialized(blank(scheme=scheme))
    ner = nlp.get_pipe("ner")
    examples = make_examples(nlp)[:3]
    partly = examples[2].reference
    partly.set_ents([], missing=[partly[2:3], partly[3:4]], default="outside")
    rng = np.random.default_rng(1)
    width = 1 if scheme == "IO" else 2
    scores = [
        rng.normal(0, 2, (len(one.predicted), 1 + 6 * width + 12)).astype("float32")
        for one in examples
    ]
    loss, gradients = ner.get_loss(examples, scores)

    z = torch.tensor(np.concatenate(scores), requires_grad=True)
    known = [True] * 5 + [True] * 6 + [True, True, False, True]  # "chest" is a mention, "in" none
    losses = []
    for number, label in enumerate(TYPES):
        tags, starts, ends = [], [], []
        for text, mentions in NOTES[:3]:
            for token in nlp.make_doc(text):
                inside = [m for m in mentions if m[2] == label and m[0] <= token.idx < m[1]]
                begins = any(m[0] == token.idx for m in inside)
                tags.append(0 if not inside else 1 if begins or scheme == "IO" else 2)
                starts.append(int(begins))
                ends.append(int(any(m[1] == token.idx + len(token) for m in inside)))
        own = list(range(1 + number * width, 1 + (number + 1) * width))
        first = 1 + 6 * width + number
        for labels, columns in ((tags, own), (starts, [first]), (ends, [first + 6])):
            n = sum(tag > 0 for tag in labels)
            weight = torch.tensor([1.0, *[((18 - n) / n) ** 0.25] * len(columns)])
            of_copy = z[known][:, [0, *columns]]
            losses.append(cross_entropy(of_copy, torch.tensor(labels)[known], weight=weight))
    expected = torch.stack(losses).mean()
    expected.backward()
    assert loss == pytest.approx(expected.item(), rel=1e-5)
    np.testing.assert_allclose(np.concatenate(gradients), z.grad.numpy(), atol=1e-7)
    assert not gradients[2][2].any()


def test_without_spans_key_nothing_of_it_is_on_a_doc():
    nlp = spacy.blank("en")
    nlp.add_pipe("btl_ner", name="ner")
    initialized(nlp)
    doc = nlp("no fever or cough today")
    assert dict(doc.spans) == {}
    assert set(doc.user_data["btl_ner"]) == {"tags", "network"}
    assert "n_tokens" not in nlp.get_pipe("ner").cfg
    assert "spans_btl_f" in nlp.evaluate(make_examples(nlp))  # the annotation overlaps
    assert "spans_btl_f" not in nlp.evaluate(make_examples(nlp, [NOTES[3]]))


@pytest.mark.parametrize(
    "loss",
    [
        {"@losses": "spacy_btl.BinaryTokenLabels.v1"},
        {"@losses": "spacy_btl.AllTokenLabels.v1"},
        {"@losses": "spacy_btl.FocalLoss.v1"},
        {"@losses": "spacy_btl.DiceLoss.v1"},
        {"@losses": "spacy_btl.LogitAdjustedLoss.v1"},
    ],
    ids=str,
)
def test_other_losses_are_refused_when_the_pipe_is_made(loss):
    with pytest.raises(PipelineError, match='competition = "pair"'):
        blank(loss=loss)


@pytest.mark.parametrize("key", ["", "mentions"])
def test_a_key_that_would_write_over_the_gold_mentions_is_refused(key):
    with pytest.raises(PipelineError, match="spans_key"):
        blank(spans_key=key)


# What is counted


@pytest.mark.parametrize("scheme", ["IO", "BIO"])
def test_initialize_counts_tokens_per_type(scheme):
    ner = initialized(blank(scheme=scheme)).get_pipe("ner")
    assert ner.labels == TYPES
    data = ner.label_data
    assert data["tokens"] == 18
    by_type = dict.fromkeys(TYPES, 0)
    for tag, n in data["tags"].items():
        if tag != "O":
            by_type[tag if scheme == "IO" else tag[2:]] += n
    assert by_type == {
        "Negation": 4, "Place": 1, "Severity": 1, "Sign": 4, "Test": 6, "Value": 4
    }  # fmt: skip
    assert data["tags"]["O"] == 1 + 0 + 1 + 3
    for border in ("starts", "ends"):
        assert data[border] == Counter(label for _, mentions in NOTES for *_, label in mentions)
    assert ner.tag_counts.tolist() == list(data["tags"].values())


@pytest.mark.parametrize("scheme", ["IO", "BIO"])
def test_a_new_network_begins_with_the_frequencies_of_tags(scheme):
    """In the decision of each type, a zero vector has the frequencies for probabilities."""
    nlp = initialized(blank(scheme=scheme))
    ner = nlp.get_pipe("ner")
    (head,) = [layer for layer in ner.model.walk() if layer.name == "over_seen_tokens"]
    bias = head.layers[0].get_param("b") * head.attrs["scale"]
    width = 1 if scheme == "IO" else 2
    n_tokens = ner.cfg["n_tokens"]
    for number in range(len(TYPES)):
        columns = [0, *range(1 + number * width, 1 + (number + 1) * width)]
        counts = ner.tag_counts[columns] + 1
        counts[0] = n_tokens - ner.tag_counts[columns[1:]].sum() + 1
        p = np.exp(bias[columns]) / np.exp(bias[columns]).sum()
        np.testing.assert_allclose(p, counts / counts.sum(), rtol=1e-5)
        for border, first in (("starts", 0), ("ends", len(TYPES))):
            n = ner.label_data[border][TYPES[number]]
            column = 1 + width * len(TYPES) + first + number
            assert bias[column] == pytest.approx(np.log((n + 1) / (n_tokens - n + 1)), rel=1e-5)


def test_init_labels_spares_the_pass_and_is_told_from_that_of_flat_mentions(tmp_path):
    saved = initialized().get_pipe("ner").label_data
    srsly.write_json(tmp_path / "ner.json", saved)
    labels = srsly.read_json(tmp_path / "ner.json")
    nlp = blank()
    nlp.config["initialize"]["components"]["ner"] = {"labels": labels}
    nlp.initialize(lambda: make_examples(nlp)[3:])
    assert nlp.get_pipe("ner").label_data == saved
    flat = spacy.blank("en")
    flat.add_pipe("btl_ner", name="ner")
    flat_labels = initialized(flat).get_pipe("ner").label_data
    for spans_key, other in (("btl", flat_labels), (None, labels)):
        nlp = blank(spans_key=spans_key)
        nlp.config["initialize"]["components"]["ner"] = {"labels": other}
        with pytest.raises(PipelineError, match="init labels"):
            initialized(nlp)


def test_counts_are_saved_and_training_goes_on(tmp_path):
    nlp = initialized()
    nlp.to_disk(tmp_path / "model")
    back = spacy.load(tmp_path / "model")
    ner = back.get_pipe("ner")
    assert (ner.spans_key, ner.label_data) == ("btl", nlp.get_pipe("ner").label_data)
    first, second = (pipeline(NOTES[0][0]) for pipeline in (back, nlp))
    assert places(second.spans["btl"]) == places(first.spans["btl"])
    losses = back.update(make_examples(back), sgd=back.resume_training())
    assert math.isfinite(losses["ner"])
    assert losses["ner"] > 0


def test_a_network_of_flat_mentions_is_not_trained_on_with_spans_key(tmp_path):
    flat = initialized(blank(spans_key=None, loss={**LOSS, "non_target": "outside"}))
    flat.to_disk(tmp_path / "model")
    nlp = spacy.load(tmp_path / "model", config={"components": {"ner": {"spans_key": "btl"}}})
    with pytest.raises(PipelineError, match="initialize it again"):
        nlp.update(make_examples(nlp), sgd=nlp.resume_training())


# Bad input


def test_a_group_that_no_doc_has_is_named_once_and_entities_are_read():
    nlp = blank(mentions_key="nested")
    with pytest.warns(BtlWarning, match=r"4 of 4 .*doc\.spans\['nested'\].*doc\.ents") as caught:
        initialized(nlp)
    assert len(caught) == 1
    assert "Severity" not in nlp.get_pipe("ner").labels  # it is inside a longer mention
    with pytest.warns(BtlWarning, match=r"doc\.spans\['nested'\]"):
        nlp.evaluate(make_examples(nlp))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        nlp.evaluate(make_examples(nlp))


def test_another_group_can_be_named():
    nlp = blank(mentions_key="nested")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        initialized(nlp, make_examples(nlp, key="nested"))
    assert nlp.get_pipe("ner").labels == TYPES


def test_empty_groups_and_no_entities_are_no_types_to_learn():
    nlp = blank()
    with pytest.raises(PipelineError, match=r"doc\.spans\['mentions'\]"):
        initialized(nlp, make_examples(nlp, [("given aspirin daily", [])]))


def test_tokens_without_annotation_are_not_counted_where_no_mention_is():
    """White space, and a doc whose annotation is missing in part."""
    nlp = blank()
    examples = make_examples(nlp)
    doc = nlp.make_doc("given aspirin\n\ndaily today")
    doc.set_ents([], missing=[doc[:1]], default="outside")
    before = count_mentions(examples, "IO", "mentions", sample_size=1)
    with pytest.warns(BtlWarning, match="1 of 5 documents"):
        after = count_mentions(
            [*examples, Example(nlp.make_doc(doc.text), doc)], "IO", "mentions", sample_size=1
        )
    assert after.tokens - before.tokens == 3  # aspirin, daily, today
    assert after.tags["O"] - before.tags["O"] == 3
    assert after.tags["Sign"] == before.tags["Sign"]


@pytest.mark.parametrize("label", ["O", ""])
def test_a_type_that_is_none_is_refused(label):
    nlp = blank()
    doc = nlp.make_doc(f"given {MARKER} daily")
    doc.spans["mentions"] = [Span(doc, 1, 2, label=label)]
    with pytest.raises(PipelineError, match="type") as caught:
        initialized(nlp, [Example(nlp.make_doc(doc.text), doc)])
    assert MARKER not in str(caught.value)


def test_mentions_that_do_not_align_are_counted():
    nlp = blank()
    gold = Doc(nlp.vocab, words=["fe", "ver", "today"], spaces=[False, True, False])
    gold.spans["mentions"] = [Span(gold, 0, 1, label="Sign")]
    examples = [*make_examples(nlp), Example(nlp.make_doc("fever today"), gold)]
    with pytest.warns(BtlWarning, match="1 mention .* inside a token") as caught:
        initialized(nlp, examples)
    assert "fever" not in str(caught[0].message)
    assert nlp.get_pipe("ner").label_data["tokens"] == 18 + 1


def test_an_unknown_type_in_the_evaluation_data_counts_as_missed(nlp):
    notes = [*NOTES, ("given aspirin daily", [(6, 13, "Drug")])]
    with pytest.warns(BtlWarning, match="'Drug'"):
        scores = nlp.evaluate(make_examples(nlp, notes))
    assert scores["spans_btl_per_type"]["Drug"]["r"] == 0


# Prediction


def test_confidence_is_the_least_probability_of_the_type_against_outside(nlp):
    scheme = nlp.get_pipe("ner").tag_scheme
    doc = nlp("severe pain in chest")
    logits = doc._.token_logits
    assert len(doc.spans["btl"]) == 3
    for span in doc.spans["btl"]:
        column = scheme.tags.index(span.label_)
        margins = logits[span.start : span.end, column] - logits[span.start : span.end, 0]
        assert span._.confidence == pytest.approx(min(1 / (1 + np.exp(-margins))), rel=1e-5)
    assert [ent._.confidence for ent in doc.ents] == doc._.confidence


def test_in_bio_confidence_sums_the_tags_of_the_type():
    nlp = initialized(blank(scheme="BIO"))
    scheme = nlp.get_pipe("ner").tag_scheme
    doc = nlp.make_doc("severe pain\ntoday")
    logits = np.zeros((4, len(scheme)), dtype="float32")
    columns = [scheme.tags.index(tag) for tag in ("B-Sign", "I-Sign", "B-Value")]
    logits[0, columns] = [1.0, 0.5, 2.0]
    logits[1, columns] = [-1.0, 1.0, -3.0]
    logits[3, 0] = 1.0
    nlp.get_pipe("ner").set_annotations([doc], [logits])
    spans = doc.spans["btl"]
    assert [(s.start, s.end, s.label_) for s in spans] == [(0, 1, "Value"), (0, 2, "Sign")]
    confidences = [span._.confidence for span in spans]
    p = [1 - 1 / (1 + np.exp(1) + np.exp(0.5)), 1 - 1 / (1 + np.exp(-1) + np.exp(1))]
    assert confidences == pytest.approx([1 - 1 / (1 + np.exp(2) + 1), min(p)], rel=1e-6)


def test_tokens_that_the_encoder_never_saw_are_of_no_type(nlp):
    scheme = nlp.get_pipe("ner").tag_scheme
    doc = nlp.make_doc("a b")
    with pytest.warns(BtlWarning, match="no wordpiece for 2 of 2 tokens"):
        nlp.get_pipe("ner").set_annotations([doc], [np.zeros((2, len(scheme)), dtype="float32")])
    assert list(doc.spans["btl"]) == []


def with_spans(doc, ents=()):
    """Sign 0-3 of 0.9 crossing Test 2-5 of 0.8, Sign 4-5 of 0.5 inside that."""
    doc.set_ents(list(ents), default="unmodified")
    spans = [Span(doc, 0, 3, "Sign"), Span(doc, 2, 5, "Test"), Span(doc, 4, 5, "Sign")]
    set_spans(doc, "btl", spans, [0.9, 0.8, 0.5], labels=["Sign", "Test"])
    return doc


@pytest.fixture
def made(nlp):
    return with_spans(nlp.make_doc("a b c d e f"))


def shown(spans):
    return [(span.start, span.end, span.label_, span._.confidence) for span in spans]


GROUP = [(0, 3, "Sign", 0.9), (2, 5, "Test", 0.8), (4, 5, "Sign", 0.5)]


def test_entities_are_the_best_subset(made):
    assert shown(made.spans["btl"]) == GROUP
    assert shown(made.ents) == [GROUP[0], GROUP[2]]
    assert made.spans["btl"].name == "btl"


def test_entities_of_other_pipes_stay_and_win_also_where_they_equal_ours(nlp):
    doc = nlp.make_doc("a b c d e f")
    for _ in range(2):
        with_spans(doc, [Span(doc, 0, 3, "Sign"), Span(doc, 5, 6, "Other")])
        assert shown(doc.spans["btl"]) == GROUP
        assert [(ent.start, ent.label_) for ent in doc.ents] == [
            (0, "Sign"), (4, "Sign"), (5, "Other")
        ]  # fmt: skip
    set_spans(doc, "btl", [], [], labels=["Sign", "Test"])
    assert [(ent.start, ent.label_) for ent in doc.ents] == [(0, "Sign"), (5, "Other")]
    assert shown(doc.ents)[0][-1] is None
    assert list(doc.spans["btl"]) == []


def through_doc_bin(doc):
    data = DocBin(docs=[doc], store_user_data=True).to_bytes()
    return next(DocBin().from_bytes(data).get_docs(doc.vocab))


def through_bytes(doc):
    return Doc(doc.vocab).from_bytes(doc.to_bytes())


def through_json(doc):
    names = ["confidence", "span_confidence"]
    data = json.loads(json.dumps(doc.to_json(underscore=names)))
    back = Doc(doc.vocab).from_json(data)
    assert back.to_json(underscore=names) == data
    return back


def through_pickle(doc):
    return pickle.loads(pickle.dumps(doc))


@pytest.mark.parametrize(
    "way", [through_doc_bin, through_bytes, through_json, through_pickle, Doc.copy]
)
def test_both_travel_with_the_doc(made, way):
    back = way(made)
    assert shown(back.spans["btl"]) == GROUP
    assert shown(back.ents) == [GROUP[0], GROUP[2]]
    set_spans(back, "btl", [], [], labels=["Sign", "Test"])
    assert back.ents == ()
    assert not [key for key in back.user_data if "confidence" in str(key)]


def test_confidence_moves_with_the_offsets(made):
    part = made[2:].as_doc(copy_user_data=True)
    assert Span(part, 0, 3, "Test")._.confidence == 0.8
    assert shown(part.ents) == [(2, 3, "Sign", 0.5)]
    both = Doc.from_docs([made, made])
    assert [one[-1] for one in shown(both.spans["btl"])] == [0.9, 0.8, 0.5] * 2
    assert [one[-1] for one in shown(both.ents)] == [0.9, 0.5] * 2


@pytest.mark.parametrize("text", ["", " ", "\n\n \t"])
def test_docs_without_words_have_an_empty_group(nlp, text):
    doc = nlp(text)
    assert list(doc.spans["btl"]) == []
    assert doc.ents == ()


def test_sentences_of_other_pipes_are_no_border(nlp, tmp_path):
    nlp.to_disk(tmp_path / "model")
    with_sentences = spacy.load(tmp_path / "model")
    with_sentences.add_pipe("sentencizer", first=True, config={"punct_chars": ["or"]})
    doc, whole = with_sentences(NOTES[0][0]), nlp(NOTES[0][0])
    assert len(list(doc.sents)) == 2
    assert places(doc.spans["btl"]) == places(whole.spans["btl"])
    assert len(doc.spans["btl"]) == 3


def test_ten_thousand_spans_in_a_doc(nlp):
    scheme = nlp.get_pipe("ner").tag_scheme
    doc = nlp.make_doc("w " * 20_000)
    logits = np.full((20_000, len(scheme)), -1, dtype="float32")
    logits[:, 0] = 0
    logits[::4, 1], logits[1::4, 1], logits[1::4, 2], logits[2::4, 2] = 1, 1, 2, 2
    nlp.get_pipe("ner").set_annotations([doc], [logits])
    assert len(doc.spans["btl"]) == 10_000
    assert {ent.label_ for ent in doc.ents} == {TYPES[1]}  # the surer of each pair that crosses
    assert len(doc.ents) == 5_000


# The calibrator


@pytest.fixture(scope="module")
def path(nlp, tmp_path_factory):
    """The notes as a corpus, the trained pipeline, and the same calibrated on other documents."""
    path = tmp_path_factory.mktemp("overlapping")
    examples = make_examples(nlp, repeat=3)
    write_docs(path / "train.spacy", [one.reference for one in examples])
    others = [(f"Seen again: {text}", [(s + 12, e + 12, t) for s, e, t in m]) for text, m in NOTES]
    write_docs(path / "dev.spacy", [one.reference for one in make_examples(nlp, others, 3)])
    nlp.to_disk(path / "model")
    calibrate(
        str(path / "model"),
        path / "train.spacy",
        path / "calibrated",
        settings={"n_neighbors": 5, "knn_weight": 0.5},
        held_out=path / "dev.spacy",
    )
    return path


@pytest.fixture
def calibrated(path):
    return spacy.load(path / "calibrated")


def test_the_calibrator_decides_all_mentions(calibrated):
    """Confidence is that of the map of mentions, from the probabilities on the doc."""
    calibrator = calibrated.get_pipe("knn_calibrator").calibrator
    scheme = calibrated.get_pipe("ner").tag_scheme
    for text, mentions in NOTES:
        with calibrated.select_pipes(disable="doc_cleaner"):
            doc = calibrated(text)
        spans = list(doc.spans["btl"])
        assert set(places(spans)) == set(mentions)
        p = doc._.token_probabilities
        assert p.shape == (len(doc), len(TYPES), 4)
        np.testing.assert_allclose(p[..., :2].sum(axis=-1), 1, rtol=1e-5)
        rows = [(s.start, s.end - 1, scheme.types.index(s.label_)) for s in spans]
        lines = read_lines(doc)
        words = Words(np.zeros(len(doc), dtype="int64"), lines.breaks, lines.short)
        candidates = Runs(*np.array(rows, dtype="int64").reshape(-1, 3).T)
        p = p.astype("float64")
        of_types, borders = type_log_odds(p, scheme), border_log_odds(p)
        expected = calibrator.maps.confidence(describe(candidates, of_types, borders, words))
        assert [span._.confidence for span in spans] == pytest.approx(expected, rel=1e-4)
        assert doc._.confidence == [ent._.confidence for ent in doc.ents]
        assert None not in doc._.confidence


def test_mentions_of_less_than_the_least_confidence_are_dropped(calibrated):
    text = NOTES[0][0]
    all_spans = with_confidence(calibrated(text))
    least = min(value for _, value in all_spans)
    calibrated.get_pipe("knn_calibrator").calibrator.set_params(min_confidence=least + 1e-6)
    with warnings.catch_warnings():
        warnings.simplefilter("error", BtlWarning)  # the maps hold for it
        doc = calibrated(text)
    kept = with_confidence(doc)
    assert kept == [(place, value) for place, value in all_spans if value > least + 1e-6]
    assert len(kept) < len(all_spans)
    assert {place for place, _ in kept} >= set(places(doc.ents))


def with_confidence(doc):
    spans = doc.spans["btl"]
    return list(zip(places(spans), [span._.confidence for span in spans], strict=True))


def test_the_probabilities_are_those_of_neighbours_and_network(calibrated, path):
    """Counted by hand over the documents that it was fitted to, in place of the search."""
    ner, pipe = calibrated.get_pipe("ner"), calibrated.get_pipe("knn_calibrator")
    store, maps = pipe.calibrator.datastore, pipe.calibrator.maps
    with calibrated.select_pipes(disable="doc_cleaner"):
        doc = calibrated("crp was 84 mg / l")
    logits = doc._.token_logits
    for token, number in ((0, 4), (2, 5), (3, 0)):
        apart = store.logits - logits[token, :7]  # those of the tags
        nearest = np.argsort((apart**2).sum(axis=1))[:5]
        share = (5 * (store.tags[nearest, number] == 1).mean() + store.prior[number, 1]) / 6
        a, b = maps.tokens.sharpness, maps.tokens.certainty
        yes, no = (q**a / (1 - q) ** b for q in (share, 1 - share))
        margin = (logits[token, 1 + number] - logits[token, 0]) / maps.tokens.temperature
        expected = 0.5 * yes / (yes + no) + 0.5 / (1 + np.exp(-margin))
        assert doc._.token_probabilities[token, number, 1] == pytest.approx(expected, rel=1e-3)
    counts = ner.tag_counts[1:] + 1
    assert store.prior[:, 1] == pytest.approx(counts / (ner.cfg["n_tokens"] + 2))


@pytest.mark.filterwarnings("error::spacy_btl.errors.BtlWarning")
def test_another_tau_finds_other_mentions_with_the_same_confidence(calibrated):
    """The maps do not depend on it, so nothing warns."""
    text = "history of severe fever, no cough"
    found = []
    for tau in (-20.0, 0.15, 20.0):
        doc = next(calibrated.pipe([text], component_cfg={"knn_calibrator": {"tau": tau}}))
        found.append({(s.start, s.end, s.label_): s._.confidence for s in doc.spans["btl"]})
    never, usual, often = found
    assert not never
    assert usual.keys() < often.keys()
    assert {place: often[place] for place in usual} == pytest.approx(usual)
    calibrator = calibrated.get_pipe("knn_calibrator").calibrator
    calibrator.set_params(tau=20.0)
    assert len(calibrated(text).spans["btl"]) == len(often)
    calibrator.set_params(transition_weight=0.9)
    with pytest.raises(BtlWarning, match="has other settings"):
        calibrated(text)


def test_tau_of_a_type_leaves_the_others(calibrated):
    text = "no fever or cough"
    found = {}
    for tau in (-20.0, 0.0, 20.0):
        settings = {"knn_calibrator": {"tau": {"Sign": tau}}}
        doc = next(calibrated.pipe([text], component_cfg=settings))
        found[tau] = places(doc.spans["btl"])
    others = {tau: [one for one in found[tau] if one[2] != "Sign"] for tau in found}
    assert others[-20.0] == others[0.0] == others[20.0] != []
    never, once, often = (
        {i for start, end, label in found[tau] if label == "Sign" for i in range(start, end)}
        for tau in found
    )
    assert never == set()
    assert once
    assert once <= often
    with pytest.raises(CalibratorError, match="tau names the types"):
        next(calibrated.pipe([text], component_cfg={"knn_calibrator": {"tau": {"O": 1.0}}}))


def test_a_span_is_explained_by_the_tags_of_its_type(calibrated):
    doc = calibrated("no fever or cough today")
    pipe = calibrated.get_pipe("knn_calibrator")
    for span in doc.spans["btl"]:
        tokens = pipe.explain(span)
        assert [token.token for token in tokens] == list(range(span.start, span.end))
        labels = {neighbor.label for token in tokens for neighbor in token.neighbors}
        assert span.label_ in labels
        assert labels <= {span.label_, "O"}
    with pytest.raises(CalibratorError, match="A span of the type 'Other' cannot be explained"):
        pipe.explain(Span(doc, 0, 1, "Other"))


def test_without_neighbours_and_maps_it_decides_as_the_network(nlp, path):
    plain = spacy.load(path / "model")
    settings = {"knn_weight": 0.0, "transition_weight": 0.0, "tau": 0.0}
    plain.add_pipe("knn_calibrator", config=settings)
    for text, _ in NOTES:
        ours, theirs = plain(text), nlp(text)
        assert places(ours.spans["btl"]) == places(theirs.spans["btl"])
        assert places(ours.ents) == places(theirs.ents)
        confidences = [span._.confidence for span in theirs.spans["btl"]]
        assert [s._.confidence for s in ours.spans["btl"]] == pytest.approx(confidences, rel=1e-5)


def test_held_out_documents_with_a_type_that_is_not_known(calibrated, path, nlp):
    """It is missed, and says nothing against the types that are known."""
    notes = [(text, [*mentions, (0, len(text), "Other")]) for text, mentions in NOTES]
    pipe = calibrated.get_pipe("knn_calibrator")
    with pytest.warns(BtlWarning, match="does not know: 4"):
        held_out = pipe.read_held_out(make_examples(nlp, notes))
    expected = pipe.read_held_out(make_examples(nlp))
    np.testing.assert_array_equal(held_out.tags, expected.tags)
    assert len(held_out.gold_ents) == len(expected.gold_ents) + 4


def test_what_tune_counts_is_what_the_scorer_counts(calibrated, nlp):
    notes = [(text, mentions[1:]) for text, mentions in NOTES]  # so that some are wrong
    pipe = calibrated.get_pipe("knn_calibrator")
    held_out = pipe.read_held_out(make_examples(nlp, notes))
    calibrator = pipe.calibrator
    p = calibrator.predict_proba(held_out.logits)
    found = Judge(held_out, calibrator.datastore, 0.0).score(p, calibrator.settings)
    scores = calibrated.evaluate(make_examples(nlp, notes))
    assert found.ents_f == pytest.approx(scores["spans_btl_f"]) != 1.0
    assert found.tag_uar == pytest.approx(scores["tag_uar"])
    assert found.tag_macro_f == pytest.approx(scores["tag_macro_f"])


def test_what_tune_saves_has_the_figures_that_are_told(path, nlp, tmp_path):
    """Mentions are then chosen among candidates."""
    tuned = tune(str(path / "calibrated"), path / "dev.spacy", tmp_path / "tuned")
    saved = spacy.load(tmp_path / "tuned")
    scores = saved.evaluate(Corpus(path / "dev.spacy")(saved))
    assert tuned.chosen.ents_f == pytest.approx(scores["spans_btl_f"])
    assert tuned.chosen.tag_uar == pytest.approx(scores["tag_uar"])
    assert tuned.chosen.tag_macro_f == pytest.approx(scores["tag_macro_f"])
    pipe = saved.get_pipe("knn_calibrator")
    assert isinstance(pipe.calibrator.maps.confidence, MentionMap)
    assert pipe.calibrator.settings == tuned.settings
    before = spacy.load(path / "calibrated").get_pipe("knn_calibrator").calibrator.settings
    assert tuned.settings.transition_weight == before.transition_weight


def test_a_calibrator_without_its_ner_scores_the_docs_that_it_gets(calibrated, nlp):
    examples = make_examples(nlp)
    scored = [Example(nlp(one.predicted.text), one.reference) for one in examples]
    pipe = calibrated.get_pipe("knn_calibrator")
    assert pipe.score(scored)["spans_btl_f"] == 1.0
    calibrated.remove_pipe("ner")
    assert pipe.score(scored)["ents_f"] > 0


def test_settings_are_tuned_on_mentions(path, tmp_path):
    tuned = tune(str(path / "calibrated"), path / "dev.spacy", tmp_path / "tuned")
    assert tuned.chosen.ents_f >= tuned.plain.ents_f - 0.01
    doc = spacy.load(tmp_path / "tuned")("severe pain in chest")
    assert all(0 < span._.confidence < 1 for span in doc.spans["btl"])


def test_logits_of_the_other_mode_are_refused(calibrated_path, calibrated):
    flat = spacy.load(calibrated_path)
    for one, key in ((flat, "btl"), (calibrated, None)):
        one.get_pipe("ner").spans_key = key
        with pytest.raises(PipelineError, match="outputs that its types need"):
            one("no fever or cough today")
    calibrated.get_pipe("ner").spans_key = "btl"
    doc = calibrated("no fever or cough today", disable=["knn_calibrator", "doc_cleaner"])
    doc._.token_logits = doc._.token_logits[:, :7]  # as many as types that compete would have
    with pytest.raises(CalibratorError, match="with another spans_key"):
        calibrated.get_pipe("knn_calibrator")(doc)


# What cannot know the mode


def test_a_checkpoint_of_one_label_per_token_is_refused(nlp, tmp_path):
    nlp.to_disk(tmp_path / "model")
    with pytest.raises(PipelineError, match="has a spans_key and decides each type by itself"):
        export_hf(str(tmp_path / "model"), tmp_path / "exported")
    assert not (tmp_path / "exported").exists()


def test_evaluate_works_on_the_entities(nlp, tmp_path):
    nlp.to_disk(tmp_path / "model")
    write_docs(tmp_path / "c.spacy", [one.reference for one in make_examples(nlp)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the few documents
        scores = evaluate(str(tmp_path / "model"), tmp_path / "c.spacy")["scores"]
    assert 0 < scores["ents_f"]["value"] <= 1
    assert "ents_ece" in scores
    assert "tag_ece" not in scores


def test_annotate_writes_every_mention(nlp, tmp_path):
    nlp.to_disk(tmp_path / "model")
    note = {"id": "n1", "text": NOTES[0][0]}
    srsly.write_jsonl(tmp_path / "notes.jsonl", [note])
    annotate_file(str(tmp_path / "model"), tmp_path / "notes.jsonl", tmp_path / "out.jsonl")
    rows = list(srsly.read_jsonl(tmp_path / "out.jsonl"))
    doc = nlp(note["text"])
    spans = doc.spans["btl"]
    assert [(row["start"], row["end"], row["label"]) for row in rows] == places(spans)
    assert len(spans) == 3
    sure = [span._.confidence for span in spans]
    assert [row["confidence"] for row in rows] == pytest.approx(sure, rel=1e-3)
    assert "no fitted knn_calibrator" in uncalibrated(nlp)


def test_pipelines_of_both_modes_cannot_be_joined(nlp, tmp_path):
    for name, key in (("overlapping", "btl"), ("flat", None)):
        nlp.to_disk(tmp_path / name)
        config = spacy.util.load_config(tmp_path / name / "config.cfg")
        config["components"]["ner"]["spans_key"] = key
        config.to_disk(tmp_path / name / "config.cfg")
    models = [str(tmp_path / name) for name in ("overlapping", "flat")]
    for join in (average, ensemble):
        with pytest.raises(PipelineError, match="spans_key"):
            join(models, tmp_path / "joined")
        join(models[:1] * 2, tmp_path / "joined")
        joined = spacy.load(tmp_path / "joined")
        assert joined.get_pipe("ner").spans_key == "btl"
        doc = joined(NOTES[0][0])
        assert set(places(doc.spans["btl"])) == set(NOTES[0][1])


@pytest.mark.slow
@pytest.mark.parametrize("spans_key", ["btl", None])
def test_spacy_train_in_both_modes(nlp, tmp_path, spans_key):
    """With the default score weights, and with those of mentions."""
    write_docs(tmp_path / "c.spacy", [one.reference for one in make_examples(nlp)])
    config = nlp.config.copy()
    config["components"]["ner"]["spans_key"] = spans_key
    config["components"]["ner"]["loss"]["non_target"] = "outside"  # not read with spans_key
    config["training"].update(max_steps=2, eval_frequency=1)
    config["corpora"]["train"]["path"] = config["corpora"]["dev"]["path"] = str(
        tmp_path / "c.spacy"
    )
    of_mentions = {"ents_f": 0.0, "spans_btl_f": 0.5, "spans_btl_per_type": None}
    for weights in ({}, of_mentions) if spans_key else ({},):
        config["training"]["score_weights"] = weights
        config.to_disk(tmp_path / "config.cfg")
        train(tmp_path / "config.cfg", tmp_path / "out")
        performance = spacy.load(tmp_path / "out" / "model-last").meta["performance"]
        assert {"ents_f", "tag_uar"} <= set(performance)
        assert ("spans_btl_f" in performance) == (weights == of_mentions)
