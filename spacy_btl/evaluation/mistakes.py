"""The worst errors, with the text around them: for the report alone."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from spacy.tokens import Doc, Span

from spacy_btl.metrics.predictions import Predictions

# Of each kind.
MAX_ERRORS = 15
# Tokens that are shown on either side.
CONTEXT = 12


Explain = Callable[[Span], list[dict[str, Any]]]


def worst_errors(
    predictions: Predictions, docs: Sequence[Doc], explain: Explain | None = None
) -> list[dict[str, Any]]:
    """Find the wrong entities of highest confidence, and missed mentions.

    docs (Sequence[Doc]): The D annotated documents.
    explain (Optional[Callable[[Span], List[Dict[str, Any]]]]): Finds the nearest neighbours of a
        span of one of these documents.
    RETURNS (List[Dict[str, Any]]): At most 15 wrong entities, by confidence, then at most 15 missed
        mentions, which no predicted entity overlaps, of the rarest types first. Each with `kind`
        ("wrong" or "missed"), `label`, `confidence` (None without one), `text`, a piece of the
        note, `gold` and `predicted`, the entities in it in displaCy's form, and `neighbors`, with
        `explain`.
    """
    gold, predicted = predictions.gold_ents, predictions.predicted_ents
    wrong = np.flatnonzero(~predictions.correct)
    confidence = np.nan_to_num(predictions.confidence[wrong], nan=-1)
    wrong = wrong[np.argsort(-confidence, kind="stable")][:MAX_ERRORS]
    support = np.bincount(gold["label"], minlength=len(predictions.classes))
    covered = {
        (doc, token) for doc, start, end, _ in predicted.tolist() for token in range(start, end)
    }
    missed = np.flatnonzero(
        [
            covered.isdisjoint((doc, token) for token in range(start, end))
            for doc, start, end, _ in gold.tolist()
        ]
    )
    rarest = missed[np.argsort(support[gold["label"][missed]], kind="stable")][:MAX_ERRORS]
    worst = [("wrong", predicted[i], float(predictions.confidence[i])) for i in wrong]
    worst += [("missed", gold[i], np.nan) for i in rarest]
    errors = [_error(kind, ent, predictions, docs, p) for kind, ent, p in worst]
    if explain is not None:
        for error, (_, ent, _) in zip(errors, worst, strict=True):
            error["neighbors"] = explain(docs[ent["doc"]][ent["start"] : ent["end"]])
    return errors


def _error(
    kind: str, ent: np.void, predictions: Predictions, docs: Sequence[Doc], confidence: float
) -> dict[str, Any]:
    doc = docs[ent["doc"]]
    piece = doc[max(0, ent["start"] - CONTEXT) : ent["end"] + CONTEXT]

    def shown(ents: np.ndarray) -> list[dict[str, Any]]:
        inside = (ents["start"] >= piece.start) & (ents["end"] <= piece.end)
        within = ents[(ents["doc"] == ent["doc"]) & inside]
        return [
            {
                "start": doc[start].idx - piece.start_char,
                "end": doc[end - 1].idx + len(doc[end - 1]) - piece.start_char,
                "label": predictions.classes[label],
            }
            for _, start, end, label in within.tolist()
        ]

    return {
        "kind": kind,
        "label": predictions.classes[ent["label"]],
        "confidence": None if np.isnan(confidence) else confidence,
        "text": piece.text,
        "gold": shown(predictions.gold_ents),
        "predicted": shown(predictions.predicted_ents),
    }
