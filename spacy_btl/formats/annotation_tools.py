"""Recognise what annotation tools export: only some lines list all mentions of a text."""

from typing import Any

OTHER_TASK = "an answer to another question than which entities there are"
YES_OR_NO = "a yes-or-no answer about suggested entities, which need not be all there are"
# Prodigy's interfaces in which annotators mark all mentions, and those that ask yes or no.
MANUAL_VIEWS = ("ner_manual", "spans_manual")
BINARY_VIEWS = ("ner", "spans")


def lists_all_mentions(record: dict[str, Any]) -> bool:
    """Whether a line says that its annotator was to mark all mentions."""
    return _view(record) in MANUAL_VIEWS


def task_problem(record: dict[str, Any]) -> str | None:
    """Return why the mentions of a Prodigy task need not be all that there are, or None.

    Older exports lack `_view_id`. Then the keys tell: Prodigy writes `label` on a task only to ask
    about that label, and `relations` only to ask about relations. The JSON of a spaCy Doc and
    other lines with "ents" may have such keys of their own, unless they were answered.
    """
    view = _view(record)
    if record.get("_is_binary") or view in BINARY_VIEWS:
        return YES_OR_NO
    if view is not None:
        return None if view in MANUAL_VIEWS else OTHER_TASK
    if "options" in record or "accept" in record:
        return OTHER_TASK
    from_prodigy = "answer" in record or "ents" not in record
    asks_other = isinstance(record.get("label"), str) or isinstance(record.get("relations"), list)
    if from_prodigy and asks_other:
        return OTHER_TASK
    return YES_OR_NO if "answer" in record and _has_score(record) else None


def format_problem(record: dict[str, Any]) -> str | None:
    """Return why a line is of another tool than the lines around it; or None."""
    labels = record.get("label")
    if isinstance(record.get("data"), dict) or _has_item(labels, dict, "labels"):
        return "a task of Label Studio's among records of another form"
    return None


def _view(record: dict[str, Any]) -> Any:
    """The interface; of a reviewed task, the one that was reviewed."""
    view = record.get("_view_id")
    return record.get("view_id", view) if view == "review" else view


def _has_score(record: dict[str, Any]) -> bool:
    """Whether the task has one span that a model or a pattern scored, to be confirmed."""
    spans, meta = record.get("spans"), record.get("meta")
    if not isinstance(spans, list) or len(spans) != 1:
        return False
    places: list[Any] = [record, meta, spans[0]]
    return "priority" in record or _has_item(places, dict, "score")


def _has_item(items: Any, kind: type[Any], key: str | None = None) -> bool:
    """Whether a value is a list with an item of this type that has this key."""
    matching = [item for item in items if isinstance(item, kind)] if isinstance(items, list) else []
    return any(key is None or key in item for item in matching)
