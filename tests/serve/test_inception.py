"""INCEpTION's requests for suggestions, as dkpro-cassis writes them."""

import pytest

from spacy_btl.inception.layers import NAMED_ENTITY
from spacy_btl.serve.app import make_app
from spacy_btl.serve.model import Model
from spacy_btl.training.calibrate import calibrate
from tests.conftest import SENTENCES
from tests.serve.conftest import MAX_BYTES, TestClient

cassis = pytest.importorskip("cassis", reason="needs the extra: spacy-btl[serve]")

TEXT = "\U0001f912 " + SENTENCES[0][0]
PREDICT = "/inception/predict"
TOKEN = "de.tudarmstadt.ukp.dkpro.core.api.segmentation.type.Token"
FEATURES = {
    "value_score": "Double",
    "value_score_explanation": "String",
    "inception_internal_predicted": "Boolean",
}


def type_system(features=FEATURES):
    """The types of a project, with the features that INCEpTION adds for suggestions."""
    types = cassis.load_dkpro_core_typesystem()
    for name, kind in features.items():
        types.create_feature(types.get_type(NAMED_ENTITY), name, f"uima.cas.{kind}")
    return types


def document(types, text=TEXT, tokens=()):
    cas = cassis.Cas(typesystem=types)
    cas.sofa_string, cas.sofa_mime = text, "text/plain"
    make = types.get_type(TOKEN)
    cas.add_all([make(begin=start, end=end) for start, end in tokens])
    return cas


def request(cas, **changes):
    """A request, as version 41 sends it."""
    metadata = {
        "layer": NAMED_ENTITY,
        "feature": "value",
        "projectId": 7,
        "anchoringMode": "characters",
        "crossSentence": False,
        "range": {"begin": 0, "end": 20},
    }
    return {
        "metadata": {**metadata, **changes.pop("metadata", {})},
        "document": {"xmi": cas.to_xmi(), "documentId": 42, "userId": "anna"},
        "typeSystem": cas.typesystem.to_xml(),
        "tagsets": [],
        **changes,
    }


def annotations(response, types):
    assert response.status_code == 200, response.text
    cas = cassis.load_cas_from_xmi(response.json()["document"], typesystem=types)
    return cas.select(NAMED_ENTITY)


def entities(nlp, text=TEXT):
    return [(ent.start_char, ent.end_char, ent.label_) for ent in nlp(text).ents]


def test_the_document_comes_back_with_suggestions_beside_what_was_there(client, nlp):
    types = type_system()
    cas = document(types)
    kind = types.get_type(NAMED_ENTITY)
    cas.add(kind(begin=2, end=5, value="Mine", inception_internal_predicted=False))
    cas.add(kind(begin=6, end=13, value="Earlier", inception_internal_predicted=True))
    found = annotations(client.post(PREDICT, json=request(cas)), types)
    theirs = [one for one in found if not one.inception_internal_predicted]
    ours = [one for one in found if one.inception_internal_predicted]
    assert [(one.begin, one.end, one.value) for one in theirs] == [(2, 5, "Mine")]
    assert [(one.begin, one.end, one.value) for one in ours] == entities(nlp)
    for one, ent in zip(ours, nlp(TEXT).ents, strict=True):
        assert one.get_covered_text() == ent.text
        assert one.value_score == pytest.approx(ent._.confidence, abs=1e-5)
        assert one.value_score_explanation.endswith("confidence is not calibrated")


def test_offsets_are_in_utf16_units(client):
    types = type_system()
    xmi = client.post(PREDICT, json=request(document(types))).json()["document"]
    start = TEXT.index("fever")
    assert f'begin="{start + 1}" end="{start + 6}"' in xmi


def test_a_calibrated_confidence_is_explained(
    trained_path, corpus_path, held_out_path, tmp_path, nlp
):
    output = tmp_path / "model"
    settings = {"n_neighbors": 3}
    calibrate(str(trained_path), corpus_path, output, settings=settings, held_out=held_out_path)
    types = type_system()
    with TestClient(make_app(Model(str(output)), max_bytes=MAX_BYTES)) as client:
        found = annotations(client.post(PREDICT, json=request(document(types))), types)
    assert found
    for one in found:
        share = f"of 100 such suggestions about {100 * one.value_score:.0f} are correct"
        assert one.value_score_explanation.endswith(share)


def test_features_that_the_layer_does_not_have_are_left_out(client, nlp):
    types = type_system({"inception_internal_predicted": "Boolean"})
    found = annotations(client.post(PREDICT, json=request(document(types))), types)
    assert [(one.begin, one.end, one.value) for one in found] == entities(nlp)


def test_the_tag_set_decides_which_types_are_suggested(client, nlp, logged):
    types = type_system()
    own = {"type": NAMED_ENTITY, "feature": "value"}
    other = {"type": NAMED_ENTITY, "feature": "identifier"}
    sets = [
        {"description": None, "tags": [{"name": "SIGN", "description": "x"}], "targets": [own]},
        {"description": None, "tags": [{"name": "Severity"}], "targets": [other]},
    ]
    body = request(document(types), tagsets=sets)
    found = annotations(client.post(PREDICT, json=body), types)
    signs = [(*place, "SIGN") for *place, label in entities(nlp) if label == "Sign"]
    assert [(one.begin, one.end, one.value) for one in found] == signs
    left = sum(label != "Sign" for *_, label in entities(nlp))
    assert f"{len(signs)} suggestions" in logged()
    assert f"no such label: Severity {left}" in logged()
    body["tagsets"] = None
    found = annotations(client.post(PREDICT, json=body), types)
    assert len(found) == len(entities(nlp))


def test_suggestions_in_a_layer_of_tokens_cover_whole_tokens(client, nlp):
    types = type_system()
    start, end = TEXT.index("severe"), TEXT.index("fever") + 2
    tokens = [(start, end), (end, end + 3), (TEXT.index("cough") - 1, len(TEXT))]
    cas = document(types, tokens=tokens)
    body = request(cas, metadata={"anchoringMode": "tokens"})
    found = annotations(client.post(PREDICT, json=body), types)
    moved = {(one.begin, one.end, one.value) for one in found}
    assert entities(nlp)[0][2:] == ("Severity",)
    assert moved == {
        (start, end, "Severity"),
        (start, end + 3, "Sign"),
        (*tokens[-1], "Sign"),
    }


@pytest.mark.parametrize("text", ["", " \n "])
def test_an_empty_document_comes_back(client, text):
    types = type_system()
    assert annotations(client.post(PREDICT, json=request(document(types, text))), types) == []


def test_a_request_that_cannot_be_used_is_refused_in_a_line(client):
    types = type_system()
    cas = document(types)
    good = request(cas)
    plain = document(type_system({}))
    xmi = good["document"]["xmi"]

    def of(xmi):
        return {**good, "document": {**good["document"], "xmi": xmi}}

    outside = xmi.replace("<cas:View", '<type:NamedEntity xmi:id="999" sofa="1" begin="4" ', 1)
    for body, message in (
        (request(plain), "has no feature inception_internal_predicted"),
        (request(cas, metadata={"layer": "custom.Span"}), "has no layer custom.Span"),
        (request(cas, metadata={"feature": "kind"}), "has no feature kind that holds a string"),
        (request(cas, metadata={"feature": "begin"}), "has no feature begin that holds a string"),
        (of(xmi[:-20]), "document 42: looks like a UIMA CAS as XMI, but line"),
        (of("note"), "document 42: looks like a UIMA CAS as XMI, but line 1 is broken"),
        (of(outside), "document 42: looks like a UIMA CAS as XMI, but line"),
        (of('<!DOCTYPE a [<!ENTITY b "c">]>' + xmi), "XML with entities of its own"),
        ({**good, "typeSystem": "<a>"}, "document 42: looks like a UIMA CAS"),
        ({**good, "document": {"xmi": xmi}}, "document.documentId: Field required"),
        ({**good, "metadata": "x"}, "metadata: Input should be"),
    ):
        response = client.post(PREDICT, json=body)
        assert response.status_code == 400, response.text
        assert message in response.json()["error"]
