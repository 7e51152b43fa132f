"""What our pipes write on a doc: raw logits, probabilities, entities and their confidence."""

import warnings
from collections.abc import Collection, Sequence
from typing import Any, cast

from spacy.tokens import Doc, Span

from spacy_btl.errors import BtlWarning

LOGITS = "token_logits"
PROBABILITIES = "token_probabilities"
CONFIDENCE = "btl_confidence"
# In `doc.user_data`: the "tags" that the columns of the logits stand for, and a digest of the
# "network" whose they are.
WRITER = "btl_ner"


def install_extensions() -> None:
    """Register `doc._.token_logits` and `doc._.token_probabilities` (float32 [T, C], or None),
    `ent._.confidence`, and `doc._.confidence`, that of each of `doc.ents` in their order."""
    for name in (LOGITS, PROBABILITIES):
        if not Doc.has_extension(name):
            Doc.set_extension(name, default=None)
    if not Doc.has_extension("confidence"):
        Doc.set_extension("confidence", getter=_confidences, setter=_set_confidences)
    if not Span.has_extension("confidence"):
        Span.set_extension("confidence", getter=confidence)
    elif Span.get_extension("confidence")[2] is not confidence:
        warnings.warn(
            "`ent._.confidence` is another package's, which registered it before. Read ours by "
            "`spacy_btl.confidence(ent)`.",
            BtlWarning,
            stacklevel=2,
        )


def confidence(span: Span) -> float | None:
    """The estimated probability that the entity is right, boundaries and label both.

    RETURNS (Optional[float]): From 0 to 1; None where nothing computed it.

    >>> from spacy_btl import confidence
    >>> confidence(doc.ents[0]) == doc.ents[0]._.confidence
    True
    """
    return _values(span.doc).get(_key(span))


def _confidences(doc: Doc) -> list[float | None]:
    return [confidence(ent) for ent in doc.ents]


def _set_confidences(doc: Doc, values: Sequence[float | None]) -> None:
    """What `Doc.from_json` calls with what `Doc.to_json` wrote."""
    for ent, value in zip(doc.ents, values, strict=True):
        if value is not None:
            _values(doc)[_key(ent)] = value
    _show_to_json(doc)


def set_entities(
    doc: Doc,
    spans: Sequence[Span],
    confidences: Sequence[float | None] | None = None,
    *,
    labels: Collection[str],
) -> None:
    """Make spans the entities of a doc, in place of those of these labels that our pipes wrote.

    Entities of other pipes (an entity ruler before ours, a `btl_ner` of other types) stay and win,
    as with spaCy's `ner`.
    The values live in `doc.user_data` by offsets and label, and not in a plain span extension,
    which a relabelled span would inherit.
    """
    names = {f"{CONFIDENCE}:{label}" for label in labels}
    ours = {key for key in doc.user_data if _is_of(key, names)}
    others = [ent for ent in doc.ents if _key(ent) not in ours]
    for key in ours:
        del doc.user_data[key]
    taken = {token.i for ent in others for token in ent}
    for span, value in zip(spans, confidences or [None] * len(spans), strict=True):
        if taken.isdisjoint(range(span.start, span.end)):
            _values(doc)[_key(span)] = value
    doc.set_ents([*others, *(span for span in spans if _key(span) in doc.user_data)])
    _show_to_json(doc)


def _show_to_json(doc: Doc) -> None:
    """Keep the confidences of the entities where spaCy keeps those of a span extension without a
    getter: `Doc.to_json(underscore=["confidence"])` reads nothing else. We do not read it."""
    if not (Span.has_extension("confidence") and Span.get_extension("confidence")[2] is confidence):
        return
    for key in [key for key in doc.user_data if _is_of(key, ("confidence",))]:
        del doc.user_data[key]
    for ent in doc.ents:
        if _key(ent) in doc.user_data:
            place = ("._.", "confidence", ent.start_char, ent.end_char)
            _values(doc)[place] = _values(doc)[_key(ent)]


def _values(doc: Doc) -> dict[Any, Any]:
    """The user data of a doc. spaCy's annotation says that keys are names; most are tuples."""
    return cast(dict[Any, Any], doc.user_data)


def _key(span: Span) -> tuple[str, str, int, int]:
    # Like a key of spaCy's span extensions: `as_doc` and `from_docs` then shift the offsets.
    return ("._.", f"{CONFIDENCE}:{span.label_}", span.start_char, span.end_char)


def _is_of(key: Any, names: Collection[str]) -> bool:
    return isinstance(key, tuple) and len(key) == 4 and key[1] in names
