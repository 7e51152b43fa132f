"""Read UIMA CAS, INCEpTION's own format, as JSON or XMI, by dkpro-cassis."""

import json
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from io import BytesIO
from typing import Any

from spacy_btl.corpora.note import Note, is_text
from spacy_btl.corpora.report import OTHER_ANNOTATION, ConversionReport
from spacy_btl.corpora.source import Source, safe_xml
from spacy_btl.errors import CorpusError
from spacy_btl.inception.layers import (
    NAMED_ENTITY,
    Annotation,
    Layered,
    document_note,
    is_annotated,
    is_assertion,
    is_structure,
    notes_of_layers,
)

XMI = re.compile(r"<(?:\w+:)?XMI\b")
JSON_KEYS = re.compile(r'"%(TYPES|FEATURE_STRUCTURES|VIEWS)"\s*:')
RELATION = {"Governor", "Dependent"}  # the features of a relation's ends
STRING, BOOLEAN = "uima.cas.String", "uima.cas.Boolean"
CHAIN = "next"  # the feature of a link of a chain


def is_cas(source: Source) -> bool:
    """Whether its root element is `XMI`, or its first keys are those of UIMA's JSON."""
    return _is_xmi(source) or (source.is_json and bool(JSON_KEYS.search(source.head)))


def _is_xmi(source: Source) -> bool:
    return source.head.startswith("<") and bool(XMI.search(source.head))


def read_cas(
    sources: Sequence[Source], report: ConversionReport, layers: Sequence[str] = ()
) -> Iterator[Note]:
    """Read the documents, one per file; those of a project, one per document and annotator.

    Offsets count UTF-16 units, which dkpro-cassis turns into characters. XMI needs the
    `TypeSystem.xml` that INCEpTION writes beside it.

    layers (Sequence[str]): As for `notes_of_layers`.
    RAISES: CorpusError, for a file that cannot be read, and see `notes_of_layers`.
    """
    documents = [_document(source, report) for source in sources if is_annotated(source, report)]
    return notes_of_layers(documents, layers, report)


def _document(source: Source, report: ConversionReport) -> Layered:
    cas = _load(source)
    text = cas.sofa_string or ""
    if not is_text(text):
        raise CorpusError(f"{source.where}: looks like a UIMA CAS, but its text is not Unicode.")
    annotations = []
    # cassis leaves the order of annotations of the same place open.
    found = cas.select("uima.tcas.Annotation")
    if any(type(offset) is not int for one in found for offset in (one.begin, one.end)):
        raise CorpusError(
            f"{source.where}: looks like a UIMA CAS, but an annotation has no offsets."
        )
    found = sorted(found, key=lambda one: (one.begin, one.end, one.xmiID))
    for number, one in enumerate(found, start=1):
        layer = _layer(one.type)
        if is_structure(layer):
            continue
        names = {feature.name for feature in one.type.all_features}
        if names >= RELATION or CHAIN in names:
            report.remarks[OTHER_ANNOTATION] += 1
            continue
        features = {
            feature.name: _value(getattr(one, feature.name), feature.rangeType.name)
            for feature in one.type.all_features
            if feature.rangeType.name == STRING
            or (feature.rangeType.name == BOOLEAN and is_assertion(feature.name))
        }
        where = f"{source.where}, annotation {number}"
        annotations.append(Annotation(where, layer, one.begin, one.end, features))
    return Layered(document_note(source, text), source.where, annotations)


def _value(value: Any, kind: str) -> str | None:
    return ("true" if value else None) if kind == BOOLEAN else value


def _layer(kind: Any) -> str:
    """The name of a layer. The subtypes of DKPro's named entities are of its layer."""
    above = kind
    while above is not None:
        if above.name == NAMED_ENTITY:
            return NAMED_ENTITY
        above = above.supertype
    return str(kind.name)


def _load(source: Source) -> Any:
    if not _is_xmi(source):
        import cassis

        return _read("JSON", source.where, lambda: cassis.load_cas_from_json(source.text()))
    if "typesystem.xml" not in source.beside:
        raise CorpusError(
            f"{source.where}: XMI without its TypeSystem.xml. Give the zip file that INCEpTION "
            "exports, or put TypeSystem.xml beside it."
        )
    return load_xmi(source.read(), source.beside["typesystem.xml"], source.where)


def load_xmi(xmi: bytes, types: bytes, where: str) -> Any:
    """Read a CAS as XMI. types (bytes): Its type system, as XML.

    RETURNS (cassis.Cas): With offsets in characters.
    RAISES: CorpusError, if it cannot be read. The message never quotes the text.
    """
    import cassis

    types, xmi = safe_xml(types, f"TypeSystem.xml of {where}"), safe_xml(xmi, where)

    def read() -> Any:
        known = cassis.load_typesystem(BytesIO(types))
        return cassis.load_cas_from_xmi(BytesIO(xmi), typesystem=known)

    return _read("XMI", where, read)


def _read(what: str, where: str, read: Callable[[], Any]) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # It would read such an offset in other units than the rest.
            warnings.filterwarnings("error", message="Not mapping external offset")
            return read()
    except CorpusError:
        raise
    except UserWarning:
        flaw = "an annotation has an offset outside the text"
    except json.JSONDecodeError as err:
        flaw = f"line {err.lineno} is broken"
    except SyntaxError as err:  # lxml's
        flaw = f"line {err.lineno} is broken"
    except Exception as err:  # noqa: BLE001 - cassis raises its own, which may quote the text
        flaw = f"dkpro-cassis cannot read it ({type(err).__name__})"
    raise CorpusError(f"{where}: looks like a UIMA CAS as {what}, but {flaw}.")
