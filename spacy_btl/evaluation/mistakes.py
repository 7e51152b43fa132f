"""The worst errors, with the text around them: for the report alone."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from spacy.tokens import Doc, Span

from spacy_btl.metrics.predictions import Mentions, Predictions

# Of each kind.
MAX_ERRORS = 15
# Tokens that are shown on either side.
CONTEXT = 12


Explain = Callable[[Span], list[dict[str, Any]]]


def worst_errors(
    predictions: Predictions, docs: Sequence[Doc], explain: Explain | None = None
) -> list[dict[str, Any]]:
    """Find the wrong entities of highest confidence, and missed mentions. Where predicted mentions
    can overlap, all of them are looked at in place of the entities.

    docs (Sequence[Doc]): The D annotated documents.
    explain (Optional[Callable[[Span], List[Dict[str, Any]]]]): Finds the nearest neighbours of a
        span of one of these documents.
    RETURNS (List[Dict[str, Any]]): At most 15 wrong entities, by confidence, then at most 15 missed
        mentions, which no predicted entity overlaps (of their type, where mentions can overlap), of
        the rarest types first. Each with `kind` ("wrong" or "missed"), `label`, `confidence` (None
        without one), `text`, a piece of the note, `gold` and `predicted`, the entities in it in
        displaCy's form, without those that overlap the error or each other, and `neighbors`, with
        `explain`.
    """
    overlapping = predictions.decisions is not None
    found = predictions.all_mentions if overlapping else predictions.entities
    gold, predicted = found.gold, found.predicted
    wrong = np.flatnonzero(~found.correct)
    confidence = np.nan_to_num(found.confidence[wrong], nan=-1)
    wrong = wrong[np.argsort(-confidence, kind="stable")][:MAX_ERRORS]
    support = np.bincount(gold["label"], minlength=len(predictions.classes))

    def tokens(mention: tuple[int, int, int, int]) -> Iterator[tuple[int, int, int]]:
        doc, start, end, label = mention
        return ((doc, token, label if overlapping else 0) for token in range(start, end))

    covered = {token for mention in predicted.tolist() for token in tokens(mention)}
    missed = np.flatnonzero([covered.isdisjoint(tokens(mention)) for mention in gold.tolist()])
    rarest = missed[np.argsort(support[gold["label"][missed]], kind="stable")][:MAX_ERRORS]
    worst = [("wrong", predicted[i], float(found.confidence[i])) for i in wrong]
    worst += [("missed", gold[i], np.nan) for i in rarest]
    classes = predictions.classes
    errors = [_error(kind, ent, found, classes, docs, p) for kind, ent, p in worst]
    if explain is not None:
        for error, (_, ent, _) in zip(errors, worst, strict=True):
            doc, start, end, label = ent.tolist()
            error["neighbors"] = explain(Span(docs[doc], start, end, label=classes[label]))
    return errors


def _error(
    kind: str,
    ent: np.void,
    found: Mentions,
    classes: Sequence[str],
    docs: Sequence[Doc],
    confidence: float,
) -> dict[str, Any]:
    doc = docs[ent["doc"]]
    piece = doc[max(0, ent["start"] - CONTEXT) : ent["end"] + CONTEXT]

    def shown(ents: np.ndarray) -> list[dict[str, Any]]:
        inside = (ents["start"] >= piece.start) & (ents["end"] <= piece.end)
        within = ents[(ents["doc"] == ent["doc"]) & inside].tolist()
        own = ent.tolist()
        spans = [
            Span(doc, start, end, label=classes[label])
            for place in sorted(within, key=lambda place: place != own)
            for _, start, end, label in [place]
        ]
        return [
            {
                "start": span.start_char - piece.start_char,
                "end": span.end_char - piece.start_char,
                "label": span.label_,
            }
            for span in _apart(spans)
        ]

    return {
        "kind": kind,
        "label": classes[ent["label"]],
        "confidence": None if np.isnan(confidence) else confidence,
        "text": piece.text,
        "gold": shown(found.gold),
        "predicted": shown(found.predicted),
    }


def _apart(spans: Sequence[Span]) -> list[Span]:
    """Those that overlap none before them, in the order of the text."""
    taken: set[int] = set()
    kept = []
    for span in spans:
        tokens = range(span.start, span.end)
        if taken.isdisjoint(tokens):
            taken.update(tokens)
            kept.append(span)
    return sorted(kept, key=lambda span: span.start)
