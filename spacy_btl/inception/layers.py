"""Find the layer and the feature of INCEpTION that hold the type of a mention."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

import srsly

from spacy_btl.context.assertions import KIND_OF
from spacy_btl.corpora.claims import Claim, note_from_claims
from spacy_btl.corpora.note import Mention, Note, is_text, text_problem
from spacy_btl.corpora.report import OTHER_ANNOTATION, ConversionReport
from spacy_btl.corpora.source import Source
from spacy_btl.errors import CorpusError

NAMED_ENTITY = "de.tudarmstadt.ukp.dkpro.core.api.ner.type.NamedEntity"
# Layers that hold no mentions: of the text's structure and grammar, and of the tool itself.
STRUCTURE = (
    *("uima.", "de.tudarmstadt.ukp.dkpro.core.api.", "de.tudarmstadt.ukp.clarin.webanno.api."),
    *("de.tudarmstadt.ukp.inception.", "org.dkpro.core.api."),
)
CAS = (".xmi", ".json")
FALSE = "false"  # of a feature that is true or false, in WebAnno TSV
UNFINISHED = ("NEW", "INPROGRESS", "IGNORE", "LOCKED", "CURATIONINPROGRESS")
Layer = tuple[str, str]  # its name, and that of a feature, or "" for a layer that is itself a type


class Annotation(NamedTuple):
    """An annotated piece of text, its layer, and the values of the layer's features."""

    where: str
    layer: str
    start: int
    end: int
    features: Mapping[str, str | None]
    text: str | None = None


class Layered(NamedTuple):
    """A note without mentions, and its annotation of all layers that can hold some."""

    note: Note
    where: str
    annotations: Sequence[Annotation]


def is_assertion(feature: str) -> bool:
    """Whether a feature says whether an assertion holds, by its name."""
    return feature.lower() in KIND_OF


def is_structure(layer: str) -> bool:
    """Whether a layer holds no mentions by its name."""
    return layer.startswith(STRUCTURE) and layer != NAMED_ENTITY


def document_note(source: Source, text: str) -> Note:
    """The note of a file. In a project, the folders name the document and the annotator; a document
    that came into it as CAS is named without the suffix."""
    parts = PurePosixPath(source.name).parts
    if parts[0] in ("annotation", "curation") and len(parts) > 2:
        curated = parts[0] == "curation"
        own = PurePosixPath(parts[1])
        name = own.stem if own.suffix.lower() in CAS else own.name
        return Note(name, text, (), where=source.name, annotator=parts[2], curated=curated)
    return Note(source.name, text, (), where=source.place("its text"))


def is_annotated(source: Source, report: ConversionReport) -> bool:
    """Whether a file of a project is annotation that is finished; counts others."""
    parts = PurePosixPath(source.name).parts
    if parts[0] not in ("annotation", "curation") or len(parts) < 3:
        return True
    if parts[2] == "INITIAL_CAS":  # the document before its annotation
        return False
    state = _state(source, parts[0], parts[1], parts[2])
    if state in UNFINISHED:
        report.notes_read += 1
        report.notes_skipped[f"annotation that is not finished ({state.lower()})"] += 1
    return state not in UNFINISHED


def _state(source: Source, folder: str, document: str, user: str) -> str:
    try:
        project = srsly.json_loads(source.beside["exportedproject.json"].decode("utf-8"))
        key = "annotation_documents" if folder == "annotation" else "source_documents"
        for one in project[key]:
            if one["name"] == document and one.get("user", user) == user:
                return str(one["state"]).upper().replace("_", "")
    except (KeyError, TypeError, ValueError):
        pass
    return ""


def notes_of_layers(
    documents: Sequence[Layered], layers: Sequence[str], report: ConversionReport
) -> Iterator[Note]:
    """Yield the notes with the mentions of some layers.

    layers (Sequence[str]): `LAYER` or `LAYER:FEATURE`, by the last part of the layer's name or all
        of it. Without one, the corpus has to have one layer with values.
    RAISES: CorpusError, if the layers are not those of the corpus, or none is given and several
        could be meant; for an invalid annotation that the report does not skip.
    """
    chosen = _choose(_values_of(documents), layers)
    for document in documents:
        report.notes_read += 1
        if problem := text_problem(document.note.text):
            report.skip(report.notes_skipped, problem, document.where)
            continue
        claims = [
            claim
            for number, annotation in enumerate(document.annotations, start=1)
            for claim in _claims(annotation, number, chosen, report)
        ]
        note = note_from_claims(document.note, claims, report)
        if note is not None:
            yield note


def _values_of(documents: Sequence[Layered]) -> dict[str, Counter[str]]:
    """Count the values of each layer's features, and the annotations of each layer as ""."""
    counts: dict[str, Counter[str]] = {}
    for document in documents:
        for annotation in document.annotations:
            layer = counts.setdefault(annotation.layer, Counter())
            layer.update([""])
            features = annotation.features.items()
            layer.update(name for name, value in features if value and not is_assertion(name))
    return counts


def _choose(counts: Mapping[str, Counter[str]], layers: Sequence[str]) -> set[Layer]:
    if not layers:
        if len(counts) > 1:
            raise CorpusError(f"Several layers hold annotation: {_listed(counts)}. {GIVE}")
        return {(layer, _feature(layer, counts)) for layer in counts}
    chosen = set[Layer]()
    for given in layers:
        name, colon, feature = given.partition(":")
        layer = next((one for one in counts if name in (one, _short(one))), None)
        if layer is None or (feature and feature not in counts[layer]):
            raise CorpusError(f"No annotation is of layer {given}. {GIVE} {_listed(counts)}.")
        chosen.add((layer, feature if colon else _feature(layer, counts)))
    return chosen


GIVE = "Choose by --layer LAYER:FEATURE, or --layer LAYER: for a layer that is itself a type."


def _feature(layer: str, counts: Mapping[str, Counter[str]]) -> str:
    """The feature with the type: `value` by custom, or the only one with values."""
    features = [name for name in counts[layer] if name]
    if "value" in features:
        return "value"
    if len(features) > 1:
        found = _listed({layer: counts[layer]})
        raise CorpusError(f"Several features of a layer have values: {found}. {GIVE}")
    return features[0] if features else ""


def _listed(counts: Mapping[str, Counter[str]]) -> str:
    return ", ".join(
        f"{_short(layer)}:{feature} ({count:,})"
        for layer, features in sorted(counts.items())
        for feature, count in sorted(features.items())
        if feature or len(features) == 1
    )


def _short(layer: str) -> str:
    return layer.rpartition(".")[2]


def _claims(
    annotation: Annotation, number: int, chosen: set[Layer], report: ConversionReport
) -> Iterator[Claim]:
    features = [feature for layer, feature in chosen if layer == annotation.layer]
    if not features:
        report.remarks[OTHER_ANNOTATION] += 1
    elif annotation.start == annotation.end:
        report.remarks["annotations of no text, not read"] += 1
    else:
        said = tuple(
            KIND_OF[name.lower()]
            for name, value in annotation.features.items()
            if is_assertion(name) and (value or FALSE).lower() != FALSE
        )
        for feature in features:
            label = annotation.features.get(feature) if feature else _short(annotation.layer)
            label = report.normalize_label(label) if is_text(label) else ""
            place = (annotation.start, annotation.end)
            mention = Mention(f"T{number}", label, (place,), said)
            texts = () if annotation.text is None else (annotation.text,)
            problem = None if label else f"annotation without a value of {feature}"
            yield Claim(annotation.where, mention, texts, problem)
