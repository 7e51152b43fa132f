"""What `btl_ner` learns from a corpus: its types, their frequencies, and then its weights."""

import numpy as np
import pytest
import spacy
import srsly
from spacy.tokens import Span
from spacy.training import Example

from spacy_btl.errors import PipelineError
from spacy_btl.pipeline.labels import SAMPLE_SIZE
from tests.conftest import SENTENCES, bert_pipeline, make_examples, step, train
from tests.pipeline.test_btl_ner import MARKER, blank, entities, example, head_of, initialized

TYPES = ("Severity", "Sign", "Test", "Value")
# Tokens of each tag in SENTENCES, counted by hand.
COUNTS = {"O": 15, "Severity": 1, "Sign": 4, "Test": 1, "Value": 4}
BIO_COUNTS = {"O": 15, "B-Severity": 1, "B-Sign": 4, "B-Test": 1, "B-Value": 1, "I-Value": 3}


class Stream:
    """A corpus that is read, not kept: counts the examples read and those alive at a time."""

    def __init__(self, nlp, n_notes):
        self.nlp, self.n_notes = nlp, n_notes
        self.read = self.alive = self.most_alive = 0

    def __call__(self):
        for i in range(self.n_notes):
            text, annotated = SENTENCES[i % len(SENTENCES)]
            yield self.make(text, annotated)

    def make(self, text, annotated):
        stream = self

        class Tracked(Example):
            def __del__(self):
                stream.alive -= 1

        self.read += 1
        self.alive += 1
        self.most_alive = max(self.most_alive, self.alive)
        plain = example(self.nlp, text, annotated)
        return Tracked(plain.predicted, plain.reference)


@pytest.mark.parametrize(("scheme", "counts"), [("IO", COUNTS), ("BIO", BIO_COUNTS)])
def test_initialize_finds_types_and_frequencies(scheme, counts):
    ner = initialized(blank(scheme=scheme)).get_pipe("ner")
    assert ner.labels == TYPES
    assert {tag: n for tag, n in ner.label_data.items() if n} == counts
    assert ner.tag_counts.tolist() == list(ner.label_data.values())


def test_initialize_reads_the_corpus_once_and_keeps_a_sample():
    nlp = blank()
    stream = Stream(nlp, 200)
    nlp.get_pipe("ner").initialize(stream, nlp=nlp)
    assert stream.read == 200
    assert stream.most_alive <= SAMPLE_SIZE + 2
    assert sum(nlp.get_pipe("ner").tag_counts) == 50 * sum(COUNTS.values())


def test_init_labels_output_spares_the_pass(tmp_path):
    saved = initialized(blank(scheme="BIO")).get_pipe("ner").label_data
    srsly.write_json(tmp_path / "ner.json", saved)
    nlp = blank(scheme="BIO")
    stream = Stream(nlp, 200)
    ner = nlp.get_pipe("ner")
    ner.initialize(stream, nlp=nlp, labels=srsly.read_json(tmp_path / "ner.json"))
    assert stream.read <= SAMPLE_SIZE + 1
    assert ner.labels == TYPES
    assert ner.label_data == saved


def test_a_list_of_types_gives_the_order_and_the_corpus_the_frequencies():
    listed = ["Value", "Test", "Sign", "Severity", "Drug"]
    ner = initialized(labels=listed).get_pipe("ner")
    assert ner.labels == tuple(listed)
    assert ner.label_data == {"O": 15, **{label: COUNTS.get(label, 0) for label in listed}}


@pytest.mark.parametrize("labels", [None, list(TYPES)])
def test_a_streamed_corpus_needs_the_frequencies(labels):
    nlp = blank()
    nlp.config["training"]["max_epochs"] = -1
    with pytest.raises(PipelineError, match=r"max_epochs = -1.*init labels"):
        initialized(nlp, labels=labels)
    initialized(nlp, labels=COUNTS)
    assert nlp.get_pipe("ner").label_data == COUNTS


@pytest.mark.parametrize(("scheme", "labels"), [("BIO", COUNTS), ("IO", BIO_COUNTS)])
def test_labels_of_the_other_scheme_are_refused(scheme, labels):
    with pytest.raises(PipelineError, match=f"tag scheme {scheme}"):
        initialized(blank(scheme=scheme), labels=labels)


def test_a_type_may_begin_as_a_tag_does():
    nlp = blank()
    ner = initialized(nlp, [example(nlp, "pain", [(0, 4, "B-cell")])]).get_pipe("ner")
    assert ner.labels == ("B-cell",)
    again = initialized(blank(), [example(nlp, "pain", [])], labels=ner.label_data).get_pipe("ner")
    assert again.labels == ("B-cell",)


@pytest.mark.parametrize("labels", [None, ["O", "Sign"]])
def test_a_type_that_is_called_o_is_refused(labels):
    nlp = blank()
    corpus = [example(nlp, "severe pain", [(0, 6, "Sign" if labels else "O"), (7, 11, "Sign")])]
    with pytest.raises(PipelineError, match="'O'"):
        initialized(nlp, corpus, labels=labels)


def test_a_network_of_another_size_is_refused():
    nlp = spacy.blank("en")
    model = {"@architectures": "spacy_btl.TokenLogits.v1", "nO": 7}
    nlp.add_pipe("btl_ner", name="ner", config={"model": model})
    with pytest.raises(
        PipelineError, match="has 7 outputs, and the types of the training corpus need 5"
    ):
        initialized(nlp)


def test_a_corpus_without_types_is_refused():
    nlp = blank()
    bare = [example(nlp, f"{MARKER} slept", [])]
    with pytest.raises(PipelineError, match="no entity type") as error:
        initialized(nlp, bare)
    assert MARKER not in str(error.value)


@pytest.mark.parametrize("labels", [None, COUNTS])
def test_a_corpus_may_begin_with_empty_notes(tiny_bert, labels):
    nlp = bert_pipeline(tiny_bert)
    empty = [example(nlp, "", []) for _ in range(SAMPLE_SIZE + 5)]
    initialized(nlp, empty + make_examples(nlp), labels=labels)
    assert nlp("fever today")._.token_logits.shape == (2, 5)


def test_add_label_before_initialize_adds_to_what_the_corpus_has():
    nlp = blank()
    ner = nlp.get_pipe("ner")
    assert ner.add_label("Drug") == 1
    assert ner.add_label("Drug") == 0
    initialized(nlp)
    assert ner.labels == ("Drug", *TYPES)
    assert ner.label_data == {"O": 15, "Drug": 0, **{label: COUNTS[label] for label in TYPES}}
    nlp.update(make_examples(nlp))


def test_add_label_after_initialize_is_refused():
    ner = initialized().get_pipe("ner")
    assert ner.add_label("Sign") == 0
    with pytest.raises(PipelineError, match="fixed"):
        ner.add_label("Drug")


def test_uninitialized_it_does_not_run():
    nlp = blank()
    assert nlp.get_pipe("ner").label_data == {}
    with pytest.raises(ValueError, match="E109"):
        nlp("fever")


# Training


@pytest.mark.parametrize("scheme", ["IO", "BIO"])
@pytest.mark.parametrize("loss", ["BinaryTokenLabels", "AllTokenLabels"])
def test_it_learns_the_corpus(scheme, loss):
    nlp = train(blank(scheme=scheme, loss={"@losses": f"spacy_btl.{loss}.v1"}))
    for text, annotated in SENTENCES:
        ents = [(ent.start_char, ent.end_char, ent.label_) for ent in nlp(text).ents]
        assert ents == annotated


def test_bio_learns_to_keep_touching_entities_apart():
    nlp = blank(scheme="BIO")
    touching = [example(nlp, "fever cough today", [(0, 5, "Sign"), (6, 11, "Sign")])] * 4
    optimizer = nlp.initialize(lambda: touching)
    for _ in range(20):
        step(nlp, touching, optimizer)
    assert entities(nlp("fever cough today")) == [(0, 1, "Sign"), (1, 2, "Sign")]


def test_a_type_that_the_model_lacks_stops_training():
    nlp = initialized()
    wrong = example(nlp, f"{MARKER} daily", [(0, len(MARKER), "Drug")])
    with pytest.raises(PipelineError, match="'Drug'") as error:
        nlp.update([wrong])
    assert MARKER not in str(error.value)


def test_unseen_and_unannotated_tokens_carry_no_loss(trained):
    text = "severe fever \u200b and cough"
    doc = trained.make_doc(text)
    reference = trained.make_doc(text)
    reference.set_ents(
        [Span(reference, 1, 2, label="Sign")], missing=[reference[0:1]], default="outside"
    )
    ner = trained.get_pipe("ner")
    logits = np.ones((5, len(ner.tag_scheme)), dtype="float32")
    logits[2] = 0  # the token that the encoder never saw
    loss, (gradient,) = ner.get_loss([Example(doc, reference)], [logits])
    assert loss > 0
    assert gradient.any(axis=1).tolist() == [False, True, False, True, True]


def test_a_batch_without_annotation_teaches_nothing():
    nlp = initialized()
    bare = [Example(nlp.make_doc(text), nlp.make_doc(text)) for text in ("fever", "", " \n")]
    before = nlp.get_pipe("ner").to_bytes()
    assert nlp.update(bare, sgd=False)["ner"] == 0
    assert nlp.update([bare[1]], sgd=False)["ner"] == 0
    assert not head_of(nlp).get_grad("W").any()
    assert nlp.get_pipe("ner").to_bytes() == before


def test_empty_and_unseen_notes_train_beside_others(tiny_bert):
    nlp = initialized(bert_pipeline(tiny_bert))
    odd = [example(nlp, text, []) for text in ("", " \n", "\u200b")]
    for batch in (odd, odd + make_examples(nlp)):
        assert np.isfinite(nlp.update(batch, sgd=False)["ner"])
