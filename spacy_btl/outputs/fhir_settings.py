"""What the user says of FHIR: the version, the resource of each type, the patient of each note."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from spacy_btl.corpora.patients import read_patients
from spacy_btl.errors import AnnotateError
from spacy_btl.files import read_yaml


class Release(StrEnum):
    """The versions of FHIR that are written."""

    R4 = "R4"
    R5 = "R5"


class Kind(StrEnum):
    """The resources that an entity can be."""

    CONDITION = "Condition"
    MEDICATION = "MedicationStatement"
    OBSERVATION = "Observation"


class FhirFile(BaseModel):
    """The user's file.

    release (str): "R4" or "R5".
    resources (Dict[str, str]): The resource of each type of entity. Others are left out.
    system (Optional[str]): The URI of the code system that a linker's ids are of.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    release: Release = Release.R4
    resources: dict[str, Kind]
    system: str | None = None


@dataclass(frozen=True)
class Fhir:
    """How resources are written.

    patients (Mapping[str, str]): The patient of each note, by its id; without one the subject is
        said to be unknown.
    """

    release: Release
    resources: Mapping[str, Kind]
    system: str | None = None
    patients: Mapping[str, str] = field(default_factory=dict)


def read_fhir(path: Path | None, patients: Path | None) -> Fhir:
    """Read the user's file, and the CSV file of the patients, see `read_patients`.

    RAISES: BtlError, if one of them holds something else, or the first is not given.
    """
    if path is None:
        raise AnnotateError(
            "FHIR needs to know which type is which resource: give --fhir a YAML file with "
            "`resources:` and below it lines such as `Medication: MedicationStatement`."
        )
    file = read_yaml(path, FhirFile, "file of FHIR resources")
    known = {} if patients is None else read_patients(patients)
    return Fhir(file.release, file.resources, file.system, known)
