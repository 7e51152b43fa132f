"""Read Label Studio: its JSON export, of tasks with annotations, and its JSON_MIN."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from spacy_btl.context.assertions import KIND_OF
from spacy_btl.corpora.claims import Claim, count_flaws, note_from_claims
from spacy_btl.corpora.note import Mention, Note, is_text, name_in, text_problem
from spacy_btl.corpora.report import OTHER_ANNOTATION, ConversionReport
from spacy_btl.corpora.source import Item, Source

# The key of the labels in a region, by the tag that made it.
LABELS = ("labels", "hypertextlabels", "paragraphlabels")
# Results that say something of a region that another result marks.
OTHER_KINDS = ("choices", "rating", "number", "taxonomy", "datetime")
NOT_PLAIN = "region of a web page or a dialogue, whose offsets are not those of a plain text"
NO_ANNOTATION, CANCELLED = "task without an annotation", "annotation that was cancelled"
# What JSON_MIN adds to the data of a task.
ADDED = ("id", "annotator", "annotation_id", "created_at", "updated_at", "lead_time", "agreement")


# What marks a piece of text, and the assertions of it, keys of `context.assertions.KINDS`.
Region = tuple[Any, tuple[str, ...]]


class _Done(NamedTuple):
    """An annotation of a task: its note without a text, the task's data and the regions."""

    note: Note
    data: dict[str, Any]
    claims: Sequence[Claim]
    where: str


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
    is what the tasks of a file have under one name, that which agrees with the regions' own texts.

    YIELDS (Note): Its id is the `note_id` in the task's data if each task has its own, else
        `task-7`. Its patient is the `patient_id` there.
    RAISES: CorpusError, for an invalid task or region that the report does not skip.
    """
    for source in sources:
        done = [one for item in source.items() for one in _annotations(item, source, report)]
        yield from _notes(done, report)


def read_json_min(sources: Sequence[Source], report: ConversionReport) -> Iterator[Note]:
    """Read JSON_MIN, which has an object per annotation: the data of the task, and its regions.

    YIELDS (Note): As for `read_label_studio`.
    RAISES: CorpusError, for an invalid object or region that the report does not skip.
    """
    for source in sources:
        done = [one for item in source.items() for one in _minimal(item, source, report)]
        yield from _notes(done, report)


def _annotations(item: Item, source: Source, report: ConversionReport) -> Iterator[_Done]:
    task = item.value
    if not isinstance(task, dict) or not isinstance(task.get("data"), dict):
        report.notes_read += 1
        reason = item.problem or "not a task with data and annotations"
        report.skip(report.notes_skipped, reason, item.where)
        return
    found = task.get("annotations", task.get("completions"))
    found = found if isinstance(found, list) else []
    annotations = [one for one in found if isinstance(one, dict)]
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
        values = _values(results, report) if isinstance(results, list) else ()
        note = _note(task.get("id"), annotation.get("completed_by"), source, item)
        note = replace(note, curated=bool(annotation.get("ground_truth")))
        yield _Done(note, task["data"], _claims(values, item.where, report), item.where)


def _minimal(item: Item, source: Source, report: ConversionReport) -> Iterator[_Done]:
    report.notes_read += 1
    record = item.value
    if not isinstance(record, dict):
        report.skip(report.notes_skipped, item.problem or "not a JSON object", item.where)
    elif "annotation_id" in record and record["annotation_id"] is None:
        report.notes_skipped[NO_ANNOTATION] += 1
    else:
        keys = _region_lists(record)
        values = ((one, ()) for key in keys for one in record[key])
        claims = _claims(values, item.where, report)
        data = {key: value for key, value in record.items() if key not in ADDED}
        note = _note(record.get("id"), record.get("annotator"), source, item)
        yield _Done(note, data, claims, item.where)


def _values(results: list[Any], report: ConversionReport) -> Iterator[Region]:
    """The values of the results that mark a piece of text, with the assertions that are chosen of
    the region. Other results are counted."""
    said: dict[str, tuple[str, ...]] = {}  # by the id that the results of a region share
    marked = []
    for result in results:
        value = result.get("value") if isinstance(result, dict) else None
        if not isinstance(value, dict) or not any(key in value for key in ("start", *LABELS)):
            report.remarks[OTHER_ANNOTATION] += 1
        elif is_text(region := result.get("id")) and (kinds := _assertions(value)):
            said[region] = tuple(dict.fromkeys((*said.get(region, ()), *kinds)))
        elif any(key in value for key in OTHER_KINDS):  # said of a region that has its own result
            report.remarks[OTHER_ANNOTATION] += 1
        else:
            marked.append((value, region))
    for value, region in marked:
        yield value, said.get(region, ()) if is_text(region) else ()


def _assertions(value: dict[str, Any]) -> tuple[str, ...]:
    """The assertions that are chosen, if all choices are assertions."""
    choices = value.get("choices")
    if not isinstance(choices, list) or not all(map(is_text, choices)):
        return ()
    kinds = tuple(KIND_OF.get(choice.strip().lower(), "") for choice in choices)
    return kinds if all(kinds) else ()


def _region_lists(record: dict[str, Any]) -> list[str]:
    """The keys of an object of JSON_MIN that hold regions."""
    return [
        key
        for key, value in record.items()
        if isinstance(value, list) and value and all(map(_is_region, value))
    ]


def _is_region(value: Any) -> bool:
    return isinstance(value, dict) and "start" in value and any(key in value for key in LABELS)


def _note(task_id: Any, who: Any, source: Source, item: Item) -> Note:
    """A note without its text and mentions."""
    place = item.where.removeprefix(f"{source.where}, ")
    own = source.note_id(int(place.rpartition(" ")[2]), "task")
    note_id = own if task_id is None else f"task-{task_id}"
    if isinstance(who, dict):
        who = who.get("email", who.get("id"))
    annotator = None if who in (None, "") else str(who)
    return Note(note_id, "", (), where=source.place(place), annotator=annotator)


def _notes(done: Sequence[_Done], report: ConversionReport) -> Iterator[Note]:
    """The notes, with the text that is under one name in all tasks."""
    key, ids = _text_key(done), _note_ids(done)
    for one in done:
        text = one.data.get(key)
        if not is_text(text):
            report.skip(report.notes_skipped, "task without a text", one.where)
            continue
        if problem := text_problem(text):
            report.skip(report.notes_skipped, problem, one.where)
            continue
        note_id, patient = ids.get(one.note.id, one.note.id), name_in(one.data, "patient_id")
        note = replace(one.note, id=note_id, text=text, patient=patient)
        checked = note_from_claims(note, one.claims, report)
        if checked is not None:
            yield checked


def _note_ids(done: Sequence[_Done]) -> dict[str, str]:
    """The `note_id` of each task; empty if two tasks share one."""
    named = {one.note.id: name_in(one.data, "note_id") for one in done}
    found = {task: note_id for task, note_id in named.items() if note_id is not None}
    return found if len(set(found.values())) == len(named) else {}


def _text_key(done: Sequence[_Done]) -> str:
    """The name of what the fewest regions disagree with; else `text`, or the longest."""
    flaws, lengths = Counter[str](), Counter[str]()
    for one in done:
        for key, text in one.data.items():
            if is_text(text):
                # One less for each that holds, so that a text that is not there has none.
                flaws[key] += count_flaws(text, one.claims) - len(one.claims)
                lengths[key] += len(text)
    return min(flaws, key=lambda key: (flaws[key], key != "text", -lengths[key]), default="")


def _claims(values: Iterable[Region], where: str, report: ConversionReport) -> list[Claim]:
    return [
        claim
        for number, (value, said) in enumerate(values, start=1)
        for claim in _region_claims(value, said, f"{where}, region {number}", f"T{number}", report)
    ]


def _region_claims(
    value: Any, said: tuple[str, ...], where: str, number: str, report: ConversionReport
) -> Iterator[Claim]:
    """The mentions of a region: one per label."""
    if "globalOffsets" in value or "startOffset" in value:
        yield Claim(where, None, problem=NOT_PLAIN)
        return
    start, end, text = value.get("start"), value.get("end"), value.get("text")
    if type(start) is not int or type(end) is not int:
        yield Claim(where, None, problem="region without integer start and end")
        return
    labels = next((value[key] for key in LABELS if isinstance(value.get(key), list)), None) or [""]
    for i, raw in enumerate(labels):
        label = report.normalize_label(raw) if is_text(raw) else ""
        mention = Mention(f"{number}.{i}" if i else number, label, ((start, end),), said)
        # Label Studio writes a line end in it as a backslash and an n.
        texts = (text, text.replace("\\n", "\n")) if isinstance(text, str) else ()
        yield Claim(where, mention, texts, problem=None if label else "region without a label")
