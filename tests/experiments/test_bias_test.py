"""The bias test on the smallest of corpora; what it finds on a real one is in the results."""

import re
from pathlib import Path

import numpy as np
import pytest
import spacy
from scipy.spatial.distance import cityblock
from scipy.stats import entropy
from spacy.tokens import Doc, DocBin, Span
from spacy.training import Example

from spacy_btl.corpora.random_labels import read_shares, with_random_labels
from spacy_btl.errors import BtlError, CorpusError
from spacy_btl.experiments.bias_summary import plot_bias, summarize
from spacy_btl.experiments.bias_test import LOSSES, READINGS, BiasTest, distances, run_bias_test
from spacy_btl.tags import gold_tags
from tests.conftest import SENTENCES, VOCABULARY, bert_pipeline, make_examples

WORDS = " ".join(text for text, _ in SENTENCES)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten docs of the sentences, with their annotation."""
    path = tmp_path_factory.mktemp("bias") / "corpus.spacy"
    docs = [example.reference for example in make_examples(spacy.blank("en"), repeat=5)]
    DocBin(docs=docs).to_disk(path)
    return path


def test_distances_are_scipys():
    rng = np.random.default_rng(0)
    found, empirical = rng.dirichlet(np.ones(5), size=2)
    result = distances(found, empirical)
    assert result["tv"] == pytest.approx(cityblock(found, empirical) / 2)
    assert result["kl"] == pytest.approx(entropy(found, empirical))


def test_arg_max_of_one_class_is_as_far_as_its_surprise():
    result = distances(np.array([1.0, 0.0]), np.array([0.9, 0.1]))
    assert result["tv"] == pytest.approx(0.1)
    assert result["kl"] == pytest.approx(-np.log(0.9))


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_gives_shares_and_their_distances(corpus, loss):
    test = BiasTest(corpus, steps=2)
    result = run_bias_test(test, shares="70/20/10", loss=loss, seed=0)
    assert result["majority"] == "O"
    empirical = np.array(list(result["empirical"].values()))
    assert empirical.sum() == pytest.approx(1)
    assert list(result["readings"]) == list(READINGS)
    for found in result["readings"].values():
        shares = np.array(list(found["shares"].values()))
        assert shares.sum() == pytest.approx(1, abs=1e-5)
        assert {key: found[key] for key in ("tv", "kl")} == pytest.approx(
            distances(shares, empirical)
        )


def test_arg_max_leaves_the_minority_out_and_the_softmax_does_not(tmp_path):
    """Cross-entropy, and enough steps to learn the shares: the reason for the whole test."""
    rng = np.random.default_rng(0)
    vocab = spacy.blank("en").vocab
    words = [rng.choice(VOCABULARY.split(), size=200).tolist() for _ in range(20)]
    DocBin(docs=[Doc(vocab, words=doc) for doc in words]).to_disk(tmp_path / "random.spacy")
    test = BiasTest(tmp_path / "random.spacy", steps=25)
    readings = run_bias_test(test, shares="90/10", loss="ATL", seed=0)["readings"]
    assert readings["arg-max"]["shares"]["O"] > 0.95
    assert readings["softmax"]["shares"]["O"] == pytest.approx(0.9, abs=0.05)
    assert readings["kNN"]["shares"]["O"] == pytest.approx(0.9, abs=0.05)


def test_the_same_seed_gives_the_same(corpus):
    test = BiasTest(corpus, steps=3)
    first, second, other = (
        run_bias_test(test, shares="90/10", loss="focal", seed=seed) for seed in (0, 0, 1)
    )
    assert first == second
    assert first["readings"]["softmax"] != other["readings"]["softmax"]


def test_per_mention_the_types_are_random_and_outside_is_not(corpus):
    test = BiasTest(corpus, per="mention", steps=2)
    result = run_bias_test(test, shares="90/10", loss="ATL", seed=0)
    assert result["majority"] == "T1"
    assert set(result["empirical"]) == {"O", "T1", "T2"}
    outside = [
        not token.ent_type_
        for example in make_examples(spacy.blank("en"))
        for token in example.reference
    ]
    assert result["empirical"]["O"] == pytest.approx(np.mean(outside), abs=0.1)


def test_another_network_comes_from_a_config(corpus, tiny_bert, tmp_path):
    nlp = bert_pipeline(tiny_bert)
    nlp.config.to_disk(tmp_path / "bert.cfg")
    test = BiasTest(corpus, config=tmp_path / "bert.cfg", steps=2)
    result = run_bias_test(test, shares="90/10", loss="ATL", seed=0)
    assert result["readings"]["softmax"]["tv"] > 0


def test_what_cannot_be_tested_is_said(corpus, tmp_path):
    spacy.blank("en").config.to_disk(tmp_path / "blank.cfg")
    overlapping = spacy.blank("en")
    loss = {"@losses": "spacy_btl.BinaryTokenLabels.v1", "competition": "pair"}
    overlapping.add_pipe("btl_ner", config={"spans_key": "btl", "loss": loss})
    overlapping.config.to_disk(tmp_path / "overlapping.cfg")
    one = tmp_path / "one.spacy"
    DocBin(docs=[spacy.blank("en")(WORDS)]).to_disk(one)
    for test, message in (
        (BiasTest(corpus, config=tmp_path / "gone.cfg"), "not a training config"),
        (BiasTest(corpus, config=tmp_path / "blank.cfg"), "no btl_ner pipe"),
        (BiasTest(corpus, config=tmp_path / "overlapping.cfg"), "has a spans_key"),
        (BiasTest(one), "too few documents"),
    ):
        with pytest.raises(BtlError, match=message):
            run_bias_test(test, shares="90/10", loss="ATL", seed=0)


# Labels at random: their shares, and where they are.


def make_doc(n_tokens: int) -> Doc:
    """Words and line ends by turns; every tenth token begins a mention of two words."""
    words = ["\n" if i % 5 == 4 else f"w{i}" for i in range(n_tokens)]
    ents = ["O"] * n_tokens
    for i in range(0, n_tokens - 1, 10):
        ents[i : i + 2] = ["B-Sign", "I-Sign"]
    return Doc(spacy.blank("en").vocab, words=words, ents=ents)


DOC = make_doc(5000)


@pytest.mark.parametrize("text", ["99/1", "70/20/10"])
@pytest.mark.parametrize("per", ["token", "mention"])
def test_drawn_shares_are_those_asked_for(per, text):
    shares = read_shares(text, [DOC], per)
    assert sorted(shares.values()) == sorted(float(part) / 100 for part in text.split("/"))
    doc = with_random_labels(DOC, shares, per, np.random.default_rng(0))
    if per == "token":
        drawn = [tag for tag in gold_tags(Example(doc, doc)) if tag is not None]
        assert len(drawn) == 4000  # white space draws nothing
    else:
        drawn = [ent.label_ for ent in doc.ents]
        assert len(drawn) == 500
    for label, share in shares.items():
        sampling_error = np.sqrt(share * (1 - share) / len(drawn))
        assert drawn.count(label) / len(drawn) == pytest.approx(share, abs=4 * sampling_error)


def test_mentions_keep_their_places_and_the_original_its_labels():
    drawn = with_random_labels(DOC, {"T1": 0.5, "T2": 0.5}, "mention", np.random.default_rng(0))
    places = [(ent.start, ent.end) for ent in DOC.ents]
    assert [(ent.start, ent.end) for ent in drawn.ents] == places
    assert {ent.label_ for ent in drawn.ents} == {"T1", "T2"}
    assert {ent.label_ for ent in DOC.ents} == {"Sign"}


def test_missing_annotation_is_no_class_and_stays_missing():
    doc = DOC.copy()
    doc.set_ents(doc.ents[:1], missing=[doc[10:5000]], default="outside")
    shares = {"O": 6 / 8, "Sign": 2 / 8}  # ten tokens, two of them line ends
    assert read_shares("corpus", [doc], "token") == shares
    drawn = with_random_labels(doc, {"T1": 0.5, "T2": 0.5}, "mention", np.random.default_rng(0))
    assert [token.i for token in drawn if not token.ent_iob] == list(range(10, 5000))


def test_labels_owe_nothing_to_the_text():
    """Per token the old annotation is gone: what was a mention is now as likely `O` as the rest."""
    drawn = with_random_labels(DOC, {"O": 0.5, "T1": 0.5}, "token", np.random.default_rng(0))
    inside = [drawn[ent.start].ent_type_ for ent in DOC.ents]
    assert inside.count("T1") / len(inside) == pytest.approx(0.5, abs=0.1)


def test_the_same_seed_draws_the_same():
    shares = {"O": 0.7, "T1": 0.3}
    first, second, other = (
        with_random_labels(DOC, shares, "token", np.random.default_rng(seed)).to_array("ENT_TYPE")
        for seed in (1, 1, 2)
    )
    assert (first == second).all()
    assert (first != other).any()


def test_the_corpus_has_shares_of_its_own():
    assert read_shares("corpus", [DOC], "token") == pytest.approx({"O": 0.75, "Sign": 0.25})
    doc = make_doc(11)
    doc.set_ents([Span(doc, i, i + 1, label=label) for i, label in ((0, "A"), (5, "B"), (7, "A"))])
    assert read_shares("corpus", [doc], "mention") == pytest.approx({"A": 2 / 3, "B": 1 / 3})
    with pytest.raises(CorpusError, match="fewer than two classes per mention"):
        read_shares("corpus", [DOC], "mention")


@pytest.mark.parametrize("text", ["", "100", "90/20", "90/x", "101/-1", "100/0", "90:10"])
def test_what_are_no_shares_is_refused(text):
    with pytest.raises(CorpusError, match="70/20/10"):
        read_shares(text, [DOC], "token")


# The figures over the seeds, and their plot.


def run(loss: str, seed: int, share: float, tv: float) -> dict:
    """A run in which one reading gives the majority a share."""
    return {
        "drawn": "90/10",
        "loss": loss,
        "seed": seed,
        "majority": "O",
        "chance": {"tv": (1 + seed) / 100, "kl": 0.0},
        "empirical": {"O": 0.9 + seed / 100, "T1": 0.1 - seed / 100},
        "readings": {"softmax": {"shares": {"O": share, "T1": 1 - share}, "tv": tv, "kl": tv}},
    }


RUNS = [run("ATL", 0, 0.92, 0.02), run("ATL", 1, 0.96, 0.05), run("focal", 0, 0.5, 0.4)]


def test_sums_up_over_the_seeds():
    atl, focal = summarize(RUNS)
    assert (atl["drawn"], atl["loss"], atl["reading"]) == ("90/10", "ATL", "softmax")
    assert atl["empirical"] == pytest.approx(0.905)
    assert atl["chance"] == pytest.approx(0.015)
    assert atl["share"] == pytest.approx({"mean": 0.94, "low": 0.92, "high": 0.96})
    assert atl["tv"] == pytest.approx({"mean": 0.035, "low": 0.02, "high": 0.05})
    assert focal["share"] == {"mean": 0.5, "low": 0.5, "high": 0.5}


def test_the_plot_is_a_picture_that_comes_out_the_same_again():
    pytest.importorskip("matplotlib")
    summary = summarize(RUNS)
    picture = plot_bias(summary)
    assert picture == plot_bias(summary)
    assert re.search(rb"<svg", picture)
    for text in (b"ATL", b"focal", b"90/10", b"softmax", b"in training"):
        assert b">" + text + b"</text>" in picture
