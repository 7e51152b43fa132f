"""Read BioC, as XML or JSON, by the `bioc` library."""

import re
from collections.abc import Iterator, Sequence
from io import BytesIO
from typing import Any, NamedTuple

from spacy_btl.corpora.claims import Claim, count_flaws, note_from_claims
from spacy_btl.corpora.note import Mention, Note, is_text, text_problem
from spacy_btl.corpora.offsets import ENCODINGS, length
from spacy_btl.corpora.report import OTHER_ANNOTATION, ConversionReport
from spacy_btl.corpora.source import Source
from spacy_btl.errors import CorpusError

COLLECTION = re.compile(r"(<!DOCTYPE\s+collection\b|<collection\b)")
TYPES = ("type", "label", "class")  # the keys of an annotation's infons that may hold the type
MAX_GAP = 1_000_000


class Piece(NamedTuple):
    """A passage or a sentence: its offset in the document, and its text."""

    offset: int
    text: str


def is_bioc_xml(source: Source) -> bool:
    """Whether its root element is `collection`, and it has documents."""
    return bool(COLLECTION.search(source.head)) and "<document" in source.head


def is_bioc_json(source: Source) -> bool:
    """Whether it is a collection with documents, or documents with passages."""
    return source.is_json and any(
        isinstance(item.value, dict) and bool(_documents_of(item.value)) for item in source.sample
    )


def read_bioc_xml(sources: Sequence[Source], report: ConversionReport) -> Iterator[Note]:
    """Read the documents of BioC XML. See `read_bioc_json`."""
    from bioc import biocxml

    for source in sources:
        content = source.xml()
        try:
            documents = biocxml.load(BytesIO(content)).documents
        except SyntaxError as err:  # lxml's
            raise _unreadable(source, "XML", f"line {err.lineno} is broken") from None
        except Exception as err:  # noqa: BLE001 - an offset that is no number, ...
            raise _unreadable(
                source, "XML", f"bioc cannot read it ({type(err).__name__})"
            ) from None
        yield from _notes(documents, source, report)


def read_bioc_json(sources: Sequence[Source], report: ConversionReport) -> Iterator[Note]:
    """Read the documents of BioC JSON, and those that PubTator 3 serves.

    The text is that of the passages, or of their sentences, at their offsets, with spaces between.
    Offsets count what makes the annotations their own texts. The type is the annotation's `type`.

    YIELDS (Note): Its id is that of the document.
    RAISES: CorpusError, for a file that cannot be read, and an annotation that is invalid, unless
        the report skips it.
    """
    from bioc import biocjson

    for source in sources:
        for item in source.items():
            raw = _documents_of(item.value) if isinstance(item.value, dict) else None
            if not raw:
                raise _unreadable(source, "JSON", f"{item.problem or 'an item is no document'}")
            try:
                documents = [biocjson.decoder.parse_doc(_complete(one)) for one in raw]
                for document in documents:
                    _require_types(document)
                relations = sum(map(_relations, raw))
            except Exception as err:  # noqa: BLE001 - KeyError, TypeError, ...
                flaw = f"bioc cannot read it ({type(err).__name__})"
                raise _unreadable(source, "JSON", flaw) from None
            if relations:
                report.remarks[OTHER_ANNOTATION] += relations
            yield from _notes(documents, source, report)


def _documents_of(value: dict[str, Any]) -> list[Any]:
    """The documents of a collection, of PubTator 3's answer, or the value if it is one itself."""
    if isinstance(value.get("passages"), list):
        return [value]
    documents = value.get("documents", value.get("PubTator3"))
    return documents if isinstance(documents, list) else []


def _complete(value: Any) -> Any:
    """With the empty lists that bioc asks for and other programs leave out."""
    if not isinstance(value, dict):
        return value
    filled = {"infons": {}, **value}
    if "passages" in value:
        filled = {"relations": [], **filled, "id": str(value.get("id", value.get("_id", "")))}
        filled["passages"] = [_complete(one) for one in value["passages"]]
    if "offset" in value and "length" not in value:
        filled = {"sentences": [], "annotations": [], "relations": [], **filled}
        filled["sentences"] = [_complete(one) for one in filled["sentences"]]
    # Relations are not read, and PubTator 3's have other keys than bioc's.
    return {**filled, "relations": []} if "relations" in filled else filled


def _relations(value: dict[str, Any]) -> int:
    """The number of relations in a document and its passages and sentences."""
    inner = [*value.get("passages", ()), *value.get("sentences", ())]
    relations = value.get("relations")
    own = len(relations) if isinstance(relations, list) else 0
    return own + sum(map(_relations, inner))


def _require_types(document: Any) -> None:
    """RAISES: TypeError, for an offset that is no integer, a text that is no string, or infons that
    are no object. bioc takes any value of JSON."""
    parts = [document, *document.passages]
    parts += [sentence for passage in document.passages for sentence in passage.sentences]
    annotations = [one for part in parts for one in part.annotations]
    numbers = [part.offset for part in parts[1:]]
    numbers += [n for one in annotations for at in one.locations for n in (at.offset, at.length)]
    if any(type(number) is not int for number in numbers):
        raise TypeError
    if any(not isinstance(part.infons, dict) for part in (*parts, *annotations)):
        raise TypeError
    if any(not isinstance(part.text or "", str) for part in parts[1:]):
        raise TypeError


def _unreadable(source: Source, what: str, flaw: str) -> CorpusError:
    return CorpusError(f"{source.where}: looks like BioC {what}, but {flaw}.")


def _notes(documents: Sequence[Any], source: Source, report: ConversionReport) -> Iterator[Note]:
    for number, document in enumerate(documents, start=1):
        report.notes_read += 1
        place = f"document {number}"
        where = f"{source.where}, {place}"
        pieces, annotations = _parts(document, report)
        base = pieces[0].offset if pieces else 0
        claims = [
            _claim(one, f"T{i}", base, f"{where}, annotation {i}", report)
            for i, one in enumerate(annotations, start=1)
            if one.locations
        ]
        if others := len(annotations) - len(claims):
            report.remarks[OTHER_ANNOTATION] += others
        texts = [text for unit in ENCODINGS if (text := _text(pieces, unit)) is not None]
        problem = None if texts else "passages that overlap, or lie too far from one another"
        text = _best(texts, claims)
        problem = problem or (text_problem(text) if is_text(text) else "text is not Unicode")
        if problem:
            report.skip(report.notes_skipped, problem, where)
            continue
        note_id = document.id or source.note_id(number, "document")
        note = Note(note_id, text, (), where=source.place(place))
        checked = note_from_claims(note, claims, report)
        if checked is not None:
            yield checked


def _parts(document: Any, report: ConversionReport) -> tuple[list[Piece], list[Any]]:
    """The pieces of the text, and the annotations of the document and its parts."""
    pieces, annotations = list[Piece](), list(document.annotations)
    relations = len(document.relations)
    for passage in document.passages:
        parts = [passage] if passage.text else passage.sentences
        pieces += [Piece(part.offset, part.text or "") for part in parts]
        for part in (passage, *passage.sentences):
            annotations += part.annotations
            relations += len(part.relations)
    if relations:
        report.remarks[OTHER_ANNOTATION] += relations
    return pieces, annotations


def _text(pieces: Sequence[Piece], unit: str) -> str | None:
    """The text if the offsets count this unit, from the first piece on; None if they cannot."""
    text, end = "", pieces[0].offset if pieces else 0
    for piece in pieces:
        gap = piece.offset - end
        if not 0 <= gap <= MAX_GAP:
            return None
        text += ("\n" + " " * (gap - 1) if gap else "") + piece.text
        end = piece.offset + length(piece.text, unit)
    return text


def _best(texts: Sequence[str], claims: Sequence[Claim]) -> str:
    """The text in which the most claims hold, with the smallest gaps; the first without any."""
    if not any(claim.texts for claim in claims):
        return texts[0] if texts else ""
    return min(texts, key=lambda text: (count_flaws(text, claims), len(text)), default="")


def _claim(annotation: Any, number: str, base: int, where: str, report: ConversionReport) -> Claim:
    values = [annotation.infons.get(key) for key in TYPES]
    label = next((value for value in values if is_text(value) and value.strip()), "")
    fragments = [
        (one.offset - base, one.offset - base + one.length) for one in annotation.locations
    ]
    mention = Mention(number, report.normalize_label(label), tuple(fragments))
    texts = (annotation.text,) if is_text(annotation.text) else ()
    return Claim(where, mention, texts, problem=None if label else "annotation without a type")
