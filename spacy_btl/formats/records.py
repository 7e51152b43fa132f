"""Read records: JSON lines or an array, each with a text and its mentions."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any, TypeGuard

from spacy_btl.corpora.claims import Claim, note_from_claims
from spacy_btl.corpora.note import Mention, Note, is_text, name_in, text_problem
from spacy_btl.corpora.report import OTHER_ANNOTATION, ConversionReport
from spacy_btl.corpora.source import Item, Source
from spacy_btl.formats.annotation_tools import format_problem, lists_all_mentions, task_problem
from spacy_btl.formats.record_forms import is_doccano, to_record

ANSWERS = ("accept", "reject", "ignore")
NOT_LABELLED = "document that its user did not label, and another one did"
NO_START_END_TYPE = "mention without integer start and end and a type"


def is_records(source: Source) -> bool:
    """Whether it is JSON or JSON lines: what no other reader takes."""
    return source.is_json


def read_records(sources: Sequence[Source], report: ConversionReport) -> Iterator[Note]:
    """Read one note per line of JSON lines, or per item of a JSON array.

    A record is `{"text", "ents": [[start, end, type], ...]}`, or Prodigy's
    `{"text", "spans": [{"start", "end", "label"}, ...], "answer"}`, or of another form that
    `record_forms.to_record` turns into these. All may have an "id", a string or a number. Offsets
    count characters, end exclusive; other units are recognised if the mentions have a "text".
    Tasks and spans that the annotator rejected or ignored are skipped and counted. Tasks that do
    not ask for all mentions are invalid.

    YIELDS (Note): Its id is that of the record, or `line-000001` for a record without one. Its
        patient is the record's `patient_id`.
    RAISES: CorpusError, for an invalid record or mention that the report does not skip.
    """
    if all(any(is_doccano(item.value) for item in source.sample) for source in sources):
        yield from _of_users({one.name: list(_notes(one, report)) for one in sources}, report)
        return
    for source in sources:
        yield from _notes(source, report)


def _of_users(files: Mapping[str, Sequence[Note]], report: ConversionReport) -> Iterator[Note]:
    """Yield the notes of doccano's files. If files share documents, each is of the user that it is
    named after: doccano writes all documents for every user, labelled or not."""
    versions = Counter(key for notes in files.values() for key in {(n.id, n.text) for n in notes})
    labelled = {(n.id, n.text) for notes in files.values() for n in notes if n.mentions}
    of_users = any(count > 1 for count in versions.values())
    for name, notes in files.items():
        user = PurePosixPath(name).name if of_users else None
        for note in notes:
            key = (note.id, note.text)
            if versions[key] > 1 and key in labelled and not (note.mentions or note.skipped):
                report.notes_skipped[NOT_LABELLED] += 1
            else:
                yield replace(note, annotator=user)


def _notes(source: Source, report: ConversionReport) -> Iterator[Note]:
    for item in source.items():
        value, problem = item.value, item.problem
        if isinstance(value, dict) and _all_pairs(value.get("annotations")):
            items = enumerate(value["annotations"], start=1)  # an editor for spaCy 2
            inner = [Item(f"{item.where}, pair {number}", pair) for number, pair in items]
        else:
            inner = [Item(item.where, value, problem)]
        for one in inner:
            note = _read_record(one, source, report)
            if note is not None:
                yield note


def _all_pairs(value: Any) -> bool:
    is_list = isinstance(value, list) and bool(value)
    return is_list and all(isinstance(pair, list) for pair in value)


def _read_record(item: Item, source: Source, report: ConversionReport) -> Note | None:
    report.notes_read += 1
    place = item.where.removeprefix(f"{source.where}, ")
    record = item.problem or to_record(item.value, source.beside)
    if not isinstance(record, str):
        record = _record_problem(record) or record
    if isinstance(record, str):
        report.skip(report.notes_skipped, record, item.where)
        return None
    if record.get("answer", "accept") != "accept":
        report.notes_skipped[f"answer: {record['answer']}"] += 1
        return None
    annotator = record.get("_annotator_id", record.get("_session_id"))
    unit, _, number = place.rpartition(" ")
    own = source.note_id(int(number), unit)
    note = Note(
        str(record.get("id", own)),
        record["text"],
        (),
        where=source.place(place),
        patient=name_in(record, "patient_id"),
        annotator=None if annotator is None else str(annotator),
        document=str(record.get("_input_hash", "")),
    )
    checked = note_from_claims(note, list(_claims(record, item.where, report)), report)
    if checked is not None and record.get("flagged"):
        report.remarks["flagged notes"] += 1
    relations = item.value.get("relations") if isinstance(item.value, dict) else None
    if relations and isinstance(relations, list):
        report.remarks[OTHER_ANNOTATION] += len(relations)
    return checked


def _record_problem(record: dict[str, Any]) -> str | None:
    if problem := format_problem(record):
        return problem
    if not is_text(record.get("text")):
        return '"text" is missing or not a string'
    if not is_text(record.get("id", "")) and type(record["id"]) not in (int, float):
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
    label = report.normalize_label(raw[2]) if len(raw) == 3 and is_text(raw[2]) else ""
    mention = Mention(mention_id, label, ((raw[0], raw[1]),))
    answer, text = fields.get("answer", "accept"), fields.get("text")
    if answer not in ANSWERS:
        problem = '"answer" of the mention is not accept, reject or ignore'
        return Claim(where, mention, problem=problem)
    # A "text" that is no string agrees with no mention.
    texts = () if text is None else (text if is_text(text) else "",)
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
