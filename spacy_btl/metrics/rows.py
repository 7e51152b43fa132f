"""One document: its gold and predicted classes by name."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from spacy.attrs import ENT_IOB
from spacy.tokens import Doc, Span
from spacy.training import Example

from spacy_btl.errors import PipelineError
from spacy_btl.mentions import (
    MENTIONS,
    OverlappingScheme,
    Place,
    annotated_tokens,
    encode_mentions,
    has_group,
    mention_types,
    read_mentions,
)
from spacy_btl.tags import OUTSIDE, gold_tags, token_types

Confidence = Callable[[Span], float | None]
Found = list[tuple[Span, float | None]]


class Group(NamedTuple):
    """The groups of mentions that may overlap.

    spans_key (str): That of predicted mentions.
    mentions_key (Optional[str]): That of gold mentions; entities are read where it is empty. None
        for "mentions", or in a doc without it `spans_key`, which spaCy's `spancat` is trained on.
    """

    spans_key: str
    mentions_key: str | None = None

    def key_of_gold(self, reference: Doc) -> str:
        """The key of the group of gold mentions of a doc."""
        if self.mentions_key is None:
            return MENTIONS if MENTIONS in reference.spans else self.spans_key
        return self.mentions_key


class Pairs(NamedTuple):
    """The gold and the predicted mentions, or types of tokens, of one document.

    confidence (List[float]): Of each predicted one; nan without one.
    """

    gold: list[Place]
    predicted: list[Place]
    confidence: list[float]


class Row(NamedTuple):
    """One document, classes by name.

    scored (bool [T]): Which tokens of the predicted doc are annotated and not white space.
    gold, predicted (List[str]): The classes of those; empty if a token can be of several types.
    entities (Pairs): Those of `doc.ents`, in the tokens of the reference doc.
    mentions (Pairs): All mentions, each once; the same object as `entities` if those are all.
    lost (List[Place]): Gold mentions that are no entities, because they overlap others.
    decisions (Optional[Pairs]): If a token can be of several types: the types of each scored token
        of the predicted doc, or `O`.
    """

    scored: NDArray[np.bool_]
    gold: list[str]
    predicted: list[str]
    entities: Pairs
    mentions: Pairs
    lost: list[Place]
    decisions: Pairs | None = None


def read_example(
    example: Example, confidence: Confidence = lambda _: None, group: Group | None = None
) -> Row:
    """Read an example whose gold entities are trimmed (`tags.trim_gold`).

    confidence (Callable[[Span], Optional[float]]): The confidence of a predicted entity or mention.
    group (Optional[Group]): The groups of mentions. Without it, the predicted mentions are the
        entities, and the gold ones those of `doc.spans["mentions"]` and the entities.
    RAISES: PipelineError, for a mention of a group without a type, or of a type "O".
    """
    doc, reference = example.predicted, example.reference
    annotated = reference.to_array(ENT_IOB) != 0
    ents = [(ent.start, ent.end, ent.label_) for ent in reference.ents]
    found: Found = [(ent, confidence(ent)) for ent in doc.ents]
    entities = Pairs(ents, *_aligned(example, found, annotated))
    if group is None:
        gold = _all_mentions(reference, ents)
        mentions = entities
        if len(gold) > len(ents):
            mentions = _mentions(example, gold, found, MENTIONS)
        scored, classes, predicted = _classes(example)
        return Row(scored, classes, predicted, entities, mentions, _lost(gold, reference))
    found = _predicted(doc, group.spans_key, confidence)
    scored, mentions, decisions = read_mentions_and_decisions(example, found, group)
    return Row(scored, [], [], entities, mentions, _lost(mentions.gold, reference), decisions)


def read_mentions_and_decisions(
    example: Example, found: Found, group: Group
) -> tuple[NDArray[np.bool_], Pairs, Pairs]:
    """The `scored`, `mentions` and `decisions` of a row, for mentions that a pipe finds."""
    key = group.key_of_gold(example.reference)
    mentions = _mentions(example, read_mentions(example.reference, key), found, key)
    scored, decisions = _decisions(example, [span for span, _ in found], key)
    return scored, mentions, decisions


def _all_mentions(reference: Doc, ents: list[Place]) -> list[Place]:
    """All annotated mentions, and the entities that are not among them."""
    listed = read_mentions(reference, MENTIONS) if has_group(reference, MENTIONS) else []
    return list({*listed, *ents})


def _lost(gold: list[Place], reference: Doc) -> list[Place]:
    """The mentions that are no entities; none without annotation of entities."""
    ents = {(ent.start, ent.end, ent.label_) for ent in reference.ents}
    return [one for one in gold if one not in ents] if reference.has_annotation("ENT_IOB") else []


def _predicted(doc: Doc, key: str, confidence: Confidence) -> Found:
    """The spans of a group, each with its confidence: ours, or the score of spaCy's `spancat`."""
    group = doc.spans.get(key, ())
    if {span.label_ for span in group} & {"", OUTSIDE}:
        raise PipelineError(
            f"A pipe predicts mentions in doc.spans[{key!r}] without a type, or of a type 'O': "
            "they cannot be scored."
        )
    scores = getattr(group, "attrs", {}).get("scores", ())
    values = [float(score) for score in scores] if len(scores) == len(group) else []
    ours = [confidence(span) for span in group]
    return list(zip(group, values if values and set(ours) == {None} else ours, strict=True))


def _mentions(example: Example, gold: list[Place], found: Found, key: str) -> Pairs:
    """Each mention once; of equal predicted ones, that of the highest confidence."""
    annotated = annotated_tokens(example.reference, key)
    best: dict[Place, float] = {}
    for place, value in zip(*_aligned(example, found, annotated), strict=True):
        best[place] = float(np.fmax(value, best.get(place, np.nan)))
    return Pairs(sorted(set(gold)), list(best), list(best.values()))


def _aligned(
    example: Example, found: Found, annotated: NDArray[np.bool_]
) -> tuple[list[Place], list[float]]:
    """Predicted spans in the tokens of the reference, as spaCy's scorer aligns them, and their
    confidence; without those that touch tokens without annotation.

    annotated (bool [T]): Which tokens of the reference have annotation.
    """
    if not annotated.any():
        return [], []
    unknown = np.concatenate([[0], np.cumsum(~annotated)])
    to_reference = example.alignment.x2y
    places, values = [], []
    for span, value in found:
        tokens = to_reference[span.start : span.end]
        if len(tokens) and unknown[tokens[0]] == unknown[tokens[-1] + 1]:
            places.append((int(tokens[0]), int(tokens[-1]) + 1, span.label_))
            values.append(np.nan if value is None else value)
    return places, values


def _classes(example: Example) -> tuple[NDArray[np.bool_], list[str], list[str]]:
    """Which tokens are scored, and the gold and the predicted class of each of them."""
    gold = gold_tags(example)
    scored = np.array([tag is not None for tag in gold], dtype=bool)
    pairs = zip(token_types(example.predicted), scored, strict=True)
    return (
        scored,
        [tag for tag in gold if tag is not None],
        [label for label, keep in pairs if keep],
    )


def _decisions(
    example: Example, predicted: Sequence[Span], key: str
) -> tuple[NDArray[np.bool_], Pairs]:
    """Which tokens are scored, and the gold and predicted types of each of them."""
    types = mention_types(example.reference, key)
    types |= {span.label_ for span in predicted}
    scheme = OverlappingScheme(sorted(types))
    columns = {label: number for number, label in enumerate(scheme.types)}
    gold = encode_mentions(example, scheme, key)
    marked = np.zeros(gold.tags.shape, dtype=bool)
    for span in predicted:
        marked[span.start : span.end, columns[span.label_]] = True
    scored = gold.known
    names = (OUTSIDE, *scheme.types)
    gold_types, predicted_types = (
        _of_tokens(scheme.classes(tags), scored, names) for tags in (gold.tags, marked)
    )
    return scored, Pairs(gold_types, predicted_types, [np.nan] * len(predicted_types))


def _of_tokens(
    classes: NDArray[np.bool_], scored: NDArray[np.bool_], names: Sequence[str]
) -> list[Place]:
    """The classes of scored tokens as mentions of one token.

    classes (bool [T, C]): Whether a token is of a class.
    """
    tokens, columns = (classes & scored[:, None]).nonzero()
    pairs = zip(tokens.tolist(), columns.tolist(), strict=True)
    return [(token, token + 1, names[column]) for token, column in pairs]
