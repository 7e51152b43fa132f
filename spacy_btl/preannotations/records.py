"""Mentions as records of Label Studio, Prodigy and doccano. Their offsets count characters.

Old versions of Label Studio counted UTF-16 units.
"""

from collections.abc import Sequence
from typing import Any, Protocol

from spacy_btl.context.assertions import KINDS, Assertions
from spacy_btl.preannotations.words import Words

DIGITS = 6  # of a score


class Mention(Protocol):
    """A mention, for example a `notes.entities.Entity`."""

    @property
    def start(self) -> int:
        """Its first character."""

    @property
    def end(self) -> int:
        """The character behind it."""

    @property
    def text(self) -> str:
        """What is between them."""

    @property
    def label(self) -> str:
        """Its type."""

    @property
    def confidence(self) -> float | None:
        """Its confidence, if it has one."""

    @property
    def assertions(self) -> Assertions | None:
        """What the note says of it, if that is known."""


def prediction(
    mentions: Sequence[Mention],
    *,
    from_name: str,
    to_name: str,
    model_version: str,
    choices_name: str | None = None,
) -> dict[str, Any]:
    """Return the mentions of a note as a prediction of Label Studio.

    Regions have the confidence of their mention as a score, and the prediction has the mean.
    https://labelstud.io/guide/predictions

    from_name, to_name (str): The names of `Labels` and `Text` in the labelling configuration.
    choices_name (Optional[str]): The name of `Choices` of each region, which hold the assertions of
        `context.assertions.KINDS`; None to leave them out.
    """
    regions: list[dict[str, Any]] = [
        {
            "id": f"T{number}",
            "from_name": from_name,
            "to_name": to_name,
            "type": "labels",
            "value": {
                "start": mention.start,
                "end": mention.end,
                "text": mention.text,
                "labels": [mention.label],
            },
            **_score(mention.confidence),
        }
        for number, mention in enumerate(mentions, start=1)
    ]
    choices = [
        {
            **{name: region[name] for name in ("id", "to_name")},
            "from_name": choices_name,
            "type": "choices",
            "value": {
                **{name: region["value"][name] for name in ("start", "end", "text")},
                "choices": [KINDS[kind] for kind in mention.assertions.kinds],
            },
        }
        for region, mention in zip(regions, mentions, strict=True)
        if choices_name is not None and mention.assertions and mention.assertions.kinds
    ]
    score = _score(mean_confidence(mentions))
    return {"model_version": model_version, "result": [*regions, *choices], **score}


def prodigy_task(
    note_id: str | int, text: str, words: Words, mentions: Sequence[Mention], source: str
) -> dict[str, Any]:
    """Return a note as a task of Prodigy for `ner.manual`, or, if mentions overlap, `spans.manual`.

    Spans have the confidence of their mention as a score, and `meta` has the mean. Prodigy adds
    its hashes itself. https://prodi.gy/docs/api-interfaces

    source (str): The name and version of the pipeline, which Prodigy shows.
    """
    places = words.tokens.tolist()
    nexts = [*(start for start, _ in places), len(text)][1:]
    tokens = [  # "ws" says that a space follows that is no token
        {"id": i, "start": start, "end": end, "text": text[start:end], "ws": end < following}
        for i, ((start, end), following) in enumerate(zip(places, nexts, strict=True))
    ]
    meta = {"source": source, **_score(mean_confidence(mentions))}
    spans = [_span(mention, words) for mention in mentions]
    return {"id": note_id, "text": text, "tokens": tokens, "spans": spans, "meta": meta}


def _span(mention: Mention, words: Words) -> dict[str, Any]:
    ends = [mention.start, mention.end - 1]
    first, last = words.tokens[:, 0].searchsorted(ends, side="right") - 1
    return {
        "start": mention.start,
        "end": mention.end,
        "token_start": int(first),
        "token_end": int(last),
        "label": mention.label,
        **_score(mention.confidence),
    }


def doccano_record(note_id: str | int, text: str, mentions: Sequence[Mention]) -> dict[str, Any]:
    """Return a note as a line of doccano's, which has no place for a confidence."""
    labels = [[mention.start, mention.end, mention.label] for mention in mentions]
    return {"id": note_id, "text": text, "label": labels}


def doccano_problem(text: str) -> str:
    """Why doccano refuses a text; empty if it does not."""
    return "" if text else "doccano refuses an empty text"


def mean_confidence(mentions: Sequence[Mention]) -> float | None:
    """The mean confidence of mentions; None if none has one."""
    values = [one.confidence for one in mentions if one.confidence is not None]
    return round(sum(values) / len(values), DIGITS) if values else None


def _score(confidence: float | None) -> dict[str, float]:
    return {} if confidence is None else {"score": confidence}
