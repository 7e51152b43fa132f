"""Write entities as NOTE_NLP, the table of the OMOP Common Data Model v5.4 for entities in notes.

https://ohdsi.github.io/CommonDataModel/cdm54.html#note_nlp
"""

from collections.abc import Iterable, Iterator, Sequence
from io import BytesIO
from typing import Any, NamedTuple

from spacy_btl.about import __version__
from spacy_btl.context.assertions import PATIENT, Assertions
from spacy_btl.notes.entities import Entity
from spacy_btl.notes.tables import import_pyarrow
from spacy_btl.outputs.concepts import NO_CONCEPT
from spacy_btl.outputs.stamp import Stamp


class Field(NamedTuple):
    """A column of NOTE_NLP.

    type (str): The Arrow type.
    length (Optional[int]): The maximum number of characters of a string.
    """

    name: str
    type: str
    required: bool = False
    length: int | None = None


NOTE_NLP = (
    Field("note_nlp_id", "int64", required=True),
    Field("note_id", "int64", required=True),
    Field("section_concept_id", "int64"),
    Field("snippet", "string", length=250),
    Field("offset", "string", length=50),
    Field("lexical_variant", "string", required=True, length=250),
    Field("note_nlp_concept_id", "int64"),
    Field("note_nlp_source_concept_id", "int64"),
    Field("nlp_system", "string", length=250),
    Field("nlp_date", "date32", required=True),
    Field("nlp_datetime", "timestamp[us]"),
    Field("term_exists", "string", length=1),
    Field("term_temporal", "string", length=50),
    Field("term_modifiers", "string", length=2000),
)
LENGTHS = {field.name: field.length for field in NOTE_NLP}


def note_nlp_rows(
    entities: Sequence[Entity], stamp: Stamp, first_id: int
) -> Iterator[dict[str, Any]]:
    """Yield a row for each entity; unknown values are None.

    The table has no columns for an entity's end, type and confidence. They are in `term_modifiers`,
    as "label=Test;end=12;confidence=0.9312". `lexical_variant` is truncated to 250 characters; the
    end is not.

    Of a mention with assertions they have its modifiers, too, all that the table's conventions
    name: "negation=false;subject=patient;conditional=false;uncertain=false;history=true". By these
    conventions `term_exists` is "N" if a negation, another subject or a condition holds, and "Y"
    otherwise, uncertain mentions included; `term_temporal` is "past" if it is history, and
    "present" otherwise.

    stamp (Stamp): Without `concepts`, `note_nlp_concept_id` is the id of a linker if that is a
        whole number; without a linker either, it is empty. Without `section_concepts`,
        `section_concept_id` is.
    first_id (int): The `note_nlp_id` of the first row. The others count up from it.
    """
    for number, entity in enumerate(entities, start=first_id):
        modifiers = [f"label={entity.label}", f"end={entity.end}"]
        if entity.confidence is not None:
            modifiers.append(f"confidence={entity.confidence:.4f}")
        said = entity.assertions
        if said is not None:
            modifiers += [f"{name}={value}" for name, value in _modifiers(said)]
        values = {
            "note_nlp_id": number,
            "note_id": entity.note_id,
            "offset": str(entity.start),
            "lexical_variant": entity.text[: LENGTHS["lexical_variant"]],
            "nlp_system": f"{stamp.system}, spacy-btl {__version__}"[: LENGTHS["nlp_system"]],
            "nlp_date": stamp.date[:10],
            "nlp_datetime": stamp.date,
            "term_modifiers": ";".join(modifiers)[: LENGTHS["term_modifiers"]],
        }
        if stamp.concepts is not None:
            values["note_nlp_concept_id"] = stamp.concepts.of(entity.label, entity.text)
        elif stamp.links:
            numbered = entity.kb_id is not None and entity.kb_id.isdecimal()
            values["note_nlp_concept_id"] = int(str(entity.kb_id)) if numbered else NO_CONCEPT
        if stamp.section_concepts is not None:
            heading = entity.section or ""
            values["section_concept_id"] = stamp.section_concepts.of("", heading)
        if said is not None:
            values |= {"term_exists": _exists(said), "term_temporal": _temporal(said)}
        yield {field.name: values.get(field.name) for field in NOTE_NLP}


def _modifiers(said: Assertions) -> Iterator[tuple[str, str]]:
    """The modifiers by which the conventions of NOTE_NLP decide its other columns."""
    yield "negation", _shown(said.negated)
    yield "subject", said.experiencer
    yield "conditional", _shown(said.hypothetical)
    yield "uncertain", _shown(said.uncertain)
    yield "history", _shown(said.historical)


def _shown(value: bool) -> str:
    return "true" if value else "false"


def _exists(said: Assertions) -> str:
    """Whether the patient has or had it: one character."""
    return "N" if said.negated or said.hypothetical or said.experiencer != PATIENT else "Y"


def _temporal(said: Assertions) -> str:
    return "past" if said.historical else "present"


def note_nlp_parquet(rows: Iterable[dict[str, Any]]) -> bytes:
    """Return rows as a Parquet file."""
    pyarrow = import_pyarrow()
    fields = [
        pyarrow.field(field.name, pyarrow.type_for_alias(field.type), nullable=not field.required)
        for field in NOTE_NLP
    ]
    rows = list(rows)
    columns = []
    for field in fields:
        values = pyarrow.array([row[field.name] for row in rows], _value_type(pyarrow, field.type))
        columns.append(values.cast(field.type))
    sink = BytesIO()
    pyarrow.parquet.write_table(
        pyarrow.Table.from_arrays(columns, schema=pyarrow.schema(fields)), sink
    )
    return sink.getvalue()


def _value_type(pyarrow: Any, kind: Any) -> Any:
    """The type of the values in the rows, where dates are strings."""
    return pyarrow.string() if pyarrow.types.is_temporal(kind) else kind
