"""What is annotated in brat or JSON lines is what the .spacy file holds, through `convert`."""

import json
import os
from pathlib import Path

import pytest
import spacy
from hypothesis import given, settings
from hypothesis import strategies as st
from spacy.tokens import Doc
from spacy.vocab import Vocab

from spacy_btl.corpora.convert import convert
from spacy_btl.corpora.docbin import read_docs
from spacy_btl.corpora.groups import text_key
from spacy_btl.corpora.note import Mention, Note
from tests.corpora.test_brat import ANY, t_line, write_note

NLP = spacy.blank("en")
TYPES = st.sampled_from(["Sign", "Größe", "LEMMA", "B-x"])
PIECES = st.sampled_from(["no fever", "84 mg/l", "  ", "\n", "CRP.", "\u2009", "left-sided "])


@st.composite
def notes(draw: st.DrawFn) -> Note:
    """Any text; mentions that do not overlap, from a token that is no white space to another."""
    text = "".join(draw(st.lists(PIECES | st.text(ANY, max_size=5), max_size=8)))
    doc = NLP.make_doc(text)
    words = [token for token in doc if not token.is_space]
    ends = draw(st.lists(st.integers(0, max(0, len(words) - 1)), unique=True, max_size=6))
    ends = sorted(ends)[: len(ends) // 2 * 2] if words else []
    mentions = (
        Mention(f"T{i}", draw(TYPES), ((words[a].idx, words[b].idx + len(words[b])),))
        for i, (a, b) in enumerate(zip(ends[::2], ends[1::2], strict=True), start=1)
    )
    return Note("", text, tuple(mentions))


def write_brat(folder: Path, corpus: list[Note]) -> Path:
    folder = folder / "brat"
    folder.mkdir()
    for number, note in enumerate(corpus):
        lines = "".join(t_line(mention, note.text) for mention in note.mentions)
        write_note(folder, note.text, lines, f"note-{number}")
    return folder


def write_jsonl(folder: Path, corpus: list[Note]) -> Path:
    path = folder / "notes.jsonl"
    records = [
        {
            "id": f"note-{number}",
            "text": note.text,
            "ents": [[*mention.enclosing_span, mention.type] for mention in note.mentions],
        }
        for number, note in enumerate(corpus)
    ]
    path.write_text("\n".join(map(json.dumps, records)), encoding="utf-8")
    return path


def write_prodigy(folder: Path, corpus: list[Note]) -> Path:
    path = folder / "prodigy.jsonl"
    lines = []
    for number, note in enumerate(corpus):
        places = [(*mention.enclosing_span, mention.type) for mention in note.mentions]
        spans = [dict(zip(("start", "end", "label"), place, strict=True)) for place in places]
        record = {"id": f"note-{number}", "text": note.text, "spans": spans, "answer": "accept"}
        lines.append(json.dumps(record, ensure_ascii=False))
    path.write_bytes("\n".join(lines).encode("utf-8"))
    return path


def found(doc: Doc, *, group: str | None = None) -> list[tuple[int, int, str]]:
    spans = doc.ents if group is None else doc.spans[group]
    return [(span.start_char, span.end_char, span.label_) for span in spans]


@pytest.mark.slow
@settings(max_examples=40)
@given(corpus=st.lists(notes(), min_size=1, max_size=3, unique_by=lambda note: text_key(note.text)))
@pytest.mark.parametrize("write", [write_brat, write_jsonl, write_prodigy])
def test_the_docs_have_the_text_and_the_spans_of_the_source(
    tmp_path_factory: pytest.TempPathFactory, write, corpus
) -> None:
    folder = tmp_path_factory.mktemp("corpus")
    report = convert(write(folder, corpus), folder / "out" / "corpus.spacy")
    docs = read_docs(folder / "out" / "corpus.spacy", Vocab())
    assert sorted(os.listdir(folder / "out")) == ["corpus.report.json", "corpus.spacy"]
    n_mentions = sum(len(note.mentions) for note in corpus)
    assert report.total("kept") == report.total("read") == n_mentions
    assert report.moved == report.tokens_missing == 0
    for number, (doc, note) in enumerate(zip(docs, corpus, strict=True)):
        expected = [(*mention.enclosing_span, mention.type) for mention in note.mentions]
        assert doc.text == note.text
        assert doc.user_data["note_id"] == f"note-{number}"
        assert found(doc) == found(doc, group="mentions") == expected
