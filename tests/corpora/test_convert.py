"""Notes into docs, and an account of every mention that adds up."""

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import spacy
from hypothesis import given, settings
from spacy.tokens import Doc
from spacy.vocab import Vocab

from spacy_btl.corpora.convert import convert, to_doc
from spacy_btl.corpora.docbin import read_docs
from spacy_btl.corpora.note import Account, Mention, Note
from spacy_btl.errors import CorpusError
from tests.corpora.test_brat import ANY, notes

BESIDE = Path(__file__).resolve().parents[3] / "shared" / "data" / "maccrobat2020"
MACCROBAT = Path(os.environ.get("MACCROBAT_DIR", BESIDE))
NLP = spacy.blank("en")


def adds_up(account: Account) -> bool:
    return account.mentions_read == (
        account.mentions_invalid.total()
        + account.mentions_rare
        + account.mentions_overlapped
        + account.mentions_kept
    )


def make_doc(text: str, *mentions: Mention) -> tuple[Doc, Account]:
    account = Account(types_kept=Counter(mention.type for mention in mentions))
    return to_doc(Note("n", text, mentions), NLP, account=account), account


def spans(items: Any) -> list[tuple[str, str]]:
    return [(span.text, span.label_) for span in items]


def write_jsonl(path: Path, *records: dict[str, Any]) -> Path:
    path.write_text("\n".join(json.dumps(record) for record in records))
    return path


def test_the_longest_hull_wins_and_every_mention_is_in_the_spans() -> None:
    doc, account = make_doc(
        "left and right knee pain",
        Mention("T1", "Site", ((9, 19),)),
        Mention("T2", "Site", ((0, 4), (15, 19))),
        Mention("T3", "Sign", ((20, 24),)),
    )
    assert spans(doc.ents) == [("left and right knee", "Site"), ("pain", "Sign")]
    assert [(span.text, span.label_, span.id_) for span in doc.spans["mentions"]] == [
        ("right knee", "Site", "T1"),
        ("left", "Site", "T2"),
        ("knee", "Site", "T2"),
        ("pain", "Sign", "T3"),
    ]
    assert (account.mentions_kept, account.mentions_overlapped) == (2, 1)
    assert (account.moved, account.discontinuous) == (0, 1)


def test_mentions_grow_to_tokens_and_shed_white_space() -> None:
    doc, account = make_doc(
        "Postoperative  \nfever now",
        Mention("T1", "Time", ((4, 13),)),
        Mention("T2", "Sign", ((14, 21),)),
        Mention("T3", "Time", ((22, 25),)),
    )
    assert spans(doc.ents) == [("Postoperative", "Time"), ("fever", "Sign"), ("now", "Time")]
    assert spans(doc.spans["mentions"]) == spans(doc.ents)
    assert (account.mentions_kept, account.moved) == (3, 2)


def test_of_two_mentions_that_become_the_same_the_second_is_lost() -> None:
    doc, account = make_doc(
        "EGFR/HER2-positive",
        Mention("T1", "Gene", ((0, 4),)),
        Mention("T2", "Gene", ((0, 3),)),
    )
    assert len(doc.ents) == 1
    assert [span.id_ for span in doc.spans["mentions"]] == ["T1", "T2"]
    assert (account.mentions_kept, account.mentions_overlapped, account.moved) == (1, 1, 0)


def test_a_fragment_of_white_space_is_no_span() -> None:
    # brat cuts a mention that runs over a line end into fragments
    doc, _ = make_doc("chest \npain", Mention("T1", "Sign", ((0, 5), (5, 7), (7, 11))))
    assert spans(doc.ents) == [("chest \npain", "Sign")]
    assert spans(doc.spans["mentions"]) == [("chest", "Sign"), ("pain", "Sign")]


@settings(deadline=None)
@given(note=notes(ANY))
def test_any_note_becomes_a_doc_and_its_account_adds_up(note: Note) -> None:
    account = Account(mentions_read=len(note.mentions), types_kept=Counter({"Type": 1}))
    doc = to_doc(note, NLP, account=account)
    assert doc.text == note.text
    assert doc.user_data["note_id"] == "note"
    assert adds_up(account)
    hulls = [mention.hull for mention in note.mentions]
    for ent in doc.ents:
        assert ent.text == ent.text.strip()
        assert any(start < ent.end_char and ent.start_char < end for start, end in hulls)
    assert {span.id_ for span in doc.spans["mentions"]} == {m.id for m in note.mentions}


def test_types_below_the_minimum_are_dropped_everywhere(tmp_path: Path) -> None:
    src = write_jsonl(
        tmp_path / "notes.jsonl",
        {"id": "a", "text": "fever, red", "ents": [[0, 5, "Sign"], [7, 10, "Color"]]},
        {"id": "b", "text": "fever, old", "ents": [[0, 5, "Sign"], [0, 99, "Color"]]},
    )
    out = tmp_path / "deep" / "corpus.spacy"
    account = convert(src, out, min_mentions=2, skip_invalid=True)
    docs = read_docs(out, Vocab())
    assert [doc.user_data["note_id"] for doc in docs] == ["a", "b"]
    for doc in docs:
        assert spans(doc.ents) == spans(doc.spans["mentions"]) == [("fever", "Sign")]
    assert (account.types_kept, account.types_dropped) == ({"Sign": 2}, {"Color": 1})
    assert (account.mentions_read, account.mentions_rare, account.mentions_kept) == (4, 1, 2)
    assert account.mentions_invalid.total() == 1
    assert adds_up(account)


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
    with pytest.raises(CorpusError, match=r"gone: neither a brat folder nor a \.jsonl file"):
        convert(tmp_path / "gone", out)
    with pytest.raises(CorpusError, match=r"empty\.jsonl: no note to convert"):
        convert(empty, out)
    with pytest.raises(CorpusError, match="cannot tokenise the language 'xyz'"):
        convert(src, out, lang="xyz")
    assert not out.exists()


def test_a_source_that_cannot_be_opened_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    src = write_jsonl(tmp_path / "n.jsonl", {"text": "Well", "ents": []})

    def refuse(self: Path, *args: Any) -> Any:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(CorpusError, match=r"n\.jsonl: cannot be read \(Permission denied\)"):
        convert(src, tmp_path / "n.spacy")


@pytest.mark.skipif(not MACCROBAT.is_dir(), reason=f"MACCROBAT is not in {MACCROBAT}")
def test_maccrobat_converts_whole(tmp_path: Path) -> None:
    account = convert(MACCROBAT, tmp_path / "corpus.spacy", min_mentions=40)
    assert (account.notes_read, account.notes_skipped) == (200, {})
    assert account.mentions_read == 25_189
    assert (len(account.types_kept), len(account.types_dropped)) == (33, 8)
    assert adds_up(account)
    docs = read_docs(tmp_path / "corpus.spacy", Vocab())
    assert sum(len(doc.ents) for doc in docs) == account.mentions_kept
    ids = sum(len({span.id_ for span in doc.spans["mentions"]}) for doc in docs)
    assert ids == account.mentions_read - account.mentions_rare
