import numpy as np
import pytest
import spacy
from spacy.tokens import Doc, Span
from spacy.training import Example

from spacy_btl.errors import CorpusError
from spacy_btl.experiments.bias_test.random_labels import read_shares, with_random_labels
from spacy_btl.tags import gold_tags


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
