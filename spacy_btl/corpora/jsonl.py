"""Read JSON lines: our own `{"text", "ents"}` or Prodigy's `{"text", "spans", "answer"}`."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeGuard

from spacy_btl.corpora.claims import Claim, claimed_note
from spacy_btl.corpora.note import Account, Mention, Note, text_problem
from spacy_btl.corpora.questions import format_problem, question_problem, was_marked

SURROGATE = re.compile("[\ud800-\udfff]")  # JSON can escape half a character; spaCy cannot hold it
ANSWERS = ("accept", "reject", "ignore")
UNTYPED = "mention without integer start and end and a type"


def read_jsonl(path: Path, *, account: Account) -> Iterator[Note]:
    """Read one note per line; blank lines are passed over.

    path (Path): A file of `{"text", "ents": [[start, end, type], ...]}` or of Prodigy's
        `{"text", "spans": [{"start", "end", "label"}, ...], "answer"}`, either with an optional
        "id" (string or number). Offsets count characters, end exclusive, or other units where the
        mentions have a "text" that says so. Tasks that were rejected or ignored are skipped and
        counted, and so are such spans. Tasks that do not ask for all mentions are invalid.
    account (Account): Counts what is read and, if it is told to skip, what is invalid.
    YIELDS (Note): Its id is the line's, or `line-000001` where the line has none.
    RAISES: CorpusError, for an invalid line or mention that the account does not skip.
    """
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
                note = Note(note_id, record["text"], (), where=f"line {number}")
                read = claimed_note(note, list(_claims(record, where, account)), account)
                if read is not None:
                    if record.get("flagged"):
                        account.remarks["notes that were flagged"] += 1
                    yield read


def _parse(line: bytes) -> dict[str, Any] | str:
    """The record of a line, or the reason why there is none."""
    try:
        record = json.loads(line.decode("utf-8-sig"), object_pairs_hook=_unique)
    except UnicodeDecodeError:
        return "not UTF-8"
    except KeyError:
        return "a key twice in one object"
    except (ValueError, RecursionError):
        return "broken JSON"
    if not isinstance(record, dict):
        return "not a JSON object"
    return _record_problem(record) or record


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):  # json would take the last one
        raise KeyError
    return fields


def _record_problem(record: dict[str, Any]) -> str | None:
    if problem := format_problem(record):
        return problem
    if not _is_text(record.get("text")):
        return '"text" is missing or not a string'
    if not _is_text(record.get("id", "")) and type(record["id"]) not in (int, float):
        return '"id" is not a string or a number'
    if record.get("answer", "accept") not in ANSWERS:
        return '"answer" is not accept, reject or ignore'
    if problem := question_problem(record):
        return problem
    if record.get("answer", "accept") == "accept" and not isinstance(_raw_mentions(record), list):
        return 'neither "ents" nor "spans" is a list'
    if isinstance(record.get("ents"), list) and isinstance(record.get("spans"), list):
        return 'both "ents" and "spans" are there'
    return text_problem(record["text"])


def _raw_mentions(record: dict[str, Any]) -> Any:
    if "ents" in record:
        return record["ents"]
    # Prodigy leaves "spans" out where its user marked nothing.
    return record.get("spans", [] if was_marked(record) else None)


def _claims(record: dict[str, Any], where: str, account: Account) -> Iterator[Claim]:
    tokens = record.get("tokens")
    for number, raw in enumerate(_raw_mentions(record), start=1):
        claim = _parse_mention(raw, f"T{number}", f"{where}, mention {number}", account)
        if claim.mention and not _within_tokens(raw, tokens):
            problem = "mention offsets unlike its tokens"
            claim = claim._replace(mention=None, problem=problem)
        yield claim
    for token in tokens if isinstance(tokens, list) else ():
        if isinstance(token, dict) and token.get("disabled"):
            yield _parse_disabled(token, where)


def _parse_mention(raw: Any, mention_id: str, where: str, account: Account) -> Claim:
    """What `[start, end, type]` or `{"start", "end", "label"}` says."""
    fields = raw if isinstance(raw, dict) else {}
    if isinstance(raw, dict):
        raw = [raw.get(key) for key in ("start", "end", "label")]
    if not isinstance(raw, list) or len(raw) not in (2, 3) or not _are_offsets(raw[:2]):
        return Claim(where, None, problem=UNTYPED)
    label = account.tidy_label(raw[2]) if len(raw) == 3 and _is_text(raw[2]) else ""
    mention = Mention(mention_id, label, ((raw[0], raw[1]),))
    answer, said = fields.get("answer", "accept"), fields.get("text")
    if answer not in ANSWERS:
        problem = '"answer" of the mention is not accept, reject or ignore'
        return Claim(where, mention, problem=problem)
    # A text that is no string is none that the mention could have.
    texts = () if said is None else (said if _is_text(said) else "",)
    return Claim(where, mention, texts, problem=None if label else UNTYPED, answer=answer)


def _parse_disabled(token: dict[str, Any], where: str) -> Claim:
    """A token that the annotator could not mark."""
    offsets = (token.get("start"), token.get("end"))
    if not _are_offsets(offsets):
        return Claim(where, None, problem="token without integer start and end")
    return Claim(where, Mention("", "", (offsets,)), answer="unasked")


def _are_offsets(values: Any) -> TypeGuard[tuple[int, int]]:
    return [type(value) for value in values] == [int, int]  # JSON's true and false are none


def _within_tokens(raw: Any, tokens: Any) -> bool:
    """Whether a mention begins and ends in the tokens that it names, if it names any."""
    if not isinstance(raw, dict) or not isinstance(tokens, list):
        return True
    if raw.get("token_start") is None and raw.get("token_end") is None:
        return True
    try:
        first, last = tokens[raw["token_start"]], tokens[raw["token_end"]]
        starts_inside = first["start"] <= raw["start"] < first["end"]
        return starts_inside and last["start"] < raw["end"] <= last["end"]
    except (LookupError, TypeError):
        return False


def _is_text(value: Any) -> TypeGuard[str]:
    return isinstance(value, str) and not SURROGATE.search(value)
