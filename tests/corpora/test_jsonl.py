"""JSON lines: our own form, Prodigy's, and everything that can be wrong."""

import json
import traceback
from pathlib import Path
from typing import Any

import pytest

from spacy_btl.corpora.jsonl import read_jsonl
from spacy_btl.corpora.note import Account, Mention, Note
from spacy_btl.errors import CorpusError

SECRET = "Zyxwvut"  # stands for what must never be in a message
GOOD = {"text": "No fever.", "ents": [[3, 8, "Sign"]]}


def write(folder: Path, *lines: Any) -> Path:
    """Write lines; those that are neither str nor bytes as JSON."""
    path = folder / "notes.jsonl"
    path.write_bytes(b"\n".join(_encode(line) for line in lines))
    return path


def _encode(line: Any) -> bytes:
    if isinstance(line, bytes):
        return line
    return (line if isinstance(line, str) else json.dumps(line)).encode("utf-8")


def read(path: Path, *, skip_invalid: bool = False) -> tuple[list[Note], Account]:
    account = Account(skip_invalid=skip_invalid)
    return list(read_jsonl(path, account=account)), account


def test_reads_notes_and_their_ids(tmp_path: Path) -> None:
    path = write(tmp_path, "\ufeff" + json.dumps(GOOD), "", {**GOOD, "id": "a"}, {**GOOD, "id": 7})
    notes, account = read(path)
    mentions = (Mention("T1", "Sign", ((3, 8),)),)
    assert notes == [Note(name, GOOD["text"], mentions) for name in ("line-000001", "a", "7")]
    assert (account.notes_read, account.mentions_read) == (3, 3)


def test_offsets_are_code_points_and_exotic_line_ends_are_text(tmp_path: Path) -> None:
    text = "\U0001f912\u2028fever\r\n"
    line = json.dumps({"text": text, "ents": [[2, 7, "Sign"]]}, ensure_ascii=False)
    (note,), _ = read(write(tmp_path, line + "\r"))
    ((start, end),) = note.mentions[0].fragments
    assert note.text == text
    assert note.text[start:end] == "fever"


def test_prodigy_records_are_read_and_rejected_ones_counted(tmp_path: Path) -> None:
    spans = [{"start": 3, "end": 8, "label": "Sign", "token_start": 1, "token_end": 1}]
    record = {"text": "No fever.", "spans": spans}
    answers = ("accept", "reject", "ignore", "reject")
    unmarked = {"text": "Well.", "answer": "accept"}
    lines = [record, *({**record, "answer": answer} for answer in answers), unmarked]
    notes, account = read(write(tmp_path, *lines))
    assert [note.id for note in notes] == ["line-000001", "line-000002", "line-000006"]
    assert [len(note.mentions) for note in notes] == [1, 1, 0]
    assert account.notes_skipped == {"answer: reject": 2, "answer: ignore": 1}
    assert account.mentions_read == 2


BAD_LINES = [
    ('{"text": "' + SECRET, "broken JSON"),
    (SECRET, "broken JSON"),
    ("[" * 100_000, "broken JSON"),
    (SECRET.encode() + b"\xe9", "not UTF-8"),
    ([SECRET], "not a JSON object"),
    ({"ents": []}, '"text" is missing or not a string'),
    ({"text": 1, "ents": []}, '"text" is missing or not a string'),
    ({"text": SECRET + "\ud83e", "ents": []}, '"text" is missing or not a string'),
    ({"text": SECRET}, 'neither "ents" nor "spans" is a list'),
    ({"text": SECRET, "ents": None}, 'neither "ents" nor "spans" is a list'),
    ({"text": SECRET, "ents": [], "id": None}, '"id" is not a string or a number'),
    ({"text": SECRET, "ents": [], "id": True}, '"id" is not a string or a number'),
    (
        {"text": SECRET, "spans": [], "answer": SECRET},
        '"answer" is not accept, reject or ignore',
    ),
    ({"text": SECRET, "spans": [], "answer": []}, '"answer" is not accept, reject or ignore'),
    ({"text": "x" * 1_000_001, "ents": []}, "note over 1,000,000 characters"),
    ({"text": SECRET, "ents": [], "id": "line-000001"}, "id used twice"),
]


@pytest.mark.parametrize(("line", "reason"), BAD_LINES, ids=range(len(BAD_LINES)))
def test_a_bad_line_is_named_or_skipped_and_counted(tmp_path: Path, line: Any, reason: str) -> None:
    path = write(tmp_path, GOOD, line)
    with pytest.raises(CorpusError) as caught:
        read(path)
    message = "".join(traceback.format_exception(caught.value))
    assert f"{path}, line 2: {reason}. " in message
    assert SECRET not in message

    notes, account = read(path, skip_invalid=True)
    assert len(notes) == 1
    assert account.notes_read == 2
    assert account.notes_skipped == {reason: 1}


UNTYPED = "mention without integer start and end and a type"
BAD_MENTIONS = [
    ([0, 99, SECRET], "mention offsets outside the text"),
    ([-2, 4, SECRET], "mention offsets outside the text"),
    ([4, 4, SECRET], "mention with start >= end"),
    ([2, 3, SECRET], "mention of white space only"),
    ([0, 4, "O"], "mention of type O, which means no entity"),
    ([0, 4], UNTYPED),
    ([0, 4, ""], UNTYPED),
    ([0, 4, 1], UNTYPED),
    ([0, 4, "\ud83e"], UNTYPED),
    ([0.0, 4, SECRET], UNTYPED),
    ([False, 4, SECRET], UNTYPED),
    ({"start": 0, "end": 4}, UNTYPED),
    (SECRET, UNTYPED),
]


@pytest.mark.parametrize(("raw", "reason"), BAD_MENTIONS, ids=range(len(BAD_MENTIONS)))
def test_a_bad_mention_is_named_or_skipped_and_counted(
    tmp_path: Path, raw: Any, reason: str
) -> None:
    path = write(tmp_path, GOOD, {"text": "No fever.", "ents": [[3, 8, "Sign"], raw]})
    with pytest.raises(CorpusError) as caught:
        read(path)
    message = "".join(traceback.format_exception(caught.value))
    assert f"{path}, line 2, mention 2: {reason}. " in message
    assert SECRET not in message

    notes, account = read(path, skip_invalid=True)
    assert [len(note.mentions) for note in notes] == [1, 1]
    assert account.mentions_read == 3
    assert account.mentions_invalid == {reason: 1}
