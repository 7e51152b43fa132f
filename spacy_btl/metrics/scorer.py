"""The registered scorer of the pipes: the scores of `metrics.scores`, in spaCy's form.

Tokens are scored by entity type (or `O`), whatever the tag scheme: those of the predicted doc that
are annotated and not white space. Where mentions overlap, all of them are scored besides.
"""

from collections.abc import Callable, Iterable, Sequence
from math import isnan
from typing import Any

import numpy as np
from numpy.typing import NDArray
from spacy import registry
from spacy.training import Example

from spacy_btl.mentions import MENTIONS
from spacy_btl.metrics.counts import Counts, document_counts, total
from spacy_btl.metrics.predictions import as_predictions
from spacy_btl.metrics.rows import Group, read_example
from spacy_btl.metrics.scores import SPANS_KEYS, precision_recall_f, scores
from spacy_btl.tags import trim_gold

Scorer = Callable[..., dict[str, Any]]

ENTITY_KEYS = ("ents_p", "ents_r", "ents_f")
TAG_KEYS = ("tag_uar", "tag_macro_f")
MACRO_KEYS = ("ents_macro_f", *TAG_KEYS)
SPANS_PER_TYPE = "spans_btl_per_type"


@registry.scorers("spacy_btl.NerScorer.v1")
def make_ner_scorer() -> Scorer:
    """Create the scorer of `btl_ner`: see `score_ner`.

    >>> from spacy_btl import make_ner_scorer, score_ner
    >>> make_ner_scorer() is score_ner
    True
    """
    return score_ner


def score_ner(
    examples: Iterable[Example],
    *,
    spans_key: str | None = None,
    mentions_key: str = MENTIONS,
    **kwargs: Any,
) -> dict[str, Any]:
    """Score entities and tokens.

    spans_key (Optional[str]): The group of predicted mentions, if they may overlap.
    mentions_key (str): The group of gold mentions, which is read with `spans_key`.
    RETURNS (Dict[str, Any]): `ents_p`, `ents_r`, `ents_f` and `ents_per_type`, as from spaCy's
        `get_ner_prf`; `ents_macro_f`, the mean F1 of the entity types; `tag_uar`, the mean recall
        of the token classes, `O` included ("unweighted accuracy" in arXiv 2409.03238);
        `tag_macro_f`, their mean F1. Means are over the types or classes in the gold annotation.
        From 0 to 1; None without annotation. With `spans_key`, or where annotated mentions overlap,
        also `spans_btl_p`, `spans_btl_r`, `spans_btl_f`, `spans_btl_macro_f` and
        `spans_btl_per_type`, over all mentions. With `spans_key` a token counts in every class that
        it is of, see `measures.MEASURES`.

    >>> from spacy_btl import score_ner
    >>> scores = score_ner(examples)
    >>> 0 <= scores["tag_uar"] <= 1
    True
    """
    group = None if spans_key is None else Group(spans_key, mentions_key)
    rows = [read_example(trim_gold(example), group=group) for example in examples]
    predictions = as_predictions(rows)
    counts = total(document_counts(predictions))
    values = _values(counts)
    scored: dict[str, Any] = {key: values[key] for key in MACRO_KEYS}
    for kind, keys, per_type_key in (
        ("entities", ENTITY_KEYS, "ents_per_type"),
        ("mentions", SPANS_KEYS, SPANS_PER_TYPE),
    ):
        if kind in counts or group is not None:
            per_type = _per_type(predictions.classes, counts[kind]) if kind in counts else None
            scored |= {key: values[key] if per_type else None for key in keys}
            scored[per_type_key] = per_type or None
    return scored


def _values(counts: Counts) -> dict[str, float | None]:
    values = {key: float(value) for key, value in scores(counts).items()}
    return {key: None if isnan(value) else value for key, value in values.items()}


def _per_type(classes: Sequence[str], counts: NDArray[np.float64]) -> dict[str, dict[str, float]]:
    """Precision, recall and F1 of the types that have a gold or predicted mention.

    counts (float64 [3, K]): Correct, gold and predicted mentions.
    """
    columns = (column.tolist() for column in precision_recall_f(counts))
    present = counts[1:].sum(axis=0).tolist()
    return {
        label: {"p": p, "r": r, "f": f}
        for label, p, r, f, n in zip(classes[1:], *columns, present, strict=True)
        if n
    }
