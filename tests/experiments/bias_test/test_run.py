"""The bias test on the smallest of corpora; what it finds on a real one is in the results."""

from pathlib import Path

import numpy as np
import pytest
import spacy
from scipy.spatial.distance import cityblock
from scipy.stats import entropy
from spacy.tokens import Doc, DocBin

from spacy_btl.errors import BtlError
from spacy_btl.experiments.bias_test.run import LOSSES, READINGS, BiasTest, distances, run_bias_test
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
    one = tmp_path / "one.spacy"
    DocBin(docs=[spacy.blank("en")(WORDS)]).to_disk(one)
    for test, message in (
        (BiasTest(corpus, config=tmp_path / "gone.cfg"), "not a training config"),
        (BiasTest(corpus, config=tmp_path / "blank.cfg"), "no btl_ner pipe"),
        (BiasTest(one), "too few documents"),
    ):
        with pytest.raises(BtlError, match=message):
            run_bias_test(test, shares="90/10", loss="ATL", seed=0)
