"""What the tools send for training, what is kept of it, and the training itself."""

import json
import shutil
import sys
import threading
import time

import pytest

import spacy_btl.serve.training as training_module
from spacy_btl.errors import ServeError
from spacy_btl.inception.layers import NAMED_ENTITY
from spacy_btl.serve.app import make_app
from spacy_btl.serve.model import Model
from spacy_btl.serve.training import Training
from tests.conftest import SENTENCES
from tests.formats.reading import MENTIONS, TEXT, read, shown
from tests.serve.conftest import CONFIG, TestClient
from tests.serve.test_inception import document, request, type_system

FEVER, COUGH, DRY = (5, 10), (14, 28), (19, 22)
PLACES = [(*FEVER, "Sign"), (*COUGH, "Sign"), (*DRY, "Detail")]
LABELS = CONFIG.replace("Severity", "Detail")
PROJECT = {"id": 3, "title": "notes", "label_config": LABELS}
INCEPTION, EVENTS = "/inception/train", "/label-studio/webhook"


class Process:
    """A training that ends when it is told to."""

    def __init__(self, command, **_):
        self.command, self.status, self.ended = command, None, threading.Event()
        STARTED.append(self)

    def end(self, status):
        self.status = status
        self.ended.set()

    def wait(self, timeout=None):
        assert self.ended.wait(timeout or 60)
        return self.status

    def terminate(self):
        self.end(-15)


STARTED: list[Process] = []


@pytest.fixture
def training(calibrated_path, tmp_path, monkeypatch):
    """A training of a model of its own, whose process is not started."""
    STARTED.clear()
    monkeypatch.setattr(training_module.subprocess, "Popen", Process)
    return Training(tmp_path / "folder", Model(str(calibrated_path)), every=2, options=["--seed=3"])


@pytest.fixture
def client(training):
    with TestClient(make_app(training.model, training, max_bytes=5_000_000)) as client:
        yield client


def annotation(number, places=PLACES, text=TEXT, **other):
    """An annotation of Label Studio, as its event has it."""
    regions = [
        {
            "id": f"r{i}",
            "from_name": "label",
            "to_name": "text",
            "type": "labels",
            "origin": "manual",
            "value": {"start": start, "end": end, "text": text[start:end], "labels": [label]},
        }
        for i, (start, end, label) in enumerate(places)
    ]
    whole = {"from_name": "kind", "to_name": "page", "type": "choices", "value": {"choices": ["x"]}}
    own = {"result": [*regions, whole], "completed_by": 1, "project": 3, "was_cancelled": False}
    return {"id": number, "created_at": "2026-11-30T01:02:03Z", **own, **other}


def event(action, number, task, **other):
    data = {"text": TEXT, "name": "John Doe"}
    whole = {"id": task, "data": data, "project": 3, "meta": {}}
    return {
        "action": action,
        "annotation": annotation(number, task=task, **other),
        "task": whole,
        "project": PROJECT,
    }


def sent(client, body, path=EVENTS, status=201):
    response = client.post(path, json=body)
    assert response.status_code == status, response.text
    return response


def kept(training):
    """The mentions of each note that is kept, as `convert` reads them."""
    *_, layer = json.loads((training.folder / "project.json").read_text("utf-8"))
    notes, _ = read(training.notes, layers=(layer,) if layer else ())
    return {note.id: shown(note) for note in notes}


def test_annotations_of_label_studio_are_kept_changed_and_dropped(client, training):
    sent(client, event("ANNOTATION_CREATED", 11, 1))
    sent(client, event("ANNOTATION_CREATED", 12, 2))
    assert kept(training) == {"task-1": MENTIONS, "task-2": MENTIONS}
    stored = (training.notes / "task-1.json").read_text("utf-8")
    assert "fever" in stored
    assert not [other for other in ("John Doe", "choices") if other in stored]
    sent(client, event("ANNOTATION_UPDATED", 11, 1, places=PLACES[:1]))
    assert kept(training) == {"task-1": MENTIONS[:1], "task-2": MENTIONS}
    sent(client, event("ANNOTATION_CREATED", 13, 1, completed_by=2))
    task = json.loads((training.notes / "task-1.json").read_text("utf-8"))
    assert [one["id"] for one in task["annotations"]] == [11, 13]
    gone = {"action": "ANNOTATIONS_DELETED", "annotations": [{"id": 13}, {"id": 12}]}
    sent(client, {**gone, "project": PROJECT})
    assert kept(training) == {"task-1": MENTIONS[:1]}
    both = {
        "action": "ANNOTATIONS_CREATED",
        "annotation": [annotation(14, task=4), annotation(15, task=5)],
        "task": [{"id": i, "data": {"text": f"{TEXT} {i}"}} for i in (4, 5)],
    }
    sent(client, {**both, "project": PROJECT})
    assert set(kept(training)) == {"task-1", "task-4", "task-5"}
    gone = {"action": "TASKS_DELETED", "tasks": [{"id": 5}, {"id": 9}], "project": PROJECT}
    sent(client, gone)
    assert set(kept(training)) == {"task-1", "task-4"}


def test_other_events_are_ignored_and_bad_ones_refused(client, training):
    for action in ("PROJECT_UPDATED", "TASKS_CREATED", "LABEL_LINK_CREATED"):
        response = sent(client, {"action": action, "tasks": [{"data": {}}]}, status=200)
        assert response.json() == {"status": "ignored"}
    bad = event("ANNOTATION_CREATED", 11, 1)
    bad["task"]["data"] = {"note": TEXT}
    response = sent(client, bad, status=400)
    assert response.json() == {"error": "Task 1 has no text as 'text' in its data."}
    sent(client, {"action": "ANNOTATION_CREATED", "project": PROJECT}, status=400)
    assert not list(training.notes.iterdir())


def test_a_training_is_started_once_and_its_pipeline_taken(client, training, trained_path, logged):
    start = {"action": "START_TRAINING", "project": PROJECT}
    assert "nothing to train on" in sent(client, start, status=409).text
    sent(client, event("ANNOTATION_CREATED", 11, 1))
    sent(client, start)
    (process,) = STARTED
    nlp = training.model.current.nlp
    fit = ["-m", "spacy", "btl", "fit", str(training.folder / "training")]
    own = [str(training.folder / "fit"), "--name", nlp.meta["name"], "--lang", "en", "--seed=3"]
    assert process.command == [sys.executable, *fit, *own]
    assert "A training is running" in sent(client, start, status=429).text
    sent(client, event("ANNOTATION_CREATED", 12, 2))  # is kept meanwhile, and not read
    assert not (training.folder / "training" / "task-2.json").exists()
    before = training.model.current.system
    shutil.copytree(trained_path, training.pipeline)
    process.end(0)
    wait_for(lambda: not training.running)
    after = training.model.current.system
    assert after != before
    assert f"Trained: {after} answers from now on." in logged()
    assert client.get("/label-studio/health").json()["version"] == after
    sent(client, start)
    log = training.folder / "training.log"
    log.write_text(f"convert\n✘ 1 of 1 notes have a mention.\n{TEXT}\n", "utf-8")
    STARTED[1].end(1)
    wait_for(lambda: not training.running)
    assert f"The training failed: 1 of 1 notes have a mention. See {log}." in logged()
    assert training.model.current.system == after


def wait_for(condition):
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_versions_that_send_all_tasks_replace_what_is_kept(client, training):
    sent(client, event("ANNOTATION_CREATED", 11, 1))
    tasks = [
        {
            "id": i,
            "data": {"text": TEXT + i * "."},
            "annotations": [annotation(i)],
            "file_upload": "",
        }
        for i in (2, 3)
    ]
    body = {"annotations": tasks, "project": "3.1700000000", "label_config": LABELS, "params": {}}
    sent(client, body, "/label-studio/train")
    assert kept(training) == {"task-2": MENTIONS, "task-3": MENTIONS}
    assert len(STARTED) == 1


def train_request(*documents, user="anna", **changes):
    types = type_system()
    body = request(documents[0], **changes)
    del body["document"], body["tagsets"]
    body["documents"] = [
        {"xmi": cas.to_xmi(), "documentId": number, "userId": user}
        for number, cas in enumerate(documents, start=1)
    ]
    return {**body, "typeSystem": types.to_xml()}


def annotated(text=TEXT, places=PLACES):
    types = type_system()
    cas = document(types, text)
    make = types.get_type(NAMED_ENTITY)
    cas.add_all([make(begin=start, end=end, value=label) for start, end, label in places])
    return cas


def test_documents_of_inception_are_kept_and_trained_on_when_enough_changed(
    client, training, logged
):
    first, second = annotated(), annotated(f"{TEXT} 2")
    sent(client, train_request(first), INCEPTION, 204)
    assert "1 document kept, 1 changed, a training at 2" in logged()
    assert not STARTED
    assert kept(training) == {"document-1": MENTIONS}
    sent(client, train_request(first, second), INCEPTION, 204)
    (process,) = STARTED
    at = process.command.index("--layer")
    assert process.command[at + 1] == f"{NAMED_ENTITY}:value"
    response = sent(client, train_request(first, annotated(f"{TEXT} 3")), INCEPTION, 429)
    assert "A training is running; 2 documents kept" in response.text
    assert (training.notes / "annotation/document-2/user-anna/document.xmi").is_file()
    process.end(1)
    wait_for(lambda: not training.running)
    sent(client, train_request(annotated(places=PLACES[:1])), INCEPTION, 204)
    assert kept(training) == {"document-1": MENTIONS[:1]}  # the second one is not sent any more
    assert len(STARTED) == 2


def test_annotators_of_inception_are_told_apart(client, training):
    training.every = 99
    sent(client, train_request(annotated()), INCEPTION, 204)
    other = train_request(annotated(places=PLACES[:1]), user="../bea \U0001f912/*")
    sent(client, other, INCEPTION, 204)
    _, report = read(training.notes, layers=(f"{NAMED_ENTITY}:value",))
    assert sorted(path.name for path in (training.notes / "annotation/document-1").iterdir()) == [
        "user-..%2Fbea %F0%9F%A4%92%2F%2A",
        "user-anna",
    ]
    assert report.notes_read == 2
    assert (
        "too long"
        in sent(client, train_request(annotated(), user="x" * 300), INCEPTION, 400).json()["error"]
    )


def test_bad_documents_are_refused_and_not_kept(client, training):
    body = train_request(annotated())
    xmi = body["documents"][0]["xmi"]
    for change, message in (
        ({"documents": [{"xmi": xmi[:-9], "documentId": 1, "userId": "a"}]}, "looks like a UIMA"),
        ({"documents": []}, "documents"),
        ({"metadata": {**body["metadata"], "feature": "begin"}}, "no feature begin"),
    ):
        response = sent(client, {**body, **change}, INCEPTION, 400)
        assert message in response.json()["error"]
        assert not list(training.notes.iterdir())


def test_a_folder_is_of_one_project(client, training):
    sent(client, event("ANNOTATION_CREATED", 11, 1))
    other = {**event("ANNOTATION_CREATED", 12, 2), "project": {**PROJECT, "id": 4}}
    response = sent(client, other, status=409)
    assert "trains for another project or layer (Label Studio, 3)" in response.text
    sent(client, train_request(annotated()), INCEPTION, 409)
    assert set(kept(training)) == {"task-1"}


def test_a_folder_is_taken_by_one_service_and_only_if_it_is_one_of_ours(training, tmp_path):
    def refused(folder, message):
        with pytest.raises(ServeError, match=message):
            Training(folder, training.model, every=1)

    refused(training.folder, "another service trains there")
    training.stop()
    Training(training.folder, training.model, every=1).stop()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    refused(tmp_path / "mine", "exists and is not of `btl serve`")
    refused(tmp_path / "mine" / "thesis.txt", "exists and is not of `btl serve`")


def test_the_end_of_the_service_ends_its_training(training):
    with TestClient(make_app(training.model, training, max_bytes=5_000_000)) as client:
        sent(client, event("ANNOTATION_CREATED", 11, 1))
        sent(client, {"action": "START_TRAINING", "project": PROJECT})
    assert STARTED[0].status == -15
    assert not training.running


def test_without_training_nothing_is_kept(training, tmp_path):
    with TestClient(make_app(training.model, max_bytes=5_000_000)) as client:
        response = sent(client, event("ANNOTATION_CREATED", 11, 1), status=200)
        assert response.json() == {"status": "ignored"}
        for path, body in (
            (EVENTS, {"action": "START_TRAINING", "project": PROJECT}),
            (INCEPTION, train_request(annotated())),
        ):
            assert "does not train. Start it with --train-to" in sent(client, body, path, 403).text
    assert not list(training.notes.iterdir())


@pytest.mark.slow
def test_a_training_on_events_gives_another_pipeline(calibrated_path, tiny_bert, tmp_path):
    given = ["--encoder", str(tiny_bert), "--max-steps", "3", "--effort", "small", "--gpu-id", "-1"]
    model = Model(str(calibrated_path))
    training = Training(tmp_path / "folder", model, every=2, options=given)
    before = model.current.system
    with TestClient(make_app(model, training, max_bytes=5_000_000)) as client:
        for number in range(32):
            text, places = SENTENCES[number % 4]
            text += number // 4 * " ."
            body = event("ANNOTATION_CREATED", number, number, places=places, text=text)
            body["task"]["data"]["text"] = text
            sent(client, body)
        sent(client, {"action": "START_TRAINING", "project": PROJECT})
        end = time.monotonic() + 600
        while training.running and time.monotonic() < end:
            time.sleep(0.2)
        assert model.current.system != before, (training.folder / "training.log").read_text()
        assert (training.folder / "fit" / "report.html").is_file()
