"""`.spacy` files: whole or not at all, and clear words for a damaged one."""

import gc
import zlib
from io import FileIO
from pathlib import Path
from typing import Any

import pytest
import spacy
import srsly
from spacy.tokens import Doc, Span
from spacy.vocab import Vocab

from spacy_btl.corpora.docbin import read_docs, write_docs
from spacy_btl.errors import BtlWarning, CorpusError, FileError
from spacy_btl.files import write_file


def test_docs_keep_entities_spans_and_user_data(tmp_path: Path) -> None:
    doc = spacy.blank("en").make_doc("No fever, no cough.")
    doc.user_data["note_id"] = "a"
    doc.ents = [Span(doc, 1, 2, label="Sign")]
    doc.spans["mentions"] = [Span(doc, 1, 2, label="Sign", span_id="T1")]
    path = tmp_path / "made" / "corpus.spacy"
    write_docs(path, [doc])
    (read,) = read_docs(path, Vocab())
    assert read.text == doc.text
    assert read.user_data["note_id"] == "a"
    for span in (read.ents[0], read.spans["mentions"][0]):
        assert (span.start, span.end, span.label_) == (1, 2, "Sign")
    assert read.spans["mentions"][0].id_ == "T1"
    assert [item.name for item in path.parent.iterdir()] == ["corpus.spacy"]


def test_a_missing_or_damaged_file_is_named(tmp_path: Path) -> None:
    whole = tmp_path / "whole.spacy"
    write_docs(whole, [spacy.blank("en").make_doc("No fever.")])
    data = whole.read_bytes()
    damaged = {
        "empty": b"",
        "text": b"not a corpus",
        "truncated": data[:-10],
        "other": zlib.compress(srsly.msgpack_dumps({"attrs": 1})),
    }
    for name, content in damaged.items():
        path = tmp_path / f"{name}.spacy"
        path.write_bytes(content)
        with pytest.raises(CorpusError, match=rf"{name}\.spacy: not a \.spacy file, or a damaged"):
            read_docs(path, Vocab())
    with pytest.raises(CorpusError, match=r"gone\.spacy: no such file"):
        read_docs(tmp_path / "gone.spacy", Vocab())
    write_docs(whole, [])
    with pytest.raises(CorpusError, match=r"whole\.spacy: contains no document"):
        read_docs(whole, Vocab())


@pytest.mark.parametrize("damage", ["a label", "a span"])
def test_a_file_that_points_beyond_itself_is_refused(tmp_path: Path, damage: str) -> None:
    doc = spacy.blank("en").make_doc("No fever.")
    doc.ents = [Span(doc, 1, 2, label="Sign")]
    doc.spans["mentions"] = [Span(doc, 1, 2, label="Sign", span_id="T1")]
    whole = tmp_path / "corpus.spacy"
    write_docs(whole, [doc])
    message = srsly.msgpack_loads(zlib.decompress(whole.read_bytes()))
    if damage == "a label":
        message["strings"].remove("Sign")
    else:
        end = (2).to_bytes(4, "big") + (3).to_bytes(4, "big")  # its last token, its first character
        message["span_groups"][0] = message["span_groups"][0].replace(
            end, (99).to_bytes(4, "big") + end[4:]
        )
    whole.write_bytes(zlib.compress(srsly.msgpack_dumps(message)))
    with pytest.raises(CorpusError, match="or a damaged one"):
        read_docs(whole, Vocab())


def test_a_damaged_file_does_not_stop_the_garbage_collector(tmp_path: Path) -> None:
    (tmp_path / "c.spacy").write_bytes(zlib.compress(b"\xc1"))
    with pytest.raises(CorpusError):
        read_docs(tmp_path / "c.spacy", Vocab())
    assert gc.isenabled()


def test_a_failed_write_leaves_the_old_file_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")

    class FullDisk(FileIO):
        def write(self, data: Any) -> int:
            super().write(data[:1])
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "open", lambda path, mode: FullDisk(path, mode))
    with pytest.raises(FileError, match=r"file: cannot be written \(No space left on device\)"):
        write_file(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FileError, match="cannot be written"):
        write_file(tmp_path / "file" / "corpus.spacy", b"")


def test_entities_lose_the_white_space_at_their_ends(tmp_path: Path) -> None:
    doc = Doc(Vocab(), words=["no", "\n", "chest", " ", "pain", "\n", "or", " ", "x"])
    doc.set_ents(
        [Span(doc, 1, 6, label="Sign", kb_id="Q1", span_id="T1"), Span(doc, 7, 8, label="Test")],
        missing=[doc[8:9]],
        default="outside",
    )
    whole = spacy.blank("en").make_doc("No fever.")
    whole.ents = [Span(whole, 1, 2, label="Sign")]
    path = tmp_path / "foreign.spacy"
    write_docs(path, [doc, whole])
    with pytest.warns(BtlWarning, match=r"foreign\.spacy: 1 entity of white space only"):
        read, same = read_docs(path, Vocab())
    assert [(e.start, e.end, e.label_, e.kb_id_, e.id_) for e in read.ents] == [
        (2, 5, "Sign", "Q1", "T1")
    ]
    assert [token.ent_iob for token in read] == [2, 2, 3, 1, 1, 2, 2, 2, 0]
    assert [(ent.start, ent.end) for ent in same.ents] == [(1, 2)]
