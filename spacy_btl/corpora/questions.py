"""Which question a line of an annotation tool's export answers: only one is about all entities."""

from typing import Any

OTHER_QUESTION = "an answer to another question than which entities are there"
YES_OR_NO = "a yes-or-no answer about what was suggested, which is not all that there is to mark"
# Prodigy's interfaces in which all that is there is marked, and those that ask yes or no.
MARKED = ("ner_manual", "spans_manual")
SUGGESTED = ("ner", "spans")


def was_marked(record: dict[str, Any]) -> bool:
    """Whether a line says that its annotator was to mark all mentions."""
    return _view(record) in MARKED


def question_problem(record: dict[str, Any]) -> str | None:
    """Why what is marked in a line is not all that is there, or None.

    Prodigy's older exports lack `_view_id`; then the keys of the tasks tell.
    """
    view = _view(record)
    if record.get("_is_binary") or view in SUGGESTED:
        return YES_OR_NO
    if view is not None:
        return None if view in MARKED else OTHER_QUESTION
    if "options" in record or "accept" in record:
        return OTHER_QUESTION
    if "answer" in record and (isinstance(record.get("label"), str) or record.get("relations")):
        return OTHER_QUESTION
    return YES_OR_NO if "answer" in record and _has_score(record) else None


def format_problem(record: dict[str, Any]) -> str | None:
    """The other tool that a line is of, as the reason why it is not read; or None."""
    labels = record.get("label")
    if isinstance(record.get("data"), dict) or _holds(labels, dict, "labels"):
        return "a task of Label Studio's export, which is not read"
    if _holds(labels, list) or _holds(record.get("entities"), dict, "start_offset"):
        return "a line of doccano's export, which is not read"
    return None


def _view(record: dict[str, Any]) -> Any:
    """The interface; that of the tasks that were reviewed, where a reviewer decided."""
    view = record.get("_view_id")
    return record.get("view_id", view) if view == "review" else view


def _has_score(record: dict[str, Any]) -> bool:
    """Whether a model or a pattern ranked the one span of a task, to ask whether it is right."""
    spans, meta = record.get("spans"), record.get("meta")
    if not isinstance(spans, list) or len(spans) != 1:
        return False
    places: list[Any] = [record, meta, spans[0]]
    return "priority" in record or _holds(places, dict, "score")


def _holds(items: Any, kind: type[Any], key: str | None = None) -> bool:
    """Whether it is a list with an item of a kind, which has a key."""
    found = [item for item in items if isinstance(item, kind)] if isinstance(items, list) else []
    return any(key is None or key in item for item in found)
