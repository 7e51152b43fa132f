"""Corpus statistics against a plain count."""

from pathlib import Path

import pytest
import spacy
from spacy.tokens import Doc, Span
from spacy.training import Example
from spacy.vocab import Vocab

from spacy_btl.corpora.docbin import write_docs
from spacy_btl.corpora.stats import TypeStats, corpus_stats
from spacy_btl.errors import CorpusError

VOCAB = Vocab()


def make_doc(words: str, *ents: tuple[int, int, str]) -> Doc:
    doc = Doc(VOCAB, words=words.split())
    doc.ents = [Span(doc, start, end, label=label) for start, end, label in ents]
    return doc


@pytest.fixture
def docs() -> list[Doc]:
    return [
        make_doc("a b c d", (0, 2, "Sign"), (3, 4, "Color")),
        make_doc("a b c", (0, 1, "Sign"), (2, 3, "Sign")),
        make_doc("a b c", (1, 2, "Sign")),
    ]


def test_counts_from_the_rarest(docs: list[Doc], tmp_path: Path) -> None:
    write_docs(tmp_path / "c.spacy", docs)
    stats = corpus_stats(tmp_path / "c.spacy")
    assert stats.types == [
        TypeStats("Color", mentions=1, annotated=1, documents=1, tokens=1, share=0.1, weight=0.9),
        TypeStats("Sign", mentions=4, annotated=4, documents=3, tokens=5, share=0.5, weight=0.5),
    ]
    assert stats.outside == TypeStats("O", 0, 0, 3, 4, 0.4, 0.6)
    assert (stats.documents, stats.tokens, stats.tokens_missing, stats.mentions) == (3, 10, 0, 5)
    assert stats.listed is None
    assert stats.too_rare == ["Color"]


def test_missing_annotation_is_not_counted(docs: list[Doc], tmp_path: Path) -> None:
    unknown = docs[0]
    unknown.set_ents([], missing=[unknown[:]])
    write_docs(tmp_path / "c.spacy", docs)
    stats = corpus_stats(tmp_path / "c.spacy")
    assert (stats.tokens, stats.tokens_missing, stats.mentions) == (6, 4, 3)
    assert stats.outside.share == 0.5
    write_docs(tmp_path / "c.spacy", [unknown])
    with pytest.raises(CorpusError, match=r"c\.spacy: no token has entity annotation"):
        corpus_stats(tmp_path / "c.spacy")


def test_mentions_without_a_place_in_the_entities(docs: list[Doc], tmp_path: Path) -> None:
    first, second, _ = docs
    first.spans["mentions"] = [
        Span(first, 0, 2, label="Sign", span_id="T1"),
        Span(first, 3, 4, label="Color", span_id="T2"),
        Span(first, 0, 1, label="Sign", span_id="T3"),  # one mention in two fragments
        Span(first, 3, 4, label="Sign", span_id="T3"),
    ]
    # Spans of another tool, without ids: two of them entities, one left out.
    second.spans["mentions"] = [*second.ents, Span(second, 0, 2, label="Sign")]
    write_docs(tmp_path / "c.spacy", docs)
    assert corpus_stats(tmp_path / "c.spacy").listed.left_out == 2


def test_a_type_whose_mentions_all_overlap_is_counted(docs: list[Doc], tmp_path: Path) -> None:
    first = docs[0]
    first.spans["mentions"] = [*first.ents, Span(first, 1, 2, "Site"), Span(first, 2, 4, "Site")]
    write_docs(tmp_path / "c.spacy", docs)
    stats = corpus_stats(tmp_path / "c.spacy")
    counts = {row.type: (row.mentions, row.annotated, row.documents) for row in stats.types}
    assert counts == {"Color": (1, 1, 1), "Site": (0, 2, 1), "Sign": (4, 4, 3)}
    assert stats.too_rare == ["Color", "Site"]


def test_the_counts_are_those_that_training_weighs_by(tmp_path: Path) -> None:
    """White space is in no class, here and in the pipe."""
    nlp = spacy.blank("en")
    doc = nlp.make_doc("mild  fever\n\nand cough")
    doc.ents = [Span(doc, 0, 3, label="Sign"), Span(doc, 5, 6, label="Color")]
    write_docs(tmp_path / "c.spacy", [doc])
    stats = corpus_stats(tmp_path / "c.spacy")
    ner = nlp.add_pipe("btl_ner")
    nlp.initialize(lambda: [Example(nlp.make_doc(doc.text), doc)])
    assert ner.label_data == {row.type: row.tokens for row in [stats.outside, *stats.types]}
