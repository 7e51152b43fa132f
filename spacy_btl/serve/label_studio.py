"""Label Studio's protocol of machine-learning backends: tasks in, predictions out.

Source: `label_studio/ml/api_connector.py` of Label Studio 1.23.
"""

from collections import Counter
from typing import Any

from pydantic import BaseModel, Field

from spacy_btl.corpora.note import is_text
from spacy_btl.errors import ServeError, counted
from spacy_btl.notes.entities import Entity
from spacy_btl.preannotations.records import prediction
from spacy_btl.serve.http import Answer, parse
from spacy_btl.serve.label_config import LabelConfig, read_label_config
from spacy_btl.serve.labels import listed, shown
from spacy_btl.serve.model import Loaded, Model


class SetupRequest(BaseModel):
    """`POST /setup`. What else is in it, a token of its user for one, is not read."""

    label_config: str = Field(alias="schema")


class Task(BaseModel):
    """A task."""

    data: dict[str, Any]


class PredictRequest(BaseModel):
    """`POST /predict`."""

    tasks: list[Task]
    label_config: str


def health(model: Model) -> Answer:
    """Say that the service is there."""
    return Answer({"status": "UP", "model_class": "spacy-btl", "version": model.current.system})


def setup(body: bytes, model: Model) -> Answer:
    """Check the labelling configuration of a project, and say which version answers.

    RAISES: ServeError, if mentions have no place in it.
    """
    read_label_config(parse(SetupRequest, body).label_config)
    return Answer({"model_version": model.current.system})


def predict(body: bytes, model: Model) -> Answer:
    """Answer tasks with a prediction each, in their order. A task that cannot be predicted has an
    `error` in its place, which Label Studio logs.

    RAISES: ServeError, for a request that cannot be answered, or if no task has a text.
    """
    request = parse(PredictRequest, body)
    config = read_label_config(request.label_config)
    texts = [task.data.get(config.key) for task in request.tasks]
    good = [text for text in texts if is_text(text)]
    missing = f"no text as '{config.key}' in its data"
    if texts and not good:
        raise ServeError(f"Each task has {missing}.")
    found, by = model.predict(good)
    results, left_out = [], Counter[str]()
    answers = iter(found)
    for text in texts:
        mentions = next(answers) if is_text(text) else missing
        if isinstance(mentions, str):
            results.append({"error": mentions})
        else:
            results.append(_prediction(mentions, config, by, left_out))
    regions = sum(len(result.get("result", ())) for result in results)
    said = f"{counted(len(texts), 'task')}, {counted(regions, 'region')}{listed(left_out)}"
    if failed := sum("error" in result for result in results):
        said += f"; without a prediction: {counted(failed, 'task')}"
    return Answer({"results": results}, said)


def _prediction(
    mentions: list[Entity], config: LabelConfig, by: Loaded, left_out: Counter[str]
) -> dict[str, Any]:
    """A prediction with the mentions that have a label. Others are counted."""
    placed: list[tuple[str, Entity]] = []
    for one in mentions:
        named = ((name, shown(one.label, known)) for name, known in config.controls.items())
        control, label = next(((name, label) for name, label in named if label), ("", None))
        if label is None:
            left_out[one.label] += 1
        else:
            placed.append((control, one._replace(label=label)))
    result = prediction(
        [one for _, one in placed], from_name="", to_name=config.text, model_version=by.system
    )
    for region, (control, _) in zip(result["result"], placed, strict=True):
        region["from_name"] = control
    return result
