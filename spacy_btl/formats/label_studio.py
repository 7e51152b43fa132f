"""Read Label Studio: its JSON export, of tasks with annotations, and its JSON_MIN."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from spacy_btl.corpora.claims import Claim, count_flaws, note_from_claims
from spacy_btl.corpora.note import Mention, Note, is_text, text_problem
from spacy_btl.corpora.report import OTHER_ANNOTATION, ConversionReport
from spacy_btl.corpora.source import Item, Source

# The key of the labels in a region, by the tag that made it.
LABELS = ("labels", "hypertextlabels", "paragraphlabels")
# Results that say something of a region that another result marks.
OTHER_KINDS = ("choices", "rating", "number", "taxonomy", "datetime")
NOT_PLAIN = "region of a web page or a dialogue, whose offsets are not those of a plain text"
NO_ANNOTATION, CANCELLED = "task without an annotation", "annotation that was cancelled"
NO_TEXT = "task without a text"


def is_label_studio(source: Source) -> bool:
    """Whether an item is a task with annotations."""
    return source.is_json and any(
        isinstance(item.value, dict)
        and isinstance(item.value.get("data"), dict)
        and any(key in item.value for key in ("annotations", "completions", "predictions"))
        for item in source.sample
    )


def is_json_min(source: Source) -> bool:
    """Whether an item has the keys that JSON_MIN adds to the data of a task, or its regions."""
    return source.is_json and any(
        isinstance(item.value, dict)
        and ({"annotator", "annotation_id"} <= item.value.keys() or _region_lists(item.value))
        for item in source.sample
    )


def read_label_studio(sources: Sequence[Source], report: ConversionReport) -> Iterator[Note]:
    """Read the tasks of a JSON export, each annotation as a note of its annotator.

    Cancelled annotations, and tasks that only have predictions, are skipped and counted. The text
    is that one of the task's data that its regions name in their own texts.

    YIELDS (Note): Its id is `task-7`.
    RAISES: CorpusError, for an invalid task or region that the report does not skip.
    """
    for source, item in _items(sources):
        task = item.value
        if not isinstance(task, dict) or not isinstance(task.get("data"), dict):
            report.notes_read += 1
            reason = item.problem or "not a task with data and annotations"
            report.skip(report.notes_skipped, reason, item.where)
            continue
        done = task.get("annotations", task.get("completions"))
        annotations = [one for one in done or () if isinstance(one, dict)]
        if not annotations:
            report.notes_read += 1
            report.notes_skipped[NO_ANNOTATION] += 1
        # The newest of one annotator comes last.
        for annotation in sorted(annotations, key=lambda one: str(one.get("created_at", ""))):
            report.notes_read += 1
            if annotation.get("was_cancelled") or annotation.get("skipped"):
                report.notes_skipped[CANCELLED] += 1
                continue
            results = annotation.get("result")
            values = _values(results, report) if isinstance(results, list) else []
            note = _note(task["data"], task.get("id"), annotation.get("completed_by"), source, item)
            if annotation.get("ground_truth"):
                note = replace(note, curated=True)
            yield from _checked(note, task["data"], values, item.where, report)


def read_json_min(sources: Sequence[Source], report: ConversionReport) -> Iterator[Note]:
    """Read JSON_MIN, which has an object per annotation: the data of the task, and its regions.

    YIELDS (Note): Its id is `task-7`.
    RAISES: CorpusError, for an invalid object or region that the report does not skip.
    """
    for source, item in _items(sources):
        report.notes_read += 1
        record = item.value
        if not isinstance(record, dict):
            reason = item.problem or "not a JSON object"
            report.skip(report.notes_skipped, reason, item.where)
        elif "annotation_id" in record and record["annotation_id"] is None:
            report.notes_skipped[NO_ANNOTATION] += 1
        else:
            keys = _region_lists(record)
            values = [value for key in keys for value in record[key]]
            data = {key: value for key, value in record.items() if key not in keys}
            note = _note(record, record.get("id"), record.get("annotator"), source, item)
            yield from _checked(note, data, values, item.where, report)


def _items(sources: Sequence[Source]) -> Iterator[tuple[Source, Item]]:
    return ((source, item) for source in sources for item in source.items())


def _values(results: list[Any], report: ConversionReport) -> Iterator[Any]:
    """The values of the results that mark a piece of text. Others are counted."""
    for result in results:
        value = result.get("value") if isinstance(result, dict) else None
        if isinstance(value, dict) and any(key in value for key in ("start", *LABELS)):
            if any(key in value for key in OTHER_KINDS):  # said of a region that has its own result
                report.remarks[OTHER_ANNOTATION] += 1
            else:
                yield value
        else:
            report.remarks[OTHER_ANNOTATION] += 1


def _region_lists(record: dict[str, Any]) -> list[str]:
    """The keys of an object of JSON_MIN that hold regions."""
    return [
        key
        for key, value in record.items()
        if isinstance(value, list) and value and all(map(_is_region, value))
    ]


def _is_region(value: Any) -> bool:
    return isinstance(value, dict) and "start" in value and any(key in value for key in LABELS)


def _note(data: dict[str, Any], task_id: Any, who: Any, source: Source, item: Item) -> Note:
    """A note without its text and mentions."""
    place = item.where.removeprefix(f"{source.where}, ")
    own = source.note_id(int(place.rpartition(" ")[2]), "task")
    note_id = own if task_id is None else f"task-{task_id}"
    if isinstance(who, dict):
        who = who.get("email", who.get("id"))
    annotator = None if who in (None, "") else str(who)
    return Note(note_id, "", (), where=source.place(place), annotator=annotator)


def _checked(
    note: Note, data: dict[str, Any], values: Iterable[Any], where: str, report: ConversionReport
) -> Iterator[Note]:
    """The note with the text of the task's data that its regions agree with."""
    claims = [
        claim for n, value in enumerate(values, 1) for claim in _claims(value, n, where, report)
    ]
    texts = {key: text for key, text in data.items() if is_text(text)}
    if not texts:
        report.skip(report.notes_skipped, NO_TEXT, where)
        return
    # `text` by custom, else the longest, where the regions do not tell.
    ranked = sorted(texts.items(), key=lambda one: (one[0] != "text", -len(one[1])))
    text = min((text for _, text in ranked), key=lambda text: count_flaws(text, claims))
    if problem := text_problem(text):
        report.skip(report.notes_skipped, problem, where)
        return
    checked = note_from_claims(replace(note, text=text), claims, report)
    if checked is not None:
        yield checked


def _claims(value: Any, number: int, where: str, report: ConversionReport) -> Iterator[Claim]:
    """The mentions of a region: one per label."""
    where = f"{where}, region {number}"
    if "globalOffsets" in value or "startOffset" in value:
        yield Claim(where, None, problem=NOT_PLAIN)
        return
    start, end, text = value.get("start"), value.get("end"), value.get("text")
    if type(start) is not int or type(end) is not int:
        yield Claim(where, None, problem="region without integer start and end")
        return
    labels = next((value[key] for key in LABELS if key in value), None) or [""]
    for i, raw in enumerate(labels):
        label = report.normalize_label(raw) if is_text(raw) else ""
        mention = Mention(f"T{number}" if i == 0 else f"T{number}.{i}", label, ((start, end),))
        texts = (text,) if isinstance(text, str) else ()
        yield Claim(where, mention, texts, problem=None if label else "region without a label")
