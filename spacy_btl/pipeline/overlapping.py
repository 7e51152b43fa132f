"""From raw logits to mentions that may overlap: a binary decision for each token and type."""

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from spacy.tokens import Doc, Span

from spacy_btl.lines import Lines
from spacy_btl.mentions import TypeTags, decode_mentions
from spacy_btl.tags import TagScheme

Logits = NDArray[np.float32]


def binary_tags(logits: Logits, scheme: TagScheme) -> TypeTags:
    """The most probable of `O` and a type's own tags, for every type: int8 [W, K].

    A row of zeros, of a token that the encoder never saw, is outside all types.

    logits (float32 [W, C]): Raw logits of words.
    """
    tags = np.zeros((len(logits), len(scheme.types)), dtype="int8")
    top = np.repeat(logits[:, :1], len(scheme.types), axis=1)
    for tag, column in enumerate(_columns(scheme), start=1):
        better = logits[:, column] > top
        tags[better] = tag
        top = np.maximum(top, logits[:, column])
    return tags


def binary_probabilities(logits: Logits, scheme: TagScheme) -> NDArray[np.float32]:
    """The probability of each type against `O`, whatever else a token is: float32 [W, K]."""
    of_tags = [logits[:, column] - logits[:, :1] for column in _columns(scheme)]
    total = of_tags[0]
    for other in of_tags[1:]:
        total = np.logaddexp(total, other)
    return expit(total)


def _columns(scheme: TagScheme) -> list[slice]:
    """The columns of the first tag of each type, and of the second ones."""
    return [slice(1 + tag, None, scheme.width) for tag in range(scheme.width)]


def decode_overlapping(
    doc: Doc, logits: Logits, lines: Lines, scheme: TagScheme
) -> tuple[list[Span], list[float]]:
    """The mentions of a doc, and the confidence of each.

    logits (float32 [W, C]): Those of its words.
    lines (Lines): Those of the doc.
    RETURNS (Tuple[List[Span], List[float]]): Sorted spans; confidence is the minimum, over a span's
        words, of the probability of its type.
    """
    spans = decode_mentions(doc, binary_tags(logits, scheme), lines, scheme)
    p = binary_probabilities(logits, scheme)
    columns = {label: number for number, label in enumerate(scheme.types)}
    borders = np.searchsorted(lines.words, [(span.start, span.end) for span in spans])
    confidences = [
        float(p[first:end, columns[span.label_]].min())
        for span, (first, end) in zip(spans, borders.tolist(), strict=True)
    ]
    return spans, confidences
