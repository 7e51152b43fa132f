"""Counts of mentions that may overlap, and of tokens that may be of several types."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from spacy.tokens import Span
from spacy.training import Example

from spacy_btl.mentions import (
    Place,
    annotated_rows,
    annotated_tokens,
    encode_mentions,
    mention_types,
    read_mentions,
)
from spacy_btl.metrics.counts import Counts
from spacy_btl.tags import OUTSIDE, TagScheme


def mention_counts(
    examples: Iterable[Example], spans_key: str, mentions_key: str
) -> tuple[tuple[str, ...], Counts]:
    """Count correct, gold and predicted mentions, and tokens, over all documents.

    A mention counts once, however often the annotation has it. Each class of tokens is counted by
    itself: a token is of every type that a mention of it has, and `O` if it is in none.

    spans_key (str): The group of predicted spans.
    mentions_key (str): The group of gold mentions.
    RETURNS (Tuple[Tuple[str, ...], Dict[str, float64]]): The C classes, `O` first; and `entities`
        [3, C - 1] and `tokens` [3, C].
    """
    examples = list(examples)
    types = sorted(set().union(*(_types(one, spans_key, mentions_key) for one in examples)))
    scheme = TagScheme(types)
    entities, tokens = np.zeros((3, len(types))), np.zeros((3, len(types) + 1))
    numbers = {label: number for number, label in enumerate(types)}
    for example in examples:
        gold = set(read_mentions(example.reference, mentions_key))
        predicted = set(predicted_mentions(example, spans_key, mentions_key))
        for row, mentions in enumerate((gold & predicted, gold, predicted)):
            labels = [numbers[label] for _, _, label in mentions]
            entities[row] += np.bincount(labels, minlength=len(types)) if labels else 0
        tokens += _token_counts(example, scheme, spans_key, mentions_key)
    return (OUTSIDE, *types), {"entities": entities, "tokens": tokens}


def predicted_mentions(example: Example, spans_key: str, mentions_key: str) -> list[Place]:
    """The predicted spans in the tokens of the reference, without those that touch tokens without
    annotation."""
    unknown = np.concatenate([[0], np.cumsum(~annotated_tokens(example.reference, mentions_key))])
    mentions = []
    for span in _predicted(example, spans_key):
        tokens = example.alignment.x2y[span.start : span.end]
        if len(tokens) and unknown[tokens[0]] == unknown[tokens[-1] + 1]:
            mentions.append((int(tokens[0]), int(tokens[-1]) + 1, span.label_))
    return mentions


def _predicted(example: Example, spans_key: str) -> Iterable[Span]:
    return example.predicted.spans.get(spans_key, ())


def _types(example: Example, spans_key: str, mentions_key: str) -> set[str]:
    predicted = {span.label_ for span in _predicted(example, spans_key)}
    return predicted | mention_types(example.reference, mentions_key)


def _token_counts(
    example: Example, scheme: TagScheme, spans_key: str, mentions_key: str
) -> NDArray[np.float64]:
    gold = encode_mentions(example, scheme, mentions_key).tags
    predicted = np.zeros(gold.shape, dtype=bool)
    columns = {label: number for number, label in enumerate(scheme.types)}
    for span in _predicted(example, spans_key):
        predicted[span.start : span.end, columns[span.label_]] = True
    annotated = annotated_rows(gold)
    of_gold, of_predicted = (_with_outside(tags[annotated]) for tags in (gold > 0, predicted))
    counted = (of_gold & of_predicted, of_gold, of_predicted)
    return np.stack([classes.sum(axis=0) for classes in counted]).astype(float)


def _with_outside(of_types: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """bool [T, C]: `O` beside the types."""
    return np.column_stack([~of_types.any(axis=1), of_types])
