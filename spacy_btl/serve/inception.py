"""INCEpTION's protocol of external recommenders: a document as XMI in, and out with suggestions.

Source: the developer guide of INCEpTION, "External recommender".
"""

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel, Field

from spacy_btl.corpora.note import text_problem
from spacy_btl.errors import CorpusError, ServeError, counted
from spacy_btl.inception.cas import load_xmi
from spacy_btl.inception.write import SEGMENTATION
from spacy_btl.notes.entities import Entity
from spacy_btl.serve.http import Answer, parse
from spacy_btl.serve.labels import Known, known_as, listed, shown
from spacy_btl.serve.model import Loaded, Model

TOKEN = f"{SEGMENTATION}.Token"
STRING = "uima.cas.String"
PREDICTED = "inception_internal_predicted"
SCORE, EXPLANATION = "_score", "_score_explanation"  # behind the name of the feature


class Metadata(BaseModel):
    """The layer and the feature that hold the type of a mention."""

    layer: str
    feature: str
    project: int = Field(alias="projectId")
    anchoring: str = Field("", alias="anchoringMode")


class Document(BaseModel):
    """A document of an annotator."""

    xmi: str
    id: int = Field(alias="documentId")
    user: str = Field(alias="userId")


class Tag(BaseModel):
    """A label."""

    name: str


class Target(BaseModel):
    """A layer, and a feature of it."""

    type: str
    feature: str


class TagSet(BaseModel):
    """The labels that features may have."""

    tags: list[Tag] = []
    targets: list[Target] = []


class PredictRequest(BaseModel):
    """`POST /predict`. INCEpTION sends tag sets since version 41."""

    metadata: Metadata
    document: Document
    types: str = Field(alias="typeSystem")
    tag_sets: list[TagSet] | None = Field(None, alias="tagsets")


class TrainRequest(BaseModel):
    """`POST /train`: all documents of an annotator that have annotation of the layer."""

    metadata: Metadata
    documents: list[Document] = Field(min_length=1)
    types: str = Field(alias="typeSystem")


def predict(body: bytes, model: Model) -> Answer:
    """Answer a request for suggestions with its document, to which they are added.

    RAISES: ServeError, for a request that cannot be answered.
    """
    request = parse(PredictRequest, body)
    layer, feature = request.metadata.layer, request.metadata.feature
    cas = load(request.document, request.types)
    kind = mention_type(cas, layer, feature)
    if PREDICTED not in {one.name for one in kind.all_features}:
        raise ServeError(f"The layer {layer} has no feature {PREDICTED}, which marks suggestions.")
    for one in list(cas.select(layer)):
        if getattr(one, PREDICTED):
            cas.remove(one)
    known = _tags(request)
    (found,), by = model.predict([cas.sofa_string or ""])
    if isinstance(found, str):
        raise ServeError(f"The document cannot be annotated: {found}.", 422)
    names = [None if known is None else shown(one.label, known) for one in found]
    left_out = Counter[str]()
    places: dict[tuple[int, int, str], Entity] = {}
    for one, name in zip(found, names, strict=True):
        if known is not None and name is None:
            left_out[one.label] += 1
        else:
            places.setdefault((one.start, one.end, name or one.label), one)
    if request.metadata.anchoring == "tokens":
        places = _at_tokens(cas, places)
    for (start, end, name), one in places.items():
        cas.add(kind(begin=start, end=end, **_values(kind, feature, name, one.confidence, by)))
    return Answer(
        {"document": cas.to_xmi()}, f"{counted(len(places), 'suggestion')}{listed(left_out)}"
    )


def load(document: Document, types: str) -> Any:
    """The CAS of a document. RAISES: ServeError, if it cannot be read, or its text is too long."""
    try:
        xmi, described = document.xmi.encode("utf-8"), types.encode("utf-8")
        cas = load_xmi(xmi, described, f"document {document.id}")
    except CorpusError as error:
        raise ServeError(str(error)) from None
    if problem := text_problem(cas.sofa_string or ""):
        raise ServeError(f"document {document.id}: {problem}.")
    return cas


def mention_type(cas: Any, layer: str, feature: str) -> Any:
    """The type of a layer. RAISES: ServeError, if its feature cannot hold one label."""
    if not cas.typesystem.contains_type(layer):
        raise ServeError(f"The type system has no layer {layer}.")
    kind = cas.typesystem.get_type(layer)
    for one in kind.all_features:
        if one.name == feature and one.rangeType.name == STRING:
            return kind
    raise ServeError(f"The layer {layer} has no feature {feature} that holds a string.")


def _tags(request: PredictRequest) -> Known | None:
    """The labels of the feature; None if it has no tag set."""
    own = Target(type=request.metadata.layer, feature=request.metadata.feature)
    sets = [one for one in request.tag_sets or () if own in one.targets]
    if not sets:
        return None
    return known_as((tag.name, tag.name) for one in sets for tag in one.tags)


def _at_tokens(
    cas: Any, places: dict[tuple[int, int, str], Entity]
) -> dict[tuple[int, int, str], Entity]:
    """The same mentions from the first to the last token of INCEpTION that they touch. It would
    take away what is part of a token, and with it whole mentions."""
    tokens: Iterable[Any] = ()
    if cas.typesystem.contains_type(TOKEN):
        tokens = cas.select(TOKEN)
    begins, ends = [one.begin for one in tokens], [one.end for one in tokens]
    moved: dict[tuple[int, int, str], Entity] = {}
    for (start, end, name), one in places.items():
        first, last = bisect_right(ends, start), bisect_left(begins, end) - 1
        place = (begins[first], ends[last], name) if first <= last else (start, end, name)
        moved.setdefault(place, one)
    return moved


def _values(
    kind: Any, feature: str, name: str, confidence: float | None, by: Loaded
) -> dict[str, Any]:
    """The features of a suggestion, as far as the layer has them."""
    values: dict[str, Any] = {feature: name, PREDICTED: True}
    if confidence is not None:
        values[feature + SCORE] = confidence
        values[feature + EXPLANATION] = _explanation(confidence, by)
    has = {one.name for one in kind.all_features}
    return {key: value for key, value in values.items() if key in has}


def _explanation(confidence: float, by: Loaded) -> str:
    if by.uncalibrated:
        return f"{by.system}: confidence is not calibrated"
    return f"{by.system}: of 100 such suggestions about {100 * confidence:.0f} are correct"
