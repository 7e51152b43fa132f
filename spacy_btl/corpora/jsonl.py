"""Read JSON lines: our own `{"text", "ents"}` or Prodigy's `{"text", "spans", "answer"}`."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeGuard

from spacy_btl.corpora.note import Account, Mention, Note, mention_problem, text_problem

SURROGATE = re.compile("[\ud800-\udfff]")  # JSON can escape half a character; spaCy cannot hold it


def read_jsonl(path: Path, *, account: Account) -> Iterator[Note]:
    """Read one note per line; blank lines are passed over.

    path (Path): A file of `{"text", "ents": [[start, end, type], ...]}` or of Prodigy's
        `{"text", "spans": [{"start", "end", "label"}, ...], "answer"}`, either with an optional
        "id" (string or number). Offsets count characters, end exclusive. What Prodigy's user
        rejected or ignored is skipped and counted.
    account (Account): Counts what is read and, if it is told to skip, what is invalid.
    YIELDS (Note): Its id is the line's, or `line-000001` where the line has none.
    RAISES: CorpusError, for an invalid line or mention that the account does not skip.
    """
    seen: set[str] = set()
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            account.notes_read += 1
            where = f"{path}, line {number}"
            record = _parse(line)
            if isinstance(record, str):
                account.skip(account.notes_skipped, record, where)
            elif record.get("answer", "accept") != "accept":
                account.notes_skipped[f"answer: {record['answer']}"] += 1
            else:
                note_id = str(record.get("id", f"line-{number:06}"))
                if note_id in seen:
                    account.skip(account.notes_skipped, "id used twice", where)
                    continue
                seen.add(note_id)
                yield Note(note_id, record["text"], tuple(_mentions(record, account, where)))


def _parse(line: bytes) -> dict[str, Any] | str:
    """The record of a line, or the reason why there is none."""
    try:
        record = json.loads(line.decode("utf-8-sig"))
    except UnicodeDecodeError:
        return "not UTF-8"
    except (ValueError, RecursionError):
        return "broken JSON"
    if not isinstance(record, dict):
        return "not a JSON object"
    return _record_problem(record) or record


def _record_problem(record: dict[str, Any]) -> str | None:
    if not _is_text(record.get("text")):
        return '"text" is missing or not a string'
    if not _is_text(record.get("id", "")) and type(record["id"]) not in (int, float):
        return '"id" is not a string or a number'
    if record.get("answer", "accept") not in ("accept", "reject", "ignore"):
        return '"answer" is not accept, reject or ignore'
    if not isinstance(_raw_mentions(record), list):
        return 'neither "ents" nor "spans" is a list'
    return text_problem(record["text"])


def _raw_mentions(record: dict[str, Any]) -> Any:
    if "ents" in record:
        return record["ents"]
    # Prodigy leaves "spans" out where its user marked nothing.
    return record.get("spans", [] if "answer" in record else None)


def _mentions(record: dict[str, Any], account: Account, where: str) -> Iterator[Mention]:
    for number, raw in enumerate(_raw_mentions(record), start=1):
        account.mentions_read += 1
        mention = _parse_mention(raw, f"T{number}")
        if mention is None:
            problem: str | None = "mention without integer start and end and a type"
        else:
            problem = mention_problem(mention, record["text"])
        if problem:
            account.skip(account.mentions_invalid, problem, f"{where}, mention {number}")
        elif mention is not None:
            yield mention


def _parse_mention(raw: Any, mention_id: str) -> Mention | None:
    """A mention from `[start, end, type]` or `{"start", "end", "label"}`, None if it is neither."""
    if isinstance(raw, dict):
        raw = [raw.get(key) for key in ("start", "end", "label")]
    if not isinstance(raw, list) or len(raw) != 3:
        return None
    start, end, label = raw
    # Not isinstance: JSON's true and false are no offsets.
    if type(start) is not int or type(end) is not int or not _is_text(label) or not label:
        return None
    return Mention(mention_id, label, ((start, end),))


def _is_text(value: Any) -> TypeGuard[str]:
    return isinstance(value, str) and not SURROGATE.search(value)
