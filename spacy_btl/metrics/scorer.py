"""The registered scorer of the pipes: the scores of `metrics.scores`, in spaCy's form.

Tokens are scored by entity type (or `O`), whatever the tag scheme: those of the predicted doc that
are annotated and not white space.
"""

from collections.abc import Callable, Iterable
from math import isnan
from typing import Any

from spacy import registry
from spacy.training import Example

from spacy_btl.metrics.counts import document_counts, total
from spacy_btl.metrics.predictions import as_predictions, read_example
from spacy_btl.metrics.scores import precision_recall_f, scores
from spacy_btl.tags import trim_gold

Scorer = Callable[..., dict[str, Any]]

ENTITY_KEYS = ("ents_p", "ents_r", "ents_f")
MACRO_KEYS = ("ents_macro_f", "tag_uar", "tag_macro_f")


@registry.scorers("spacy_btl.NerScorer.v1")
def make_ner_scorer() -> Scorer:
    """Create the scorer of `btl_ner`: see `score_ner`.

    >>> from spacy_btl import make_ner_scorer, score_ner
    >>> make_ner_scorer() is score_ner
    True
    """
    return score_ner


def score_ner(examples: Iterable[Example], **kwargs: Any) -> dict[str, Any]:
    """Score entities and tokens.

    RETURNS (Dict[str, Any]): `ents_p`, `ents_r`, `ents_f` and `ents_per_type`, as from spaCy's
        `get_ner_prf`; `ents_macro_f`, the mean F1 of the entity types; `tag_uar`, the mean recall
        of the token classes, `O` included ("unweighted accuracy" in arXiv 2409.03238);
        `tag_macro_f`, their mean F1. Means are over the types or classes in the gold annotation.
        From 0 to 1; None without annotation.

    >>> from spacy_btl import score_ner
    >>> scores = score_ner(examples)
    >>> 0 <= scores["tag_uar"] <= 1
    True
    """
    predictions = as_predictions([read_example(trim_gold(example)) for example in examples])
    counts = total(document_counts(predictions))
    values = {key: float(value) for key, value in scores(counts).items()}
    per_type = {
        label: {"p": p, "r": r, "f": f}
        for label, p, r, f, n in zip(
            predictions.classes[1:],
            *(column.tolist() for column in precision_recall_f(counts["entities"])),
            counts["entities"][1:].sum(axis=0).tolist(),
            strict=True,
        )
        if n
    }
    return {
        **{key: values[key] if per_type else None for key in ENTITY_KEYS},
        "ents_per_type": per_type or None,
        **{key: None if isnan(values[key]) else values[key] for key in MACRO_KEYS},
    }
