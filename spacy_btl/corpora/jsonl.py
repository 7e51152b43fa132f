"""Read JSON lines: `{"text", "ents"}`, or Prodigy's `{"text", "spans", "answer"}`."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeGuard

from spacy_btl.corpora.annotation_tools import format_problem, lists_all_mentions, task_problem
from spacy_btl.corpora.claims import Claim, note_from_claims
from spacy_btl.corpora.note import Mention, Note, text_problem
from spacy_btl.corpora.report import ConversionReport

SURROGATE = re.compile("[\ud800-\udfff]")  # half a character: JSON can escape it, spaCy refuses it
ANSWERS = ("accept", "reject", "ignore")
NO_START_END_TYPE = "mention without integer start and end and a type"


def read_jsonl(path: Path, *, report: ConversionReport) -> Iterator[Note]:
    """Read one note per line, ignoring blank lines.

    A line is `{"text", "ents": [[start, end, type], ...]}`, or Prodigy's
    `{"text", "spans": [{"start", "end", "label"}, ...], "answer"}`. Both may have an "id", a string
    or a number. Offsets count characters, end exclusive; other units are recognised if the
    mentions have a "text". Tasks and spans that the annotator rejected or ignored are skipped and
    counted. Tasks that do not ask for all mentions are invalid.

    path (Path): The file.
    report (ConversionReport): Counts what is read, and what is invalid if it skips that.
    YIELDS (Note): Its id is that of the line, or `line-000001` for a line without one.
    RAISES: CorpusError, for an invalid line or mention that the report does not skip.
    """
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            report.notes_read += 1
            where = f"{path}, line {number}"
            record = _parse(line)
            if isinstance(record, str):
                report.skip(report.notes_skipped, record, where)
            elif record.get("answer", "accept") != "accept":
                report.notes_skipped[f"answer: {record['answer']}"] += 1
            else:
                note_id = str(record.get("id", f"line-{number:06}"))
                note = Note(note_id, record["text"], (), where=f"line {number}")
                checked = note_from_claims(note, list(_claims(record, where, report)), report)
                if checked is not None:
                    if record.get("flagged"):
                        report.remarks["flagged notes"] += 1
                    yield checked


def _parse(line: bytes) -> dict[str, Any] | str:
    """Return the record of a line, or why it cannot be read."""
    try:
        record = json.loads(line.decode("utf-8-sig"), object_pairs_hook=_unique)
    except UnicodeDecodeError:
        return "not UTF-8"
    except KeyError:
        return "the same key twice in one object"
    except (ValueError, RecursionError):
        return "broken JSON"
    if not isinstance(record, dict):
        return "not a JSON object"
    return _record_problem(record) or record


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):  # json would keep the last one
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
    if problem := task_problem(record):
        return problem
    if record.get("answer", "accept") == "accept" and not isinstance(_raw_mentions(record), list):
        return 'neither "ents" nor "spans" is a list'
    if isinstance(record.get("ents"), list) and isinstance(record.get("spans"), list):
        return 'both "ents" and "spans" are given'
    return text_problem(record["text"])


def _raw_mentions(record: dict[str, Any]) -> Any:
    if "ents" in record:
        return record["ents"]
    # Prodigy leaves "spans" out if its user marked nothing.
    return record.get("spans", [] if lists_all_mentions(record) else None)


def _claims(record: dict[str, Any], where: str, report: ConversionReport) -> Iterator[Claim]:
    tokens = record.get("tokens")
    for number, raw in enumerate(_raw_mentions(record), start=1):
        claim = _parse_mention(raw, f"T{number}", f"{where}, mention {number}", report)
        if claim.mention and not _within_tokens(raw, tokens):
            problem = "mention offsets outside its tokens"
            claim = claim._replace(mention=None, problem=problem)
        yield claim
    for token in tokens if isinstance(tokens, list) else ():
        if isinstance(token, dict) and token.get("disabled"):
            yield _parse_disabled(token, where)


def _parse_mention(raw: Any, mention_id: str, where: str, report: ConversionReport) -> Claim:
    """Read `[start, end, type]` or `{"start", "end", "label"}`."""
    fields = raw if isinstance(raw, dict) else {}
    if isinstance(raw, dict):
        raw = [raw.get(key) for key in ("start", "end", "label")]
    if not isinstance(raw, list) or len(raw) not in (2, 3) or not _are_offsets(raw[:2]):
        return Claim(where, None, problem=NO_START_END_TYPE)
    label = report.normalize_label(raw[2]) if len(raw) == 3 and _is_text(raw[2]) else ""
    mention = Mention(mention_id, label, ((raw[0], raw[1]),))
    answer, text = fields.get("answer", "accept"), fields.get("text")
    if answer not in ANSWERS:
        problem = '"answer" of the mention is not accept, reject or ignore'
        return Claim(where, mention, problem=problem)
    # A "text" that is no string agrees with no mention.
    texts = () if text is None else (text if _is_text(text) else "",)
    return Claim(where, mention, texts, problem=None if label else NO_START_END_TYPE, answer=answer)


def _parse_disabled(token: dict[str, Any], where: str) -> Claim:
    """Read a token that the annotator could not select."""
    offsets = (token.get("start"), token.get("end"))
    if not _are_offsets(offsets):
        return Claim(where, None, problem="token without integer start and end")
    return Claim(where, Mention("", "", (offsets,)), answer="unasked")


def _are_offsets(values: Any) -> TypeGuard[tuple[int, int]]:
    return [type(value) for value in values] == [int, int]  # true and false are no integers here


def _within_tokens(raw: Any, tokens: Any) -> bool:
    """Whether a mention begins and ends in the tokens that it refers to, if any."""
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
