"""What `btl_ner` does to docs: annotation, scoring, saving, running over many."""

import multiprocessing
import pickle
import warnings

import numpy as np
import pytest
import spacy
from spacy.training import Example
from spacy.util import load_model_from_config

from spacy_btl.errors import PipelineError
from spacy_btl.losses.binary_token_labels import BinaryTokenLabels
from tests.conftest import SENTENCES, make_examples

N_TAGS = 5  # of scheme IO: four types and `O`
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


def test_the_defaults_are_the_recommended_settings():
    nlp = blank()
    config = nlp.get_pipe_config("ner")
    assert config["scheme"] == "IO"
    assert config["loss"] == {
        "@losses": "spacy_btl.BinaryTokenLabels.v1",
        "competition": "all",
        "non_target": "ignore",
        "class_weights": "sqrt_odds",
    }
    assert isinstance(nlp.get_pipe("ner").loss, BinaryTokenLabels)


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
        assert logits.shape == (len(doc), N_TAGS)
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
    assert doc._.token_logits.shape == (len(doc), N_TAGS)
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_note_of_a_million_characters(trained):
    text = ("severe fever and cough , crp was 84 mg / l today . " * 20_000)[:1_000_000]
    doc = trained(text)
    assert len(doc.text) == 1_000_000
    assert doc._.token_logits.any(axis=1).all()
    assert len(doc.ents) > 10_000


def test_tokens_that_are_merged_behind_the_encoder_are_refused(reloaded):
    reloaded.add_pipe("tests_merge", before="ner")
    with pytest.raises(PipelineError, match="other tokens than the encoder read"):
        reloaded(SENTENCES[0][0])


def test_another_corpus_with_more_types_needs_a_new_pipe(trained_path):
    nlp = spacy.load(trained_path)
    ner = nlp.get_pipe("ner")
    before = dict(ner.cfg)
    more = [*make_examples(nlp), example(nlp, "fever today", [(6, 11, "Time_of_day")])]
    with pytest.raises(
        PipelineError, match="5 outputs, and the types of the training corpus need 6"
    ):
        nlp.initialize(lambda: more)
    assert ner.cfg == before
    nlp.initialize(lambda: make_examples(nlp))


@pytest.mark.parametrize("label", ["", "O", 3])
def test_what_cannot_be_an_entity_type(label):
    with pytest.raises(PipelineError, match="cannot be an entity type"):
        spacy.blank("en").add_pipe("btl_ner").add_label(label)
