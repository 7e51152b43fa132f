"""FHIR resources, validated by fhir.resources, and read again."""

import json
from base64 import b64decode
from pathlib import Path
from typing import Any

import pytest
import spacy
from typer.testing import CliRunner

from spacy_btl.annotate.annotate import Options, annotate_file
from spacy_btl.cli import btl
from spacy_btl.context.assertions import Assertions
from spacy_btl.errors import BtlError
from spacy_btl.notes.entities import Annotated, Entity
from spacy_btl.notes.notes import Note
from spacy_btl.outputs.fhir_settings import Fhir, Kind, Release
from spacy_btl.outputs.formats import FORMATS, format_of
from spacy_btl.outputs.stamp import Stamp
from tests.annotate.conftest import write_notes

TEXT = "\U0001f637 No fever. Aspirin 100 mg. CRP 84 mg/l."
SYSTEM = "http://snomed.info/sct"
RESOURCES = {"Sign": Kind.CONDITION, "Drug": Kind.MEDICATION, "Lab": Kind.OBSERVATION}


def mention(text: str, label: str, confidence: float | None, *kinds: str) -> Entity:
    start = TEXT.index(text)
    said = Assertions.of(kinds)
    return Entity("n/1", start, start + len(text), text, label, confidence, said)


ENTITIES = [
    mention("fever", "Sign", 0.75, "negated"),
    mention("Aspirin", "Drug", None),
    mention("84 mg/l", "Lab", 0.5),
]


def stamp(release: Release = Release.R4, *, with_text: bool = False, **patients: str) -> Stamp:
    fhir = Fhir(release, RESOURCES, SYSTEM, {"n/1": "p-7"} | patients)
    return Stamp("en_model", "1.2.3", "2026-01-02T03:04:05", False, with_text, fhir=fhir)


def bundle(entities: list[Entity], of: Stamp) -> dict[str, Any]:
    kind = FORMATS["fhir.json"]
    assert kind.joined is not None
    part = Annotated([Note("n/1", TEXT, "line 1"), Note("n/2", "", "line 2")], entities, [])
    (data,) = dict(kind.render("000000", part, of, 0)).values()
    return dict(json.loads(kind.joined.before + data + kind.joined.behind))


def by_type(found: dict[str, Any]) -> dict[str, Any]:
    """The resources, the last of each type."""
    return {entry["resource"]["resourceType"]: entry["resource"] for entry in found["entry"]}


@pytest.mark.parametrize("release", Release)
@pytest.mark.parametrize("kinds", [(), ("negated",), ("historical", "uncertain")])
def test_a_bundle_is_valid(release: Release, kinds: tuple[str, ...]) -> None:
    pytest.importorskip("fhir.resources")
    if release == Release.R4:
        from fhir.resources.R4B.bundle import Bundle
    else:
        from fhir.resources.bundle import Bundle
    said = Assertions.of(kinds)
    entities = [entity._replace(assertions=said) for entity in ENTITIES]
    for of in (stamp(release), stamp(release, with_text=True)):
        found = Bundle.model_validate(bundle(entities, of))
        types = [entry.resource.get_resource_type() for entry in found.entry]
        assert types == ["DocumentReference", *RESOURCES.values(), "DocumentReference"]


def test_the_place_of_a_mention_is_that_of_its_text() -> None:
    found = bundle(ENTITIES, stamp(with_text=True))
    document, *resources, empty = (entry["resource"] for entry in found["entry"])
    text = b64decode(document["content"][0]["attachment"]["data"]).decode("utf-8")
    assert text == TEXT
    assert document["identifier"] == [{"value": "n/1"}]
    assert empty["content"][0]["attachment"]["data"] == ""
    for resource, entity in zip(resources, ENTITIES, strict=True):
        derived = {part["url"]: part for part in resource["extension"][0]["extension"]}
        start = derived["offset"]["valueInteger"]
        assert text[start : start + derived["length"]["valueInteger"]] == entity.text
        reference = derived["reference"]["valueReference"]["reference"]
        assert reference == f"DocumentReference/{document['id']}"
        confidences = [one["valueDecimal"] for one in resource["extension"][1:]]
        assert confidences == ([] if entity.confidence is None else [entity.confidence])
        assert resource["subject"] == {"reference": "Patient/p-7"}
    assert "reference" not in empty["subject"]
    hidden = bundle(ENTITIES, stamp())["entry"][0]["resource"]
    assert hidden["content"] == [{"attachment": {"contentType": "text/plain; charset=utf-8"}}]


@pytest.mark.parametrize("release", Release)
def test_the_code_of_a_linker_is_a_coding(release: Release) -> None:
    coded = [entity._replace(kb_id=f"4{place}") for place, entity in enumerate(ENTITIES)]
    found = bundle(coded, stamp(release))
    resources = by_type(found)
    drug = resources["MedicationStatement"]
    concepts = [
        resources["Condition"]["code"],
        drug.get("medicationCodeableConcept") or drug["medication"]["concept"],
        resources["Observation"]["valueCodeableConcept"],
    ]
    assert [(one["text"], one["coding"]) for one in concepts] == [
        (entity.text, [{"system": SYSTEM, "code": entity.kb_id}]) for entity in coded
    ]
    plain = by_type(bundle(ENTITIES, stamp(release)))
    assert plain["Observation"]["valueString"] == "84 mg/l"
    assert "coding" not in plain["Condition"]["code"]
    pytest.importorskip("fhir.resources")
    from fhir.resources.bundle import Bundle
    from fhir.resources.R4B.bundle import Bundle as R4Bundle

    (Bundle if release == Release.R5 else R4Bundle).model_validate(found)


def test_what_is_negated_is_refuted_not_taken_or_negative() -> None:
    for release in Release:
        plain, negated = (
            by_type(
                bundle(
                    [one._replace(assertions=Assertions(negated=value)) for one in ENTITIES],
                    stamp(release),
                )
            )
            for value in (False, True)
        )
        codes = [
            found["Condition"]["verificationStatus"]["coding"][0]["code"]
            for found in (plain, negated)
        ]
        assert codes == ["unconfirmed", "refuted"]
        assert "interpretation" not in plain["Observation"]
        assert negated["Observation"]["interpretation"][0]["coding"][0]["code"] == "NEG"
        assert plain["MedicationStatement"] != negated["MedicationStatement"]
    assert "adherence" in negated["MedicationStatement"]  # R5


def test_another_person_s_and_other_types_are_left_out_with_a_count(tmp_path: Path) -> None:
    nlp = spacy.blank("en")
    patterns = {"fever": "Sign", "aspirin": "Drug", "left": "Side"}
    nlp.add_pipe("entity_ruler").add_patterns(
        [{"pattern": text, "label": label} for text, label in patterns.items()]
    )
    nlp.to_disk(tmp_path / "model")
    notes = write_notes(tmp_path / "notes.jsonl", [("a", "fever left"), ("b", "aspirin left")])
    file = tmp_path / "fhir.yml"
    file.write_text("resources: {Sign: Condition, Drug: MedicationStatement}\n")
    arguments = ["annotate", str(tmp_path / "model"), str(notes), str(tmp_path / "out.fhir.json")]
    result = CliRunner().invoke(btl, [*arguments, "--fhir", str(file)])
    assert result.exit_code == 0, result.output
    assert "Left out of the output: 2 of a type without a resource" in result.output
    found = json.loads((tmp_path / "out.fhir.json").read_text("utf-8"))
    types = [entry["resource"]["resourceType"] for entry in found["entry"]]
    assert types == ["DocumentReference", "Condition", "DocumentReference", "MedicationStatement"]
    kind, of = format_of(Path("x.fhir")), stamp()
    other = mention("fever", "Sign", None, "other")
    assert kind.left_out(other, of) == "of another person"
    assert kind.left_out(mention("fever", "Sign", None, "hypothetical"), of) == "hypothetical"
    assert [entry["resource"]["resourceType"] for entry in bundle([other], of)["entry"]] == [
        "DocumentReference"
    ] * 2


def test_bulk_data_has_a_file_for_each_type_and_ids_that_stay(tmp_path: Path) -> None:
    nlp = spacy.blank("en")
    nlp.add_pipe("entity_ruler").add_patterns([{"pattern": "fever", "label": "Sign"}])
    nlp.to_disk(tmp_path / "model")
    notes = write_notes(tmp_path / "notes.jsonl", [(n, "fever , fever") for n in range(3)])
    file = tmp_path / "fhir.yml"
    file.write_text("release: R5\nresources: {Sign: Observation}\n")
    options = Options(part_size=2, fhir=file)
    runs = []
    for name in ("one.fhir", "two.fhir"):
        annotate_file(str(tmp_path / "model"), notes, tmp_path / name, options)
        files = sorted((tmp_path / name).iterdir())
        assert [path.name for path in files] == [
            f"{kind}.{part:06}.ndjson"
            for kind in ("DocumentReference", "Observation")
            for part in range(2)
        ]
        lines = [line for path in files for line in path.read_text("utf-8").splitlines()]
        runs.append([json.loads(line)["id"] for line in lines])
    assert runs[0] == runs[1]
    assert len(set(runs[0])) == 3 + 6


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "give --fhir a YAML file"),
        ("resources: {Sign: Patient}", "resources.Sign: Input should be 'Condition'"),
        ("types: {Sign: Condition}", "resources: Field required"),
        ("release: R3\nresources: {}", "release: Input should be 'R4' or 'R5'"),
    ],
)
def test_a_file_that_says_something_else_is_refused(
    content: str | None, message: str, tmp_path: Path
) -> None:
    file = None
    if content is not None:
        file = tmp_path / "fhir.yml"
        file.write_text(content)
    notes = write_notes(tmp_path / "notes.jsonl", [(1, "secret")])
    with pytest.raises(BtlError, match=message):
        annotate_file("no_model", notes, tmp_path / "out.fhir.json", Options(fhir=file))
    if file is not None:
        with pytest.raises(BtlError, match=r"--fhir is for fhir\.json and \.fhir"):
            annotate_file("no_model", notes, tmp_path / "out.jsonl", Options(fhir=file))
