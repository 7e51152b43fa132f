"""Write entities as FHIR resources, R4 or R5, each with its place in the note.

A note is a `DocumentReference`. An entity is the resource that the user's file gives for its type,
with HL7's extension derivation-reference (FHIR Extensions Pack): the document, and the offset and
length of the mention in characters. No one has confirmed what a pipeline finds, and the resources
say so: conditions are unconfirmed, observations preliminary.
"""

import json
from base64 import b64encode
from collections.abc import Iterator
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from spacy_btl.about import __version__
from spacy_btl.context.assertions import PATIENT, Assertions
from spacy_btl.notes.entities import Annotated, Entity
from spacy_btl.notes.notes import Note
from spacy_btl.outputs.fhir_settings import Fhir, Kind, Release
from spacy_btl.outputs.stamp import Stamp, entities_by_note

Resource = dict[str, Any]

DERIVED = "http://hl7.org/fhir/StructureDefinition/derivation-reference"
ABSENT = "http://hl7.org/fhir/StructureDefinition/data-absent-reason"
CONFIDENCE = "urn:spacy-btl:confidence"
VERIFICATION = "http://terminology.hl7.org/CodeSystem/condition-ver-status"
CLINICAL = "http://terminology.hl7.org/CodeSystem/condition-clinical"
INTERPRETATION = "http://terminology.hl7.org/CodeSystem/v3-ObservationInterpretation"
ADHERENCE = "http://hl7.org/fhir/CodeSystem/medication-statement-adherence"


def fhir_entries(name: str, part: Annotated, stamp: Stamp, first_row: int) -> Iterator[Any]:
    """Yield the entries of a Bundle, with commas between them."""
    entries = [
        {"fullUrl": f"urn:uuid:{resource['id']}", "resource": resource}
        for resource in _resources(part, stamp)
    ]
    lines = (json.dumps(entry, ensure_ascii=False) for entry in entries)
    yield f"{name}.json", ",\n".join(lines).encode("utf-8")


def fhir_lines(name: str, part: Annotated, stamp: Stamp, first_row: int) -> Iterator[Any]:
    """Yield a file of lines for each kind of resource, as FHIR's bulk data has them."""
    lines: dict[str, list[str]] = {}
    for resource in _resources(part, stamp):
        line = json.dumps(resource, ensure_ascii=False) + "\n"
        lines.setdefault(resource["resourceType"], []).append(line)
    for kind, of_kind in lines.items():
        yield f"{kind}.{name}.ndjson", "".join(of_kind).encode("utf-8")


def not_in_fhir(entity: Entity, stamp: Stamp) -> str:
    """Why an entity is no resource of the patient's record; empty if it is one."""
    said = entity.assertions or Assertions()
    if entity.label not in _settings(stamp).resources:
        return "of a type without a resource"
    if said.experiencer != PATIENT:
        return "of another person"
    return "hypothetical" if said.hypothetical else ""


def _settings(stamp: Stamp) -> Fhir:
    assert stamp.fhir is not None  # checked when the job begins
    return stamp.fhir


def _resources(part: Annotated, stamp: Stamp) -> Iterator[Resource]:
    for note, entities in entities_by_note(part):
        document = _document(note, stamp)
        yield document
        for entity in entities:
            if not not_in_fhir(entity, stamp):
                yield _resource(entity, document, stamp)


def _document(note: Note, stamp: Stamp) -> Resource:
    attachment = {"contentType": "text/plain; charset=utf-8"}
    if stamp.with_text:
        attachment["data"] = b64encode(str(note.text).encode("utf-8")).decode("ascii")
    patient = _settings(stamp).patients.get(str(note.id))
    unknown = {"extension": [{"url": ABSENT, "valueCode": "unknown"}]}
    return {
        "resourceType": "DocumentReference",
        "id": _id(note.id),
        "identifier": [{"value": str(note.id)}],
        "status": "current",
        "subject": unknown if patient is None else {"reference": f"Patient/{patient}"},
        "content": [{"attachment": attachment}],
    }


def _resource(entity: Entity, document: Resource, stamp: Stamp) -> Resource:
    settings = _settings(stamp)
    kind = settings.resources[entity.label]
    said = entity.assertions or Assertions()
    content = CONTENT[kind](entity, said, settings)
    place: dict[str, Resource] = {
        "reference": {"valueReference": {"reference": f"DocumentReference/{document['id']}"}},
        "offset": {"valueInteger": entity.start},
        "length": {"valueInteger": entity.end - entity.start},
    }
    extension: list[Resource] = [
        {"url": DERIVED, "extension": [{"url": url, **value} for url, value in place.items()]}
    ]
    if entity.confidence is not None:
        extension.append({"url": CONFIDENCE, "valueDecimal": entity.confidence})
    return {
        "resourceType": str(kind),
        "id": _id(entity.note_id, entity.start, entity.end, entity.label),
        "meta": {"tag": [{"display": f"{stamp.system}, spacy-btl {__version__}"}]},
        "extension": extension,
        **content,
        "subject": document["subject"],
        DATED[kind]: f"{stamp.date}Z",
    }


def _id(*parts: str | int) -> str:
    """The same for the same mention of the same note, in every run."""
    return str(uuid5(NAMESPACE_URL, json.dumps(parts)))


def _concept(entity: Entity, settings: Fhir) -> Resource:
    """The words of the note, and the code that a linker found for them."""
    if settings.system is None or entity.kb_id is None:
        return {"text": entity.text}
    return {**_coded(settings.system, entity.kb_id), "text": entity.text}


def _condition(entity: Entity, said: Assertions, settings: Fhir) -> Resource:
    # R5 asks for a clinical status, and R4 has no code for an unknown one.
    status = (
        "inactive" if said.historical else "unknown" if settings.release == Release.R5 else None
    )
    clinical = {} if status is None else {"clinicalStatus": _coded(CLINICAL, status)}
    return {
        **clinical,
        "verificationStatus": _coded(VERIFICATION, "refuted" if said.negated else "unconfirmed"),
        "category": [{"text": entity.label}],
        "code": _concept(entity, settings),
    }


def _medication(entity: Entity, said: Assertions, settings: Fhir) -> Resource:
    concept = _concept(entity, settings)
    if settings.release == Release.R4:
        status = "not-taken" if said.negated else "unknown"
        return {"status": status, "medicationCodeableConcept": concept}
    not_taken = {"adherence": {"code": _coded(ADHERENCE, "not-taking")}} if said.negated else {}
    return {"status": "recorded", "medication": {"concept": concept}, **not_taken}


def _observation(entity: Entity, said: Assertions, settings: Fhir) -> Resource:
    negative = {"interpretation": [_coded(INTERPRETATION, "NEG")]} if said.negated else {}
    concept = _concept(entity, settings)
    coded = {"valueCodeableConcept": concept} if "coding" in concept else None
    return {
        "status": "preliminary",
        "code": {"text": entity.label},
        **(coded or {"valueString": entity.text}),
        **negative,
    }


def _coded(system: str, code: str) -> Resource:
    return {"coding": [{"system": system, "code": code}]}


CONTENT = {
    Kind.CONDITION: _condition,
    Kind.MEDICATION: _medication,
    Kind.OBSERVATION: _observation,
}
# Where each has the date of the statement.
DATED = {
    Kind.CONDITION: "recordedDate",
    Kind.MEDICATION: "dateAsserted",
    Kind.OBSERVATION: "issued",
}
