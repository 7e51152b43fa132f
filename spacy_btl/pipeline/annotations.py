"""What our pipes write on a doc: raw logits, probabilities, entities and their confidence."""

import warnings
from bisect import bisect_right
from collections.abc import Collection, Sequence
from typing import Any, cast

import numpy as np
from spacy.tokens import Doc, Span, SpanGroup

from spacy_btl.errors import BtlWarning

LOGITS = "token_logits"
PROBABILITIES = "token_probabilities"
CONFIDENCE = "btl_confidence"
SPAN_CONFIDENCE = "btl_span_confidence"  # of the spans of groups, by the names of these
# In `doc.user_data`: the "tags" that the columns of the logits stand for, and a digest of the
# "network" whose they are; with `spans_key`, that.
WRITER = "btl_ner"
# In `doc.user_data`: the distance of each token to the nearest labelled one, float64 [T], until
# `FACTS` is made of it, the row of the doc that notes are compared by (`calibration.reference`).
NEAREST, FACTS = "btl_nearest", "btl_facts"


def install_extensions() -> None:
    """Register `doc._.token_logits` and `doc._.token_probabilities` (float32 [T, C], or None; with
    `spans_key` the latter are [T, K, S + 2], those of the S tags of each type's decision, and of a
    mention that begins, or ends, with the token),
    `span._.confidence`, `doc._.confidence`, that of each of `doc.ents` in their order, and
    `doc._.span_confidence`, that of each span of the groups that hold any."""
    for name in (LOGITS, PROBABILITIES):
        if not Doc.has_extension(name):
            Doc.set_extension(name, default=None)
    if not Doc.has_extension("confidence"):
        Doc.set_extension("confidence", getter=_confidences, setter=_set_confidences)
    if not Doc.has_extension("span_confidence"):
        Doc.set_extension("span_confidence", getter=_span_confidences, setter=_set_span_confidences)
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
    """The estimated probability that the entity, or span, is right, boundaries and label both.

    RETURNS (Optional[float]): From 0 to 1; None where nothing computed it. A span does not tell
        whose it is: where several pipes wrote one place and type, it is that of the entity, then
        that of the first group. `doc._.span_confidence` has those of each group.

    >>> from spacy_btl import confidence
    >>> confidence(doc.ents[0]) == doc.ents[0]._.confidence
    True
    """
    values = _values(span.doc)
    of_groups = values.get(_key(span, SPAN_CONFIDENCE), {})
    return values.get(_key(span), next(iter(of_groups.values()), None))


def _confidences(doc: Doc) -> list[float | None]:
    return [confidence(ent) for ent in doc.ents]


def _set_confidences(doc: Doc, values: Sequence[float | None]) -> None:
    """What `Doc.from_json` calls with what `Doc.to_json` wrote."""
    for ent, value in zip(doc.ents, values, strict=True):
        if value is not None:
            _values(doc)[_key(ent)] = value
    _show_to_json(doc, doc.ents)


def _span_confidences(doc: Doc) -> dict[str, list[float | None]]:
    stored = _values(doc)
    values = {
        key: [stored.get(_key(span, SPAN_CONFIDENCE), {}).get(key) for span in group]
        for key, group in doc.spans.items()
    }
    return {key: known for key, known in values.items() if set(known) - {None}}


def _set_span_confidences(doc: Doc, values: dict[str, list[float | None]]) -> None:
    for key, known in values.items():
        for span, value in zip(doc.spans[key], known, strict=True):
            if value is not None:
                _set_of_group(span, key, value)


def write_mentions(
    doc: Doc,
    spans: Sequence[Span],
    confidences: Sequence[float] | None,
    *,
    labels: Collection[str],
) -> None:
    """Write what a pipe found: as entities, or where the `btl_ner` before has a `spans_key` as a
    group of spans. See `set_entities` and `set_spans`."""
    key = doc.user_data.get(WRITER, {}).get("spans_key")
    if key is None or confidences is None:
        set_entities(doc, spans, confidences, labels=labels)
    else:
        set_spans(doc, key, spans, confidences, labels=labels)


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
    entities, values = _forget(doc, labels), _values(doc)
    taken = {token.i for ent in entities for token in ent}
    for span, value in zip(spans, confidences or [None] * len(spans), strict=True):
        if not taken or taken.isdisjoint(range(span.start, span.end)):
            values[_key(span)] = value
            entities.append(span)
    doc.set_ents(entities)
    _show_to_json(doc, entities)


def set_spans(
    doc: Doc,
    key: str,
    spans: Sequence[Span],
    confidences: Sequence[float],
    *,
    labels: Collection[str],
) -> None:
    """Make spans, which may overlap, the group `doc.spans[key]`, and some of them entities.

    The entities are those of the greatest sum of confidence that do not overlap each other or an
    entity of another pipe. Entities are replaced as by `set_entities`, and the group as a whole.

    spans (Sequence[Span]): Sorted by their boundaries; none twice.
    """
    others = _forget(doc, labels)
    doc.spans[key] = SpanGroup(doc, name=key, spans=list(spans))
    _forget_group(doc, key)
    for span, value in zip(spans, confidences, strict=True):
        _set_of_group(span, key, value)
    taken = np.zeros(len(doc) + 1, dtype="int64")  # tokens of other entities before each token
    for ent in others:
        taken[ent.start + 1 : ent.end + 1] = 1
    taken = taken.cumsum()
    free = [i for i, span in enumerate(spans) if taken[span.start] == taken[span.end]]
    chosen = best_subset(
        [(spans[i].start, spans[i].end) for i in free], [confidences[i] for i in free]
    )
    entities = [*others, *(spans[free[i]] for i in chosen)]
    for span in entities[len(others) :]:
        _values(doc)[_key(span)] = _values(doc)[_key(span, SPAN_CONFIDENCE)][key]
    doc.set_ents(entities)
    _show_to_json(doc, entities)


def best_subset(intervals: Sequence[tuple[int, int]], weights: Sequence[float]) -> list[int]:
    """The intervals of the greatest sum of weights, none of which overlap. O(n log n).

    Of subsets with the same sum it is the one whose last intervals end first, then the one with
    the longer intervals, then the one with those that are given first.

    intervals (Sequence[Tuple[int, int]]): Start, and end (exclusive).
    weights (Sequence[float]): Those that are not positive are never chosen.
    RETURNS (List[int]): The numbers of the chosen intervals, in the order of the text.
    """
    order = sorted(range(len(intervals)), key=lambda i: (intervals[i][1], intervals[i][0]))
    ends = [intervals[i][1] for i in order]
    best = [0.0]  # of the first n intervals
    before = [bisect_right(ends, intervals[i][0]) for i in order]
    for number, compatible in zip(order, before, strict=True):
        best.append(max(best[-1], best[compatible] + weights[number]))
    chosen, n = [], len(order)
    while n:
        if best[n] > best[n - 1]:
            chosen.append(order[n - 1])
            n = before[n - 1]
        else:
            n -= 1
    return chosen[::-1]


def _forget(doc: Doc, labels: Collection[str]) -> list[Span]:
    """Delete the confidences of entities of these labels. RETURNS (List[Span]): The entities of a
    doc that our pipes did not write."""
    names = {f"{CONFIDENCE}:{label}" for label in labels}
    ours = {key for key in doc.user_data if _is_of(key, names)}
    others = [ent for ent in doc.ents if _key(ent) not in ours]
    for key in ours:
        del doc.user_data[key]
    return others


def _forget_group(doc: Doc, group: str) -> None:
    """Delete the confidences of the spans of a group."""
    values = _values(doc)
    for place in [one for one in values if isinstance(one, tuple) and len(one) == 4]:
        if place[1].startswith(f"{SPAN_CONFIDENCE}:"):
            of_others = {name: value for name, value in values[place].items() if name != group}
            if of_others:
                values[place] = of_others
            else:
                del values[place]


def _set_of_group(span: Span, group: str, value: float) -> None:
    values, place = _values(span.doc), _key(span, SPAN_CONFIDENCE)
    values[place] = {**values.get(place, {}), group: value}  # new: other docs may share the old


def _show_to_json(doc: Doc, entities: Sequence[Span]) -> None:
    """Keep the confidences of the entities where spaCy keeps those of a span extension without a
    getter: `Doc.to_json(underscore=["confidence"])` reads nothing else. We do not read it."""
    if not (Span.has_extension("confidence") and Span.get_extension("confidence")[2] is confidence):
        return
    values = _values(doc)
    for key in [key for key in values if _is_of(key, ("confidence",))]:
        del values[key]
    for key in map(_key, entities):
        if key in values:
            values["._.", "confidence", *key[2:]] = values[key]


def _values(doc: Doc) -> dict[Any, Any]:
    """The user data of a doc. spaCy's annotation says that keys are names; most are tuples."""
    return cast(dict[Any, Any], doc.user_data)


def _key(span: Span, name: str = CONFIDENCE) -> tuple[str, str, int, int]:
    # Like a key of spaCy's span extensions: `as_doc` and `from_docs` then shift the offsets.
    return ("._.", f"{name}:{span.label_}", span.start_char, span.end_char)


def _is_of(key: Any, names: Collection[str]) -> bool:
    return isinstance(key, tuple) and len(key) == 4 and key[1] in names
