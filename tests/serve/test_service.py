"""What both protocols share: limits, errors, the log, one request at a time. No note is kept."""

import json
import threading
import time

import pytest
import spacy

import tests.annotate.conftest  # noqa: F401  (registers the pipe that fails)
from spacy_btl.serve.app import make_app
from spacy_btl.serve.model import Model
from tests.annotate.conftest import POISON
from tests.conftest import SENTENCES
from tests.serve.conftest import CONFIG, MAX_BYTES, TestClient, tasks
from tests.serve.test_inception import document, request, type_system

MARKER = "zyxwvut"
TEXT = f"{MARKER} had severe fever and {MARKER}son cough"
INCEPTION, LABEL_STUDIO = "/inception/predict", "/label-studio/predict"
EVENTS = "/label-studio/webhook"
JSON = {"Content-Type": "application/json"}


@pytest.fixture
def poisoned_path(calibrated_path, tmp_path):
    """A pipeline with a pipe that fails on some notes, with a message that quotes them."""
    nlp = spacy.load(calibrated_path)
    nlp.add_pipe("poison", last=True)
    nlp.to_disk(tmp_path / "poisoned")
    return tmp_path / "poisoned"


def test_health_and_setup_name_the_version(client, model):
    for path in ("/label-studio/health", "/label-studio/"):
        assert client.get(path).json() == {
            "status": "UP",
            "model_class": "spacy-btl",
            "version": model.current.system,
        }


def test_no_note_is_logged_or_kept_when_all_is_well(client, model, logged):
    body = request(document(type_system(), TEXT))
    for path, sent in ((INCEPTION, body), (LABEL_STUDIO, tasks(TEXT, TEXT))):
        response = client.post(path, json=sent)
        assert response.status_code == 200
        assert "Sign" in response.text
        assert f"{path} 200 in" in logged()
    assert MARKER not in logged()
    strings = model.current.nlp.vocab.strings
    assert not [word for word in strings if MARKER in word]


BODIES = {
    "text": (400, TEXT),
    "broken JSON": (400, '{"tasks": "' + TEXT),
    "a list": (400, f'["{TEXT}"]'),
    "other keys": (400, f'{{"{TEXT}": 1}}'),
    "text for all": (400, f'{{"tasks": "{TEXT}", "metadata": "{TEXT}", "action": ["{TEXT}"]}}'),
    "half a character": (400, f'{{"tasks": "\\ud83e {TEXT}", "document": "\\ud83e {TEXT}"}}'),
    "deep": (400, "[" * 90_000 + TEXT),
    "not UTF-8": (400, TEXT.encode() + b"\xff"),
    "text as a task": (400, f'{{"tasks": ["{TEXT}"], "label_config": "<{TEXT}"}}'),
    "a broken configuration": (400, f'{{"tasks": [], "label_config": "<{TEXT}"}}'),
    "over the limit": (413, f'"{TEXT * 10_000}"'),
    "a broken document": (
        400,
        json.dumps(
            {
                "metadata": {"layer": "a", "feature": "b", "projectId": 1},
                "typeSystem": "<a/>",
                "document": {"xmi": f"<{TEXT}", "documentId": 1, "userId": TEXT},
            }
        ),
    ),
}


@pytest.mark.parametrize("name", BODIES)
@pytest.mark.parametrize("path", [INCEPTION, LABEL_STUDIO, EVENTS, "/label-studio/setup"])
def test_bad_requests_are_refused_without_their_text(client, logged, path, name):
    status, body = BODIES[name]
    response = client.post(path, content=body, headers=JSON)
    assert response.status_code == status
    assert response.json()["error"]
    assert MARKER not in response.text
    assert MARKER not in logged()
    assert f"{path} {status} in" in logged()
    assert client.get("/label-studio/health").status_code == 200


def test_other_kinds_of_body_are_refused(client):
    """A page in a browser can send them from another site."""
    for kind in ("text/plain", "application/x-www-form-urlencoded", ""):
        response = client.post(EVENTS, content="{}", headers={"Content-Type": kind})
        assert response.status_code == 415


ROUTES = (
    "/inception (INCEpTION) and /label-studio (Label Studio), and ask POST /inception/predict, "
    "POST /inception/train, GET /label-studio/health, GET /label-studio/, "
    "POST /label-studio/setup, POST /label-studio/predict, POST /label-studio/webhook, "
    "POST /label-studio/train."
)


def test_another_address_says_what_is_wrong_and_which_routes_there_are(client, logged):
    unknown, refused = "Nothing is at this address", "GET is not answered at /inception/predict"
    for method, path, status, wrong, said in (
        ("POST", f"/predict?text={MARKER}", 404, unknown, "an unknown address"),
        ("GET", f"/inception/{MARKER}", 404, unknown, "an unknown address"),
        ("GET", "/inception", 404, unknown, "an unknown address"),
        ("GET", f"{INCEPTION}?text={MARKER}", 405, refused, INCEPTION),
        ("POST", "/label-studio/health", 405, "POST is not answered at", "/label-studio/health"),
    ):
        response = client.request(method, path)
        assert response.status_code == status
        error = response.json()["error"]
        assert error.startswith(wrong)
        assert error.endswith(ROUTES)
        assert ("allow" in response.headers) == (status == 405)
        assert f"{method} of {said}: {status}" in logged()
    lines = [line for line in logged().splitlines() if "HTTP Request" not in line]  # of the client
    assert not [line for line in lines if MARKER in line]


def test_a_site_that_poses_as_this_machine_is_refused_and_logged(model, logged):
    app = make_app(model, max_bytes=MAX_BYTES, hosts=("127.0.0.1", "localhost"))
    with TestClient(app) as client:
        for host in ("127.0.0.1:9090", "localhost"):
            headers = {"Host": host}
            assert client.get("/label-studio/health", headers=headers).status_code == 200
        assert "refused" not in logged()
        for host in (f"{MARKER}.example:9090", "", "127.0.0.1.example", "@127.0.0.1", "a b"):
            answer = client.post(LABEL_STUDIO, json=tasks(TEXT), headers={"Host": host})
            assert answer.status_code == 400
            assert "addressed to 127.0.0.1 or localhost" in answer.json()["error"]
    assert logged().count("POST refused: 400: its Host header is not 127.0.0.1 or localhost") == 5
    assert MARKER not in logged()


def test_a_pipeline_without_a_calibrator_suggests_without_scores(trained_path):
    with TestClient(make_app(Model(str(trained_path)), max_bytes=MAX_BYTES)) as client:
        (result,) = client.post(LABEL_STUDIO, json=tasks(SENTENCES[0][0])).json()["results"]
        assert result["result"]
        assert not [one for one in (result, *result["result"]) if "score" in one]
        answer = client.post(INCEPTION, json=request(document(type_system()))).json()["document"]
        assert 'inception_internal_predicted="true"' in answer
        assert "value_score" not in answer


def test_a_note_that_fails_costs_no_other_note(poisoned_path, logged):
    bad = f"{TEXT} {POISON}"
    with TestClient(make_app(Model(str(poisoned_path)), max_bytes=MAX_BYTES)) as client:
        response = client.post(LABEL_STUDIO, json=tasks(SENTENCES[0][0], bad, SENTENCES[1][0]))
        first, second, third = response.json()["results"]
        assert second == {"error": "ValueError"}
        assert first["result"]
        assert "result" in third
        types = type_system()
        response = client.post(INCEPTION, json=request(document(types, bad)))
        assert response.status_code == 422
        assert response.json() == {"error": "The document cannot be annotated: ValueError."}
        all_bad = client.post(LABEL_STUDIO, json=tasks(*[bad] * 40)).json()["results"]
        assert all_bad == [{"error": "ValueError"}] * 40
        assert client.post(INCEPTION, json=request(document(types))).status_code == 200
    assert MARKER not in logged()


def test_a_failure_of_the_service_names_its_place_alone(client, model, logged, monkeypatch):
    def fail(texts):
        raise RuntimeError(f"cannot read {texts}")

    monkeypatch.setattr(model, "predict", fail)
    for path, body in (
        (LABEL_STUDIO, tasks(TEXT)),
        (INCEPTION, request(document(type_system(), TEXT))),
    ):
        response = client.post(path, json=body)
        assert response.status_code == 500
        assert "The service failed: RuntimeError in test_service.py, line" in response.text
        assert MARKER not in response.text + logged()


def test_requests_are_answered_one_at_a_time_and_health_does_not_wait(
    client, model, nlp, monkeypatch
):
    """spaCy's vocabulary is written while a note is read."""
    running, most, begun, go_on = [], [], threading.Event(), threading.Event()
    plain = model.predict

    def predict(texts):
        running.append(texts)
        most.append(len(running))
        begun.set()
        assert go_on.wait(30)
        found = plain(texts)
        running.pop()
        return found

    monkeypatch.setattr(model, "predict", predict)
    answers = {}

    def ask(number):
        text, _ = SENTENCES[number]
        answers[number] = client.post(LABEL_STUDIO, json=tasks(text)).json()["results"][0]

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    assert begun.wait(60)
    assert client.get("/label-studio/health").status_code == 200
    assert client.post("/label-studio/setup", json={"schema": CONFIG}).status_code == 200
    time.sleep(0.2)  # for the others to begin, if they could
    go_on.set()
    for thread in threads:
        thread.join()
    assert most == [1, 1, 1, 1]
    for number, (text, _) in enumerate(SENTENCES):
        found = [region["value"]["text"] for region in answers[number]["result"]]
        assert found == [ent.text for ent in nlp(text).ents if ent.label_ in ("Sign", "Severity")]
