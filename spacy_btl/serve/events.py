"""What Label Studio sends for training: an event per annotation, and one that starts a training.

Source: `label_studio/webhooks/models.py` of Label Studio 1.23.
"""

import json
from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel, Field

from spacy_btl.corpora.note import is_text
from spacy_btl.errors import ServeError, counted
from spacy_btl.serve.http import Answer, parse
from spacy_btl.serve.label_config import LabelConfig, read_label_config
from spacy_btl.serve.training import Owner, Training, require_training

TOOL = "Label Studio"
START = "START_TRAINING"
CHANGED = ("ANNOTATION_CREATED", "ANNOTATIONS_CREATED", "ANNOTATION_UPDATED")
DELETED = ("ANNOTATIONS_DELETED", "TASKS_DELETED")


class Project(BaseModel):
    """A project."""

    id: int
    label_config: str


class Annotation(BaseModel):
    """An annotation, as far as an export has it and `convert` reads it."""

    id: int
    result: list[dict[str, Any]]
    completed_by: Any = None
    created_at: str | None = None
    was_cancelled: bool | None = False
    ground_truth: bool | None = False


class Task(BaseModel):
    """A task, with its annotations or without."""

    id: int
    data: dict[str, Any]
    annotations: list[Annotation] = []


class NewAnnotation(Annotation):
    """An annotation that names its task."""

    task: int


class Event(BaseModel):
    """`POST /webhook`."""

    action: str


class Started(BaseModel):
    """The event of the button that starts a training. It has no annotations."""

    project: Project


class Changed(BaseModel):
    """An event of annotations that are new or changed, with their tasks."""

    project: Project
    annotation: NewAnnotation | list[NewAnnotation]
    task: Task | list[Task]


class Identified(BaseModel):
    """What is deleted."""

    id: int


class Deleted(BaseModel):
    """An event of annotations, or tasks, that are deleted."""

    project: Project
    annotations: list[Identified] = []
    tasks: list[Identified] = []


class TrainRequest(BaseModel):
    """`POST /train`, by versions that send no START_TRAINING: all tasks with annotations."""

    tasks: list[Task] = Field(alias="annotations")
    project: str
    label_config: str


def webhook(body: bytes, training: Training | None) -> Answer:
    """Keep or drop annotations, or start a training. Without training, events are ignored.

    RAISES: ServeError, for an event that cannot be used, or a training that cannot be started.
    """
    action = parse(Event, body).action
    if action == START:
        ours = require_training(training)
        ours.start(Owner(TOOL, str(parse(Started, body).project.id)))
        return Answer({"status": "ok"}, "a training begins", 201)
    if training is None or action not in (*CHANGED, *DELETED):
        return Answer({"status": "ignored"}, "event ignored")
    return (_change if action in CHANGED else _delete)(body, training)


def train(body: bytes, training: Training | None) -> Answer:
    """Keep tasks in place of all earlier ones, and start a training.

    RAISES: ServeError, as `webhook`.
    """
    ours = require_training(training)
    request = parse(TrainRequest, body)
    owner = Owner(TOOL, request.project.partition(".")[0])
    config = read_label_config(request.label_config)
    files = {_file(task.id): _exported(task, task.annotations, config) for task in request.tasks}
    ours.keep(owner, files, among=ours.kept("*.json"))
    ours.start(owner)
    return Answer({"status": "ok"}, f"{counted(len(files), 'task')} kept, a training begins", 201)


def _change(body: bytes, training: Training) -> Answer:
    event = parse(Changed, body)
    config = read_label_config(event.project.label_config)
    tasks = event.task if isinstance(event.task, list) else [event.task]
    new = event.annotation if isinstance(event.annotation, list) else [event.annotation]
    files = {}
    for task in tasks:
        kept = {one.id: one for one in _kept(_file(task.id), training)}
        kept |= {one.id: one for one in new if one.task == task.id}
        files[_file(task.id)] = _exported(task, kept.values(), config)
    training.keep(Owner(TOOL, str(event.project.id)), files)
    return Answer({"status": "ok"}, f"{counted(len(files), 'task')} kept", 201)


def _delete(body: bytes, training: Training) -> Answer:
    event = parse(Deleted, body)
    gone = {one.id for one in event.annotations}
    among = [_file(one.id) for one in event.tasks]
    among = [name for name in among if training.read(name) is not None]
    files = {}
    for name in training.kept("*.json") if gone else ():
        kept = _kept(name, training)
        left = [one for one in kept if one.id not in gone]
        if len(left) < len(kept):
            among.append(name)
            if left:
                task = json.loads(training.read(name) or b"")
                files[name] = _json(task | {"annotations": [one.model_dump() for one in left]})
    training.keep(Owner(TOOL, str(event.project.id)), files, among=among)
    return Answer({"status": "ok"}, f"{counted(len(among), 'task')} changed or dropped", 201)


def _kept(name: str, training: Training) -> list[Annotation]:
    content = training.read(name)
    return [] if content is None else Task.model_validate_json(content).annotations


def _exported(task: Task, annotations: Iterable[Annotation], config: LabelConfig) -> bytes:
    """A task as Label Studio exports it: the text that has labels, and its regions alone."""
    text = task.data.get(config.key)
    if not is_text(text):
        raise ServeError(f"Task {task.id} has no text as '{config.key}' in its data.")
    own = [
        one.model_dump()
        | {"result": [region for region in one.result if region.get("to_name") == config.text]}
        for one in annotations
    ]
    return _json({"id": task.id, "data": {config.key: text}, "annotations": own})


def _json(task: dict[str, Any]) -> bytes:
    return json.dumps(task).encode("ascii")


def _file(task: int) -> str:
    return f"task-{task}.json"
