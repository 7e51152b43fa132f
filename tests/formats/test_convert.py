"""Notes into docs, and an report of every mention that adds up."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import spacy
from hypothesis import given, settings
from hypothesis import strategies as st
from spacy.tokens import Doc
from spacy.vocab import Vocab

from spacy_btl.corpora.docbin import read_docs
from spacy_btl.corpora.groups import text_key
from spacy_btl.corpora.note import Mention, Note
from spacy_btl.corpora.report import ConversionReport
from spacy_btl.errors import CorpusError
from spacy_btl.formats.convert import convert
from tests.formats.test_brat import ANY, t_line, write_note

BESIDE = Path(__file__).resolve().parents[3] / "shared" / "data" / "maccrobat2020"
MACCROBAT = Path(os.environ.get("MACCROBAT_DIR", BESIDE))


def adds_up(report: ConversionReport) -> bool:
    parts = ("invalid", "rejected", "too_rare", "excluded", "overlapped", "kept")
    return all(
        mentions.read == sum(getattr(mentions, part) for part in parts)
        for mentions in report.types.values()
    )


def spans(items: Any) -> list[tuple[str, str]]:
    return [(span.text, span.label_) for span in items]


def write_jsonl(path: Path, *records: dict[str, Any]) -> Path:
    path.write_text("\n".join(json.dumps(record) for record in records))
    return path


def test_types_below_the_minimum_are_dropped_everywhere(tmp_path: Path) -> None:
    src = write_jsonl(
        tmp_path / "notes.jsonl",
        {"id": "a", "text": "fever, red", "ents": [[0, 5, "Sign"], [7, 10, "Color"]]},
        {"id": "b", "text": "fever, old", "ents": [[0, 5, "Sign"], [7, 10]]},
    )
    out = tmp_path / "deep" / "corpus.spacy"
    report = convert(src, out, min_mentions=2, skip_invalid=True)
    docs = read_docs(out, Vocab())
    assert [doc.user_data["note_id"] for doc in docs] == ["a", "b"]
    for doc in docs:
        assert spans(doc.ents) == spans(doc.spans["mentions"]) == [("fever", "Sign")]
    # What is not kept is no entity; what is invalid is missing.
    assert [[token.ent_iob_ for token in doc] for doc in docs] == [["B", "O", "O"], ["B", "O", ""]]
    assert report.types_kept == ["Sign"]
    color = report.types["Color"]
    assert (color.read, color.too_rare, color.kept) == (1, 1, 0)
    assert report.types[""].invalid == 1
    assert report.types["Sign"].kept == 2
    assert adds_up(report)


def test_the_source_is_never_the_output(tmp_path: Path) -> None:
    corpus = tmp_path / "corpus.spacy"
    corpus.write_bytes(b"notes")
    with pytest.raises(CorpusError, match="is the source"):
        convert(corpus, tmp_path / "." / "corpus.spacy")
    assert corpus.read_bytes() == b"notes"


def test_the_report_is_written_beside_the_corpus(tmp_path: Path) -> None:
    src = write_jsonl(
        tmp_path / "notes.jsonl",
        {"text": "fever, old", "ents": [[0, 3, "Sign"], [7, 10, "Age"], [0, 99, "\u00c4ge"]]},
        {"text": "fever, red", "ents": [[0, 5, "Sign"], [7, 10, "Color"], [7, 10]]},
        {"text": "fever, ill", "spans": [], "answer": "reject"},
    )
    report = convert(src, tmp_path / "c.spacy", drop_types=["Color"], skip_invalid=True)
    written = json.loads((tmp_path / "c.report.json").read_text("ascii"))
    assert written == json.loads(json.dumps(written | report.to_json()))
    assert written["source"] == "notes.jsonl"
    assert written["settings"] == {
        "lang": "en",
        "min_mentions": 1,
        "types": None,
        "drop_types": ["Color"],
        "overlaps": "outer",
        "skip_invalid": True,
        "trust_offsets": False,
        "annotator": None,
        "layers": [],
    }
    assert (written["notes_read"], written["notes_written"]) == (3, 1)
    reasons = {"mention offsets outside the text": 1, "answer: reject": 1}
    assert written["notes_skipped"] == reasons
    assert written["types"]["Color"]["excluded"] == written["mentions"]["excluded"] == 1
    assert written["types"][""]["invalid"] == written["mentions"]["invalid"] == 1
    assert (written["mentions"]["read"], written["mentions"]["kept"]) == (3, 1)
    assert (written["flat"]["moved"], written["tokens"], written["tokens_missing"]) == (0, 3, 1)


def test_types_are_chosen_by_name(tmp_path: Path) -> None:
    src = write_jsonl(
        tmp_path / "notes.jsonl",
        {"text": "old red fever", "ents": [[0, 3, "Age"], [4, 7, "Color"], [8, 13, "Sign"]]},
    )
    out = tmp_path / "corpus.spacy"

    def kept(**settings: Any) -> list[tuple[str, str]]:
        report = convert(src, out, **settings)
        assert adds_up(report)
        (doc,) = read_docs(out, Vocab())
        assert spans(doc.ents) == spans(doc.spans["mentions"])
        assert all(token.ent_iob for token in doc)  # a type that is not wanted is no entity
        return spans(doc.ents)

    assert kept(types=["Sign", "Age"]) == [("old", "Age"), ("fever", "Sign")]
    assert kept(drop_types=["Sign"]) == [("old", "Age"), ("red", "Color")]
    assert kept(types=["Sign", "Age"], drop_types=["Age"]) == [("fever", "Sign")]
    with pytest.raises(CorpusError, match=r"No mention is of type Agee, X\. The types are: Age"):
        kept(types=["Agee"], drop_types=["X"])


def test_a_type_is_wanted_of_a_source_without_any(tmp_path: Path) -> None:
    (tmp_path / "notes.jsonl").write_text('{"text": "Well.", "ents": []}')
    with pytest.raises(CorpusError, match=r"type Sign\. The types are: none\."):
        convert(tmp_path / "notes.jsonl", tmp_path / "corpus.spacy", types=["Sign"])


def test_no_mention_left_is_an_error(tmp_path: Path) -> None:
    src = write_jsonl(tmp_path / "n.jsonl", {"text": "Well", "ents": [[0, 4, "State"]]})
    out = tmp_path / "n.spacy"
    for nothing_kept in ({"min_mentions": 2}, {"drop_types": ["State"]}):
        with pytest.raises(CorpusError, match="of its 1 mention none is left"):
            convert(src, out, **nothing_kept)
    assert not out.exists()


def test_a_note_without_text_or_mentions_is_kept(tmp_path: Path) -> None:
    src = write_jsonl(tmp_path / "n.jsonl", {"text": "", "ents": []}, {"text": "Well", "ents": []})
    convert(src, tmp_path / "n.spacy")
    docs = read_docs(tmp_path / "n.spacy", Vocab())
    assert [doc.text for doc in docs] == ["", "Well"]
    assert docs[1].has_annotation("ENT_IOB")  # no entity, which is not the same as unknown


def test_what_cannot_be_converted_is_named(tmp_path: Path) -> None:
    src = write_jsonl(tmp_path / "n.jsonl", {"text": "Well", "ents": []})
    empty = write_jsonl(tmp_path / "empty.jsonl")
    out = tmp_path / "n.spacy"
    with pytest.raises(CorpusError, match=r"n\.json: the output must be a \.spacy file"):
        convert(src, tmp_path / "n.json")
    with pytest.raises(CorpusError, match=r"gone: no such file or folder"):
        convert(tmp_path / "gone", out)
    (tmp_path / "export.json").write_text("[]")
    with pytest.raises(CorpusError, match=r"export\.json: no note to convert"):
        convert(tmp_path / "export.json", out)
    with pytest.raises(CorpusError, match=r"empty\.jsonl: no note to convert"):
        convert(empty, out)
    with pytest.raises(CorpusError, match="cannot tokenise the language 'xyz'"):
        convert(src, out, lang="xyz")
    assert not out.exists()


def test_a_source_that_cannot_be_opened_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    src = write_jsonl(tmp_path / "n.jsonl", {"text": "Well", "ents": []})

    def refuse(self: Path, *args: Any, **kwargs: Any) -> Any:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(CorpusError, match=r"n\.jsonl: cannot be read \(Permission denied\)"):
        convert(src, tmp_path / "n.spacy")


@pytest.mark.skipif(not MACCROBAT.is_dir(), reason=f"MACCROBAT is not in {MACCROBAT}")
def test_maccrobat_converts_whole(tmp_path: Path) -> None:
    report = convert(MACCROBAT, tmp_path / "corpus.spacy", min_mentions=40)
    assert (report.notes_read, report.notes_skipped) == (200, {})
    assert report.total("read") == 25_189
    assert len(report.types_kept) == 33
    assert sum(bool(mentions.too_rare) for mentions in report.types.values()) == 8
    assert adds_up(report)
    docs = read_docs(tmp_path / "corpus.spacy", Vocab())
    assert sum(len(doc.ents) for doc in docs) == report.total("kept")
    ids = sum(len({span.id_ for span in doc.spans["mentions"]}) for doc in docs)
    assert ids == report.total("read") - report.total("too_rare")
    # Few tokens are known to be no entity of one mention alone.
    assert 0 < report.tokens_missing < report.tokens / 1000


# What is annotated in brat or JSON lines is what the .spacy file holds, through `convert`.

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


def as_brat(folder: Path, corpus: list[Note]) -> Path:
    folder = folder / "brat"
    folder.mkdir()
    for number, note in enumerate(corpus):
        lines = "".join(t_line(mention, note.text) for mention in note.mentions)
        write_note(folder, note.text, lines, f"note-{number}")
    return folder


def as_jsonl(folder: Path, corpus: list[Note]) -> Path:
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


def as_prodigy(folder: Path, corpus: list[Note]) -> Path:
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
@pytest.mark.parametrize("write", [as_brat, as_jsonl, as_prodigy])
def test_the_docs_have_the_text_and_the_spans_of_the_source(
    tmp_path_factory: pytest.TempPathFactory, write, corpus
) -> None:
    folder = tmp_path_factory.mktemp("corpus")
    report = convert(write(folder, corpus), folder / "out" / "corpus.spacy")
    docs = read_docs(folder / "out" / "corpus.spacy", Vocab())
    assert sorted(os.listdir(folder / "out")) == ["corpus.report.json", "corpus.spacy"]
    n_mentions = sum(len(note.mentions) for note in corpus)
    assert report.total("kept") == report.total("read") == n_mentions
    assert report.flat.moved == report.tokens_missing == 0
    for number, (doc, note) in enumerate(zip(docs, corpus, strict=True)):
        expected = [(*mention.enclosing_span, mention.type) for mention in note.mentions]
        assert doc.text == note.text
        assert doc.user_data["note_id"] == f"note-{number}"
        assert found(doc) == found(doc, group="mentions") == expected
