"""Read the JSON export of MedCATtrainer: projects of documents, with annotations by concept."""

from collections.abc import Iterator, Sequence
from typing import Any

from spacy_btl.corpora.claims import Claim, note_from_claims
from spacy_btl.corpora.note import Mention, Note, is_text, text_problem
from spacy_btl.corpora.report import OTHER_ANNOTATION, ConversionReport
from spacy_btl.corpora.source import Source

NO_PLACE = "annotation without integer start and end"


def is_medcat(source: Source) -> bool:
    """Whether it has projects with documents."""
    value = source.json if source.is_json and not source.is_lines else None
    return isinstance(value, dict) and isinstance(value.get("projects"), list)


def read_medcat(sources: Sequence[Source], report: ConversionReport) -> Iterator[Note]:
    """Read the documents of all projects. The type of a mention is its concept (`cui`).

    An annotation is a mention if it is correct or has another concept than suggested. One that is
    deleted or killed is rejected. One that nobody has validated is missing annotation. Documents of
    which nothing is validated are skipped and counted, and meta-annotations are counted.

    YIELDS (Note): Its id is the document's `name`, or its `id`.
    RAISES: CorpusError, for an invalid document or annotation that the report does not skip.
    """
    for source in sources:
        for project_number, project in enumerate(source.json["projects"], start=1):
            documents = project.get("documents") if isinstance(project, dict) else None
            for number, document in enumerate(documents or (), start=1):
                report.notes_read += 1
                place = f"project {project_number}, document {number}"
                note = _read_document(document, source, place, report)
                if note is not None:
                    yield note


def _read_document(
    document: Any, source: Source, place: str, report: ConversionReport
) -> Note | None:
    where = f"{source.where}, {place}"
    fields = document if isinstance(document, dict) else {}
    text, raw = fields.get("text"), fields.get("annotations")
    if isinstance(raw, dict):  # what a model returns: annotations by their number
        raw = list(raw.values())
    if not is_text(text) or not isinstance(raw, list):
        report.skip(report.notes_skipped, "document without a text and annotations", where)
        return None
    if problem := text_problem(text):
        report.skip(report.notes_skipped, problem, where)
        return None
    if raw and not any(isinstance(one, dict) and _is_decided(one) for one in raw):
        report.notes_skipped["document without a validated annotation"] += 1
        return None
    claims = [
        _claim(one, f"T{number}", f"{where}, annotation {number}", report)
        for number, one in enumerate(raw, start=1)
    ]
    users = sorted({str(one["user"]) for one in raw if isinstance(one, dict) and one.get("user")})
    name = fields.get("name", fields.get("id"))
    note = Note(
        place if name is None else str(name),
        text,
        (),
        where=source.place(place),
        annotator=", ".join(users) or None,
    )
    return note_from_claims(note, claims, report)


def _claim(raw: Any, mention_id: str, where: str, report: ConversionReport) -> Claim:
    fields = raw if isinstance(raw, dict) else {}
    start, end, cui, value = (fields.get(key) for key in ("start", "end", "cui", "value"))
    if type(start) is not int or type(end) is not int:
        return Claim(where, None, problem=NO_PLACE)
    if others := len(fields.get("meta_anns") or ()):
        report.remarks[OTHER_ANNOTATION] += others
    label = report.normalize_label(cui) if is_text(cui) else ""
    mention = Mention(mention_id, label, ((start, end),))
    texts = (value,) if is_text(value) else ()
    if fields.get("deleted") or fields.get("killed"):
        return Claim(where, mention, texts, answer="reject")
    if not _is_decided(fields):
        return Claim(where, mention, texts, answer="ignore")
    return Claim(where, mention, texts, problem=None if label else "annotation without a concept")


def _is_decided(annotation: dict[str, Any]) -> bool:
    """Whether a person has decided on it. Exports of old versions have no `validated`."""
    decided = ("validated", "correct", "alternative", "deleted", "killed", "manually_created")
    return not any(key in annotation for key in decided) or any(map(annotation.get, decided))
