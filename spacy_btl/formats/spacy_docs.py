"""Read `.spacy` files: docs with entities, or with mentions that may overlap."""

from collections.abc import Iterator, Sequence

from spacy.tokens import Doc, Span
from spacy.vocab import Vocab

from spacy_btl.context.assertions import assertions
from spacy_btl.corpora.claims import Claim, note_from_claims
from spacy_btl.corpora.docbin import read_docs
from spacy_btl.corpora.note import Mention, Note
from spacy_btl.corpora.patients import PATIENT
from spacy_btl.corpora.report import ConversionReport
from spacy_btl.corpora.source import Source
from spacy_btl.errors import CorpusError
from spacy_btl.mentions import MENTIONS

SPANCAT = "sc"  # the key of spaCy's span categorizer


def is_spacy(source: Source) -> bool:
    """Whether its name ends in `.spacy`."""
    return source.suffix == ".spacy"


def read_spacy(sources: Sequence[Source], report: ConversionReport) -> Iterator[Note]:
    """Read the docs. They are tokenized again, so that offsets count and not tokens.

    Mentions are those of `doc.spans["mentions"]`, as `convert` writes them; else the entities; else
    `doc.spans["sc"]`, as Prodigy and the span categorizer have them. Tokens without annotation are
    missing annotation, and a doc that has none at all is skipped.

    YIELDS (Note): Its id is `doc.user_data["note_id"]`, or `doc-000001`.
    """
    for source in sources:
        if source.where != str(source.path):
            raise CorpusError(f"{source.where}: a .spacy file in an archive. Unpack the archive.")
        for number, doc in enumerate(read_docs(source.path, Vocab()), start=1):
            report.notes_read += 1
            spans = _spans(doc)
            if spans is None:
                report.notes_skipped["doc without annotation"] += 1
                continue
            note_id = doc.user_data.get("note_id", source.note_id(number, "doc"))
            patient = doc.user_data.get(PATIENT)
            note = Note(
                str(note_id),
                doc.text,
                (),
                where=source.place(f"doc {number}"),
                patient=None if patient is None else str(patient),
            )
            claims = list(_claims(doc, spans, f"{source.where}, doc {number}", report))
            checked = note_from_claims(note, claims, report)
            if checked is not None:
                yield checked


def _spans(doc: Doc) -> list[Span] | None:
    """The mentions of a doc; None if it has no annotation."""
    for key, found in ((MENTIONS, True), (SPANCAT, not doc.ents)):
        if found and key in doc.spans:
            return list(doc.spans[key])
    return list(doc.ents) if doc.has_annotation("ENT_IOB") or not len(doc) else None


def _claims(
    doc: Doc, spans: Sequence[Span], where: str, report: ConversionReport
) -> Iterator[Claim]:
    fragments: dict[str, list[Span]] = {}
    for number, span in enumerate(spans, start=1):
        fragments.setdefault(span.id_ or f"span {number}", []).append(span)
    for number, pieces in enumerate(fragments.values(), start=1):
        places = tuple((piece.start_char, piece.end_char) for piece in pieces)
        label = report.normalize_label(pieces[0].label_)
        problem = None if label else "span without a label"
        said = assertions(pieces[0])
        kinds = () if said is None else tuple(said.kinds)
        mention = Mention(f"T{number}", label, places, kinds)
        yield Claim(f"{where}, span {number}", mention, (), problem)
    if doc.has_annotation("ENT_IOB"):
        # What only `doc.ents` has no room for is annotated.
        covered = {i for span in spans for i in range(span.start, span.end)}
        for token in doc:
            if not token.ent_iob and token.i not in covered:
                place = (token.idx, token.idx + len(token))
                yield Claim(where, Mention("", "", (place,)), answer="unasked")
