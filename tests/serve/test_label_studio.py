"""Label Studio's requests, held against the pipeline itself and against Label Studio's own kit."""

import pytest
import spacy

from spacy_btl.notes.entities import mentions_of
from spacy_btl.serve.app import make_app
from spacy_btl.serve.model import Model
from tests.conftest import SENTENCES
from tests.serve.conftest import CONFIG, MAX_BYTES, TestClient, tasks

TEXTS = ["\U0001f912 " + SENTENCES[0][0], SENTENCES[3][0], ""]
PREDICT = "/label-studio/predict"


def places(result):
    """(start, end, label, score) of the regions of a prediction."""
    return [
        (region["value"]["start"], region["value"]["end"], *region["value"]["labels"], score)
        for region in result["result"]
        for score in (region["score"],)
    ]


def expected(nlp, text, labels=("Sign", "Severity")):
    return [
        (ent.start_char, ent.end_char, ent.label_, pytest.approx(ent._.confidence, abs=1e-5))
        for ent in nlp(text).ents
        if ent.label_ in labels
    ]


def test_each_task_has_the_mentions_of_the_pipeline_with_their_confidence(client, nlp):
    response = client.post(PREDICT, json=tasks(*TEXTS))
    assert response.status_code == 200
    results = response.json()["results"]
    assert [places(result) for result in results] == [expected(nlp, text) for text in TEXTS]
    assert places(results[0])
    for result, text in zip(results, TEXTS, strict=True):
        assert result["model_version"].startswith(f"en_{nlp.meta['name']} {nlp.meta['version']}-")
        scores = [score for *_, score in places(result)]
        assert result.get("score") == (
            pytest.approx(sum(scores) / len(scores), abs=1e-5) if scores else None
        )
        for region in result["result"]:
            assert (region["from_name"], region["to_name"]) == ("label", "text")
            value = region["value"]
            assert text[value["start"] : value["end"]] == value["text"]


def test_the_version_is_that_of_setup_and_changes_with_the_network(client, trained_path, model):
    version = client.post("/label-studio/setup", json={"schema": CONFIG}).json()["model_version"]
    (result,) = client.post(PREDICT, json=tasks(TEXTS[0])).json()["results"]
    assert result["model_version"] == version
    other = Model(str(trained_path)).current
    assert other.name == model.current.name
    assert other.system != version


def test_the_configuration_decides_which_types_are_shown_and_how(client, nlp, logged):
    config = """
        <View>
          <Text name="other" value="$other"/>
          <HyperText name="page" value="$page"/>
          <Labels name="tests" toName="note,page">
            <Label value="Laboratory" alias="lab" predicted_values="Test, Value"/>
          </Labels>
          <Labels name="signs" toName="note"><Label value="sign"/></Labels>
          <Labels name="words" toName="page"><Label value="Severity"/></Labels>
          <Text name="note" value="$note"/>
        </View>
    """
    text = f"{SENTENCES[1][0]} . {SENTENCES[0][0]}"
    (result,) = client.post(PREDICT, json=tasks(text, config=config, key="note")).json()["results"]
    found = {
        (region["from_name"], region["to_name"], *region["value"]["labels"])
        for region in result["result"]
    }
    assert found == {("tests", "note", "lab"), ("signs", "note", "sign")}
    assert len({region["id"] for region in result["result"]}) == len(result["result"])
    severe = sum(ent.label_ == "Severity" for ent in nlp(text).ents)
    assert severe
    assert f"left out since the tool has no such label: Severity {severe}" in logged()


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("<View/>", "has no <Labels> with a <Label> for a plain <Text>"),
        (CONFIG.replace("$text", "text"), "has no <Labels>"),
        (CONFIG.replace('value="$text"', 'value="$text" valueType="url"'), "has no <Labels>"),
        (CONFIG.replace("<Text ", "<HyperText "), "has no <Labels>"),
        (CONFIG.replace('<Label value="Sign"/><Label value="Severity"/>', ""), "has no <Labels>"),
        ("<View>\n<Labels", "is broken XML in line 2"),
        ('<!DOCTYPE a [<!ENTITY a "b">]><View/>', "XML with entities of its own is not read"),
    ],
)
def test_a_configuration_without_a_place_for_mentions_is_refused(client, config, message):
    for path, body in (
        ("/label-studio/setup", {"schema": config, "project": "1.2", "access_token": "x"}),
        (PREDICT, tasks(*TEXTS, config=config)),
    ):
        response = client.post(path, json=body)
        assert response.status_code == 400
        assert message in response.json()["error"]


def test_a_task_without_a_text_has_an_error_in_its_place(client, nlp, logged):
    response = client.post(PREDICT, json=tasks(TEXTS[0], None, TEXTS[1], 7))
    first, second, third, fourth = response.json()["results"]
    assert [places(first), places(third)] == [expected(nlp, text) for text in TEXTS[:2]]
    assert second == fourth == {"error": "no text as 'text' in its data"}
    assert "4 tasks" in logged()
    assert "without a prediction: 2 tasks" in logged()
    response = client.post(PREDICT, json=tasks(None))
    assert response.status_code == 400
    assert "no text as 'text'" in response.json()["error"]
    assert client.post(PREDICT, json=tasks()).json() == {"results": []}


def test_mentions_that_overlap_are_regions_of_their_own(overlapping_path, tiny_bert):
    from tests.pipeline.test_overlapping import NOTES

    nlp = spacy.load(overlapping_path)
    texts = [note[0] for note in NOTES]
    labels = {label for text in texts for label in nlp.get_pipe("ner").labels}
    config = CONFIG.replace(
        '<Label value="Sign"/>', "".join(f'<Label value="{label}"/>' for label in sorted(labels))
    )
    with TestClient(make_app(Model(str(overlapping_path)), max_bytes=MAX_BYTES)) as client:
        results = client.post(PREDICT, json=tasks(*texts, config=config)).json()["results"]
    for result, text in zip(results, texts, strict=True):
        mentions = mentions_of(nlp(text), ["btl"])
        assert {place[:3] for place in places(result)} == {
            (span.start_char, span.end_char, span.label_) for span in mentions
        }
    crossing = [
        (one, other)
        for result in results
        for one in places(result)
        for other in places(result)
        if one[0] <= other[0] < one[1] and one[:3] != other[:3]
    ]
    assert crossing


def test_what_the_kit_asks_is_answered_with_what_the_kit_takes(client):
    kit = pytest.importorskip("label_studio_sdk.label_interface", reason="needs label-studio-sdk")
    interface = kit.LabelInterface(CONFIG)
    sample = interface.generate_sample_task()
    body = {**tasks(TEXTS[0], sample["text"]), "label_config": CONFIG}
    body["tasks"][1]["data"] = sample
    results = client.post(PREDICT, json=body).json()["results"]
    assert results[0]["result"]
    for result in results:
        assert interface.validate_prediction(result, return_errors=True) == []
