"""The names of all measures, and what each of them means: for code, reports and documentation.

A measure has one key everywhere: in the scores of `spacy train`, of `evaluate`, of experiments, and
in a package's `meta.json`. Keys follow spaCy: `ents_` for entities, `spans_btl_` for mentions
that may overlap, `tag_` for the classes of tokens, which are the entity types and `O`.
"""

from collections.abc import Collection
from typing import NamedTuple


class Measure(NamedTuple):
    """The title of a measure and its meaning, in one line.

    percent: It is a share, shown in percent.
    lower_is_better: As for an error.
    """

    group: str
    title: str
    meaning: str
    percent: bool = True
    lower_is_better: bool = False


STRICT, PARTIAL, TOKENS = "Entities, exact", "Entities, overlapping", "Tokens"
MENTIONS = "Mentions, exact"
CALIBRATION = "Calibration"
# In the order in which they are shown.
MEASURES = {
    "spans_btl_p": Measure(
        MENTIONS,
        "mention precision",
        "The share of predicted mentions, overlapping or not, whose boundaries and type are both "
        "correct. Of a pipeline without a group of spans, they are the entities.",
    ),
    "spans_btl_r": Measure(
        MENTIONS,
        "mention recall",
        "The share of all annotated mentions, overlapping or not, that are predicted with the "
        "correct boundaries and type.",
    ),
    "spans_btl_f": Measure(
        MENTIONS,
        "mention micro F1",
        "The harmonic mean of mention precision and recall. Each mention counts the same.",
    ),
    "spans_btl_macro_f": Measure(
        MENTIONS, "mention macro F1", "The mean F1 over the types of mentions."
    ),
    "spans_btl_r_lost": Measure(
        MENTIONS,
        "recall of lost mentions",
        "Mention recall over the mentions that are not in the annotated `doc.ents`, because they "
        "overlap others: one label per token cannot express them.",
    ),
    "ents_p": Measure(
        STRICT,
        "entity precision",
        "The share of predicted entities whose boundaries and type are both correct.",
    ),
    "ents_r": Measure(
        STRICT,
        "entity recall",
        "The share of annotated entities that are predicted with the correct boundaries and type. "
        "Annotated entities do not overlap.",
    ),
    "ents_f": Measure(
        STRICT,
        "entity micro F1",
        "The harmonic mean of entity precision and recall. Each mention counts the same.",
    ),
    "ents_macro_f": Measure(
        STRICT, "entity macro F1", "The mean F1 of the entity types. Each type counts the same."
    ),
    "ents_partial_f": Measure(
        PARTIAL,
        "partial micro F1",
        "As entity micro F1, but an entity that only overlaps a mention of its type counts half.",
    ),
    "ents_partial_macro_f": Measure(
        PARTIAL, "partial macro F1", "The mean partial F1 of the entity types."
    ),
    "tag_uar": Measure(
        TOKENS,
        "UAR",
        "Unweighted average recall: the mean token recall of the classes, `O` included. The paper "
        "(arXiv 2409.03238) calls it unweighted accuracy. Where predicted mentions can overlap, "
        "each class is a decision of its own: a token is of the type of every mention that it is "
        "in, and `O` if it is in none.",
    ),
    "tag_uar_types": Measure(
        TOKENS, "UAR, types only", "The mean token recall of the entity types, without `O`."
    ),
    "tag_macro_f": Measure(
        TOKENS,
        "token macro F1",
        "The mean token F1 of the classes, `O` included.",
    ),
    "tag_accuracy": Measure(
        TOKENS,
        "token accuracy",
        "The share of tokens whose class is correct. `O` and the common types dominate it. Absent "
        "where predicted mentions can overlap.",
    ),
    "tag_ece": Measure(
        CALIBRATION,
        "token ECE",
        "Expected calibration error: the mean gap between the probability of a token's most "
        "probable class and the share of such tokens that are correct, over 15 bins.",
        lower_is_better=True,
    ),
    "tag_brier": Measure(
        CALIBRATION,
        "token Brier score",
        "The squared error of a token's class probabilities, summed over the classes, so from 0 "
        "to 2.",
        percent=False,
        lower_is_better=True,
    ),
    "tag_nll": Measure(
        CALIBRATION,
        "token NLL",
        "The negative log-likelihood of a token's annotated class, in nats. Probabilities are "
        "clipped at 1.2e-7.",
        percent=False,
        lower_is_better=True,
    ),
    "ents_ece": Measure(
        CALIBRATION,
        "entity ECE",
        "Expected calibration error: the mean gap between the confidence of predicted entities and "
        "the share of them that are correct, over 15 bins.",
        lower_is_better=True,
    ),
    "ents_brier": Measure(
        CALIBRATION,
        "entity Brier score",
        "The squared error of an entity's confidence.",
        percent=False,
        lower_is_better=True,
    ),
    "ents_nll": Measure(
        CALIBRATION,
        "entity NLL",
        "The negative log-likelihood of an entity being correct or not, in nats. Confidence is "
        "clipped at 1.2e-7.",
        percent=False,
        lower_is_better=True,
    ),
    "spans_btl_ece": Measure(
        CALIBRATION,
        "mention ECE",
        "As entity ECE, of all predicted mentions, overlapping or not.",
        lower_is_better=True,
    ),
    "spans_btl_brier": Measure(
        CALIBRATION,
        "mention Brier score",
        "The squared error of a mention's confidence.",
        percent=False,
        lower_is_better=True,
    ),
    "spans_btl_nll": Measure(
        CALIBRATION,
        "mention NLL",
        "As entity NLL, of all predicted mentions.",
        percent=False,
        lower_is_better=True,
    ),
}
KINDS = ("spans_btl", "ents")
# What is measured of each entity type.
TYPE_MEASURES = {
    **{f"{kind}_{letter}": MEASURES[f"{kind}_{letter}"] for kind in KINDS for letter in "prf"},
    "tag_r": Measure(
        TOKENS, "token recall", "The share of a type's annotated tokens that are predicted as it."
    ),
    "tag_f": Measure(
        TOKENS, "token F1", "The harmonic mean of the token precision and recall of a type."
    ),
}


def headline(measured: Collection[str]) -> dict[str, Measure]:
    """The measured shares, which summaries show; the others are in the report only."""
    return {key: one for key, one in MEASURES.items() if one.percent and key in measured}
