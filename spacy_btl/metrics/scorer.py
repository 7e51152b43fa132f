"""What is measured: entities as spaCy scores them, tokens by class.

Token figures compare entity types (and `O`) over the tokens of the predicted doc that are annotated
and not white space, whatever the tag scheme.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from spacy import registry
from spacy.scorer import get_ner_prf
from spacy.training import Example

from spacy_btl.tags import gold_tags, token_types, trim_gold

Scorer = Callable[..., dict[str, Any]]
Confusion = Mapping[tuple[str, str], int]


@registry.scorers("spacy_btl.NerScorer.v1")
def make_ner_scorer() -> Scorer:
    """The scorer of `btl_ner`: see `score_ner`.

    >>> from spacy_btl import make_ner_scorer, score_ner
    >>> make_ner_scorer() is score_ner
    True
    """
    return score_ner


def score_ner(examples: Iterable[Example], **kwargs: Any) -> dict[str, Any]:
    """Score entities and tokens.

    RETURNS (Dict[str, Any]): spaCy's `ents_p`, `ents_r`, `ents_f`, `ents_per_type`;
        `ents_macro_f`, the mean F of the entity types in the gold annotation; `tag_uar`, the mean
        recall of the token classes in it, `O` included ("unweighted accuracy" in arXiv
        2409.03238); `tag_macro_f`, their mean F. From 0 to 1; None without annotation.

    >>> from spacy_btl import score_ner
    >>> scores = score_ner(examples)
    >>> 0 <= scores["tag_uar"] <= 1
    True
    """
    examples = [trim_gold(example) for example in examples]
    scores = get_ner_prf(examples)
    gold_types = {ent.label_ for example in examples for ent in example.reference.ents}
    per_type = scores["ents_per_type"] or {}
    scores["ents_macro_f"] = _mean(per_type[label]["f"] for label in gold_types)
    per_class = token_scores(token_confusion(examples)).values()
    scores["tag_uar"] = _mean(recall for _, recall, _ in per_class)
    scores["tag_macro_f"] = _mean(f for _, _, f in per_class)
    return scores


def token_confusion(examples: Iterable[Example]) -> Counter[tuple[str, str]]:
    """Count (gold class, predicted class) over the annotated tokens."""
    return Counter(
        (gold, predicted)
        for example in examples
        for gold, predicted in zip(gold_tags(example), token_types(example.predicted), strict=True)
        if gold is not None
    )


def token_scores(confusion: Confusion) -> dict[str, tuple[float, float, float]]:
    """Precision, recall and F1 of each class that the gold annotation holds."""
    gold: Counter[str] = Counter()
    predicted: Counter[str] = Counter()
    for (gold_class, predicted_class), count in confusion.items():
        gold[gold_class] += count
        predicted[predicted_class] += count
    return {
        label: (
            confusion[label, label] / max(predicted[label], 1),
            confusion[label, label] / gold[label],
            2 * confusion[label, label] / (predicted[label] + gold[label]),
        )
        for label in gold
    }


def _mean(values: Iterable[float]) -> float | None:
    numbers = list(values)
    return sum(numbers) / len(numbers) if numbers else None
