import multiprocessing
import pickle
import warnings

import numpy as np
import pytest
import spacy
import srsly
from spacy.tokens import Span
from spacy.training import Example
from spacy.util import load_model_from_config

from spacy_btl.errors import PipelineError
from spacy_btl.pipeline.btl_ner import SAMPLE_SIZE
from tests.conftest import SENTENCES, bert_pipeline, make_examples, step, train

TYPES = ("Severity", "Sign", "Test", "Value")
# Tokens of each tag in SENTENCES, counted by hand.
COUNTS = {"O": 15, "Severity": 1, "Sign": 4, "Test": 1, "Value": 4}
BIO_COUNTS = {"O": 15, "B-Severity": 1, "B-Sign": 4, "B-Test": 1, "B-Value": 1, "I-Value": 3}
MARKER = "Zebedee"  # stands for a note's text, which no message of ours may hold


def blank(**config):
    """A pipeline of `ner` alone, on spaCy's small default encoder."""
    nlp = spacy.blank("en")
    nlp.add_pipe("btl_ner", name="ner", config=config)
    return nlp


def initialized(nlp=None, examples=None, **settings):
    nlp = nlp or blank()
    nlp.config["initialize"]["components"]["ner"] = settings
    nlp.initialize(lambda: make_examples(nlp) if examples is None else examples)
    return nlp


def example(nlp, text, entities):
    return Example.from_dict(nlp.make_doc(text), {"entities": entities})


def head_of(nlp):
    return next(layer for layer in nlp.get_pipe("ner").model.walk() if layer.name == "linear")


def entities(doc):
    return [(ent.start, ent.end, ent.label_) for ent in doc.ents]


@pytest.fixture
def reloaded(trained, tmp_path):
    """The shared trained pipeline, for a test to change."""
    trained.to_disk(tmp_path / "model")
    return spacy.load(tmp_path / "model")


# Labels and frequencies


class Stream:
    """A corpus that is read, not kept: counts the examples read and those alive at a time."""

    def __init__(self, nlp, n_notes):
        self.nlp, self.n_notes = nlp, n_notes
        self.read = self.alive = self.most_alive = 0

    def __call__(self):
        for i in range(self.n_notes):
            text, annotated = SENTENCES[i % len(SENTENCES)]
            yield self.make(text, annotated)

    def make(stream, text, annotated):  # noqa: N805
        class Tracked(Example):
            def __del__(self):
                stream.alive -= 1

        stream.read += 1
        stream.alive += 1
        stream.most_alive = max(stream.most_alive, stream.alive)
        plain = example(stream.nlp, text, annotated)
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


# Scoring


def test_a_type_of_the_dev_data_that_the_model_lacks_counts_as_missed_and_warns_once(reloaded):
    def dev():
        unknown = example(reloaded, f"given {MARKER}", [(6, 6 + len(MARKER), "Drug")])
        return [*make_examples(reloaded), unknown]

    with pytest.warns(UserWarning, match="'Drug'") as caught:
        scores = reloaded.evaluate(dev())
    assert [MARKER in str(warning.message) for warning in caught] == [False]
    assert scores["ents_per_type"]["Drug"]["r"] == 0
    assert scores["ents_r"] == pytest.approx(7 / 8)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert reloaded.evaluate(dev())["ents_r"] == scores["ents_r"]


def test_the_scorer_is_the_configured_one(trained):
    scores = trained.evaluate(make_examples(trained))
    for name in ("ents_p", "ents_r", "ents_f", "ents_macro_f", "tag_uar", "tag_macro_f"):
        assert scores[name] == 1.0
    nlp = initialized(blank(scorer=None))
    assert "ents_f" not in nlp.evaluate(make_examples(nlp))


# Annotation


def test_logits_are_raw_float32_and_own_their_memory(trained):
    docs = list(trained.pipe(text for text, _ in SENTENCES))
    for doc in docs:
        logits = doc._.token_logits
        assert logits.dtype == np.float32
        assert logits.shape == (len(doc), len(TYPES) + 1)
        assert logits.base is None
        assert not np.allclose(logits.sum(axis=1), 1)
        assert not np.allclose(np.exp(logits).sum(axis=1), 1)


ODD_NOTES = [
    "",
    " ",
    " \n\n\t ",
    "\u200b",
    "fever \u200b\u200b and \ufeff cough",
    "[CLS]",
    "[CLS] fever [SEP] cough [PAD] [MASK] pain",
    "\U0001f600\U0001f600 fever \U0001f912",
    "a" * 5000,
    "fever " + "a_b" * 1700 + " cough",
    "\x00 fever \ud7ff",
]


@pytest.mark.parametrize("note", ODD_NOTES, ids=[ascii(note[:12]) for note in ODD_NOTES])
@pytest.mark.filterwarnings("ignore:'ner'. the encoder has no wordpiece")
def test_an_odd_note_gives_a_doc_and_no_entity_on_unseen_tokens(reloaded, note):
    # A head that wants every token to be an entity.
    head_of(reloaded).set_param("b", np.array([0, 0, 99, 0, 0], dtype="float32"))
    doc = reloaded(note)
    seen = doc._.token_logits.any(axis=1)
    assert doc.text == note
    assert doc._.token_logits.shape == (len(doc), 5)
    assert [token.text for token in doc if token.text.isalpha() and not seen[token.i]] == []
    expected = [bool(seen[token.i]) for token in doc if not token.is_space]
    assert [token.ent_type_ == "Sign" for token in doc if not token.is_space] == expected


@pytest.mark.filterwarnings("ignore:'ner'. the encoder has no wordpiece")
def test_odd_notes_share_a_batch(reloaded):
    docs = list(reloaded.pipe(ODD_NOTES, batch_size=len(ODD_NOTES)))
    assert [doc.text for doc in docs] == ODD_NOTES
    for doc in docs:
        alone = reloaded(doc.text)
        np.testing.assert_allclose(doc._.token_logits, alone._.token_logits, atol=1e-4)


def test_unseen_tokens_are_told_once_and_counted(reloaded):
    ner = reloaded.get_pipe("ner")
    with pytest.warns(UserWarning, match="2 of 4 tokens") as caught:
        reloaded(f"{MARKER} \u200b \ufeff fever")
    assert MARKER not in str(caught[0].message)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        reloaded("fever \u200b \n cough")
    assert ner.unseen_tokens == 3


def test_white_space_is_not_told(reloaded):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        reloaded(" fever \n\n  and cough \n")
    assert reloaded.get_pipe("ner").unseen_tokens == 0


def test_entities_of_an_earlier_pipe_stay(reloaded):
    ruler = reloaded.add_pipe("entity_ruler", first=True)
    ruler.add_patterns([{"label": "Rule", "pattern": "severe fever"}])
    doc = reloaded("the patient had severe fever and cough")
    assert entities(doc) == [(3, 5, "Rule"), (6, 7, "Sign")]


def test_run_twice_it_replaces_its_own_entities(reloaded):
    doc = reloaded("the patient had severe fever and cough")
    assert entities(doc) == [(3, 4, "Severity"), (4, 5, "Sign"), (6, 7, "Sign")]
    head_of(reloaded).set_param("b", np.array([99, 0, 0, 0, 0], dtype="float32"))
    assert entities(reloaded.get_pipe("ner")(doc)) == []


# Saving, and running over many notes


def test_saved_and_loaded_it_gives_the_same_output_bit_for_bit(trained, reloaded):
    in_memory = load_model_from_config(trained.config).from_bytes(trained.to_bytes())
    for text, _ in SENTENCES:
        doc = trained(text)
        for nlp in (reloaded, in_memory):
            again = nlp(text)
            np.testing.assert_array_equal(again._.token_logits, doc._.token_logits)
            assert entities(again) == entities(doc)
    for nlp in (reloaded, in_memory):
        assert nlp.get_pipe("ner").label_data == trained.get_pipe("ner").label_data


def test_a_sourced_pipe_keeps_labels_and_frequencies(trained):
    nlp = spacy.blank("en")
    for name in ("transformer", "ner"):
        nlp.add_pipe(name, source=trained)
    assert nlp.get_pipe("ner").label_data == trained.get_pipe("ner").label_data
    text = SENTENCES[0][0]
    np.testing.assert_array_equal(nlp(text)._.token_logits, trained(text)._.token_logits)


def fail_on_marker(nlp, monkeypatch):
    ner = nlp.get_pipe("ner")
    predict = type(ner).predict

    def failing(docs):
        docs = list(docs)
        if any(MARKER in doc.text for doc in docs):
            raise RuntimeError("failed on purpose")
        return predict(ner, docs)

    monkeypatch.setattr(ner, "predict", failing)


def test_a_failing_note_takes_no_other_note_with_it(reloaded, monkeypatch):
    fail_on_marker(reloaded, monkeypatch)
    handled = []
    reloaded.set_error_handler(lambda name, proc, docs, error: handled.append((name, docs)))
    notes = [SENTENCES[0][0], f"{MARKER} coughs", SENTENCES[1][0], SENTENCES[3][0]]
    docs = list(reloaded.pipe(notes, batch_size=4))
    assert [doc.text for doc in docs] == [notes[0], notes[2], notes[3]]
    assert [len(doc.ents) for doc in docs] == [3, 2, 0]
    assert [(name, [doc.text for doc in failed]) for name, failed in handled] == [
        ("ner", [notes[1]])
    ]


def test_by_default_a_failing_note_raises(reloaded, monkeypatch):
    fail_on_marker(reloaded, monkeypatch)
    with pytest.raises(RuntimeError, match="on purpose"):
        list(reloaded.pipe(["no fever", MARKER]))


def test_it_pickles(trained):
    nlp = spacy.blank("en")
    ner = pickle.loads(pickle.dumps(trained.get_pipe("ner")))
    assert ner.label_data == trained.get_pipe("ner").label_data
    assert ner.to_bytes() == trained.get_pipe("ner").to_bytes()
    expected = trained(SENTENCES[0][0])
    doc = nlp.make_doc(expected.text)
    doc._.trf_data = expected._.trf_data
    assert entities(ner(doc)) == entities(expected) != []


def test_processes_give_the_same_entities(trained, monkeypatch):
    # Spawned, since forked processes hang once torch has used its threads.
    monkeypatch.setattr("spacy.language.mp", multiprocessing.get_context("spawn"))
    texts = [text for text, _ in SENTENCES] * 3
    docs = list(trained.pipe(texts, n_process=2, batch_size=4))
    assert [doc.text for doc in docs] == texts
    for doc in docs:
        alone = trained(doc.text)
        assert entities(doc) == entities(alone)
        np.testing.assert_allclose(doc._.token_logits, alone._.token_logits, atol=1e-4)
    assert sum(len(doc.ents) for doc in docs) == 21
