"""Other libraries on a fold: their predictions are read, and they learn from the right places."""

from importlib import import_module
from importlib.util import find_spec

import pytest
import spacy
import srsly
from spacy.training import Example
from transformers import AutoTokenizer

from experiments.peers.__main__ import PEERS, run
from experiments.peers.huggingface import read_windows
from experiments.peers.shared import GOLD, Job, Rates, bio_tags, read_fold, without_overlaps
from spacy_btl.corpora.docbin import write_docs
from spacy_btl.experiments.cells import run_cell
from spacy_btl.experiments.config import read_experiment
from spacy_btl.experiments.plan import plan
from spacy_btl.metrics.counts import load_counts
from tests.conftest import make_corpus, make_tiny_bert

NLP = spacy.blank("en")
LIBRARIES = {"edsnlp": "edsnlp", "edsnlp-flat": "edsnlp", "spanmarker": "span_marker"}


def test_the_highest_confidence_wins_a_token():
    doc = NLP.make_doc("no fever and 10mg daily")  # 10mg is two tokens
    mentions = [
        (3, 12, "Sign", 0.5),
        (3, 8, "Sign", 0.6),
        (9, 12, "Sign", 0.4),
        (14, 17, "Dose", 0.9),
        (13, 15, "Value", 0.8),
    ]
    kept = without_overlaps(doc, mentions)
    assert kept == [(3, 8, "Sign", 0.6), (9, 12, "Sign", 0.4), (13, 17, "Dose", 0.9)]
    assert without_overlaps(doc, kept) == kept


def test_windows_have_the_tags_of_the_first_wordpieces(tiny_bert):
    sentence = "severe painful cough , 84 mg/l today . "
    places = [(0, 6, "Severity"), (15, 20, "Sign"), (23, 30, "Value")]
    entities = [
        (start + at, end + at, label)
        for at in range(0, 8 * len(sentence), len(sentence))
        for start, end, label in places
    ]
    text = 8 * sentence + "fever"
    doc = Example.from_dict(NLP.make_doc(text), {"entities": entities}).reference
    doc.set_ents(doc.ents, missing=[doc[-1:]], default="outside")
    doc.spans[GOLD] = list(doc.ents)
    tags = bio_tags([doc])
    tokenizer = AutoTokenizer.from_pretrained(tiny_bert, model_max_length=48)
    windows = read_windows(doc, tokenizer, {tag: number for number, tag in enumerate(tags)})
    assert len(windows) > 2
    assert {len(window["input_ids"]) for window in windows[:-1]} == {48}
    expected = [
        "B-Severity",
        "O",
        "B-Sign",
        "O",
        "B-Value",
        "I-Value",
        "I-Value",
        "I-Value",
        "O",
        "O",
    ]
    for window in (windows[0], windows[-1]):
        found = [tags[label] for label in window["labels"] if label != -100]
        start = found.index("B-Severity")
        assert found[start : start + len(expected)] == expected
    assert windows[-1]["labels"][-2:] == [-100, -100]  # without annotation, and [SEP]


@pytest.fixture
def cell(experiment_file, tmp_path):
    """The cell of fold 0 of an arm that reads tmp_path/predicted, flat or not."""

    def make(flat):
        arm = {"predicted": str(tmp_path / "predicted"), "decodings": ["arg-max"], "folds": [0]}
        arms = {"other": {**arm, "flat": flat}}
        experiment = read_experiment(experiment_file(arms=arms, baseline=["other", "arg-max"]))
        return plan(experiment, tmp_path / "cells")[0]

    return make


@pytest.fixture(scope="module")
def long_bert(tmp_path_factory):
    """A tiny BERT that reads the windows of the experiments."""
    return make_tiny_bert(tmp_path_factory.mktemp("long-bert"), max_wordpieces=520)


@pytest.fixture
def trainer(long_bert, tmp_path):
    """Finds the training of a library, and makes a job of it."""

    def find(name, fold, steps):
        if name in LIBRARIES and not find_spec(LIBRARIES[name]):
            pytest.skip("it has an environment of its own")
        peer = PEERS[name]
        module = import_module(f"experiments.peers.{peer.module}")
        folder = tmp_path / "work"
        folder.mkdir()
        job = Job(fold, steps, folder, peer.flat, Rates(5e-3, 5e-3), str(long_bert))
        return getattr(module, peer.function), job

    return find


@pytest.mark.slow
@pytest.mark.parametrize("name", PEERS)
def test_what_a_library_writes_is_read(name, cell, trainer, tmp_path):
    flat = PEERS[name].flat
    train, job = trainer(name, cell(flat).documents["test"].parent, 5)
    out = tmp_path / "predicted" / "sentences" / "fold-0"
    run(train, job, out)
    folder = run_cell(cell(flat), tmp_path / "cells")
    (file,) = folder.glob("counts-*.npz")
    counts, _ = load_counts(file.read_bytes(), file.name)
    assert counts["documents"].sum() == len((out / "predicted.jsonl").read_text().splitlines())
    assert ("tokens" in counts) == flat
    cost = srsly.read_json(folder / "cost.json")
    assert cost["optimizer_steps"] == 5
    assert cost["seconds"] > 0
    assert cost["words_per_second"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(PEERS.keys() - {"spanmarker"}))
def test_a_library_learns_the_sentences(name, trainer, tmp_path):
    """SpanMarker does so with an encoder that is not random: its markers are read by position."""
    for part, repeat in {"train": 8, "dev": 1, "test": 1}.items():
        write_docs(tmp_path / f"{part}.spacy", make_corpus(NLP, repeat=repeat))
    train, job = trainer(name, tmp_path, 80)
    docs = read_fold(job, "test", NLP.vocab)
    predicted = train(job)(docs)
    gold = [{(s.start_char, s.end_char, s.label_) for s in doc.spans[GOLD]} for doc in docs]
    assert [{one[:3] for one in mentions} for mentions in predicted] == gold
    states_none = {one[3] is None for mentions in predicted for one in mentions}
    assert states_none == {name in ("ner", "atl")}
