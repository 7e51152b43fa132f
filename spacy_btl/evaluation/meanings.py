"""What each figure is called and what it says, for readers."""

from typing import NamedTuple


class Figure(NamedTuple):
    """How a figure is called and what it means, in one line.

    percent: It is a share, shown in percent.
    lower_is_better: As an error is.
    """

    group: str
    title: str
    meaning: str
    percent: bool = True
    lower_is_better: bool = False


TOKENS, STRICT, PARTIAL = "Tokens", "Entities, exact", "Entities, overlapping"
CALIBRATION = "Calibration"
FIGURES = {
    "uar": Figure(
        TOKENS,
        "UAR",
        "Unweighted average recall: the share of a class's tokens that is found, averaged over "
        "the entity types and O. A rare type counts as much as a common one.",
    ),
    "uar_types": Figure(
        TOKENS, "UAR, types only", "The same over the entity types alone, without O."
    ),
    "token_macro_f": Figure(
        TOKENS,
        "Token macro F1",
        "F1 balances what is found against what is claimed in vain; averaged over the classes.",
    ),
    "token_accuracy": Figure(
        TOKENS,
        "Token accuracy",
        "The share of tokens whose class is right. Mostly about O and the common types.",
    ),
    "entity_micro_p": Figure(
        STRICT,
        "Precision",
        "Of the entities that the model reports, the share whose boundaries and type are right.",
    ),
    "entity_micro_r": Figure(
        STRICT,
        "Recall",
        "Of the annotated mentions that do not overlap, the share that is found with the right "
        "boundaries and type.",
    ),
    "entity_micro_r_all": Figure(
        STRICT,
        "Recall, overlapping mentions too",
        "The same of all annotated mentions: those too that overlap others, which cannot be told "
        "by one label per token.",
    ),
    "entity_micro_f": Figure(
        STRICT, "Micro F1", "Precision and recall in one number, over all mentions alike."
    ),
    "entity_macro_f": Figure(
        STRICT, "Macro F1", "The mean of the types' F1. A rare type counts as much as a common one."
    ),
    "partial_micro_f": Figure(
        PARTIAL,
        "Partial micro F1",
        "As micro F1, but an entity that only overlaps a mention of its type counts half.",
    ),
    "partial_macro_f": Figure(PARTIAL, "Partial macro F1", "The mean of the types' partial F1."),
    "token_ece": Figure(
        CALIBRATION,
        "Token ECE",
        "Expected calibration error: how far the stated probability of a token's class is from "
        "the share that is right, on average. 0 is best.",
        lower_is_better=True,
    ),
    "token_brier": Figure(
        CALIBRATION,
        "Token Brier score",
        "The squared error of a token's class probabilities, summed over the classes. 0 is best.",
        percent=False,
        lower_is_better=True,
    ),
    "token_nll": Figure(
        CALIBRATION,
        "Token NLL",
        "Negative log-likelihood of the right class, in nats per token. 0 is best.",
        percent=False,
        lower_is_better=True,
    ),
    "entity_ece": Figure(
        CALIBRATION,
        "Entity ECE",
        "How far the stated confidence of an entity is from the share that is right, on average. "
        "0 is best.",
        lower_is_better=True,
    ),
    "entity_brier": Figure(
        CALIBRATION,
        "Entity Brier score",
        "The mean squared error of the entities' confidence. 0 is best.",
        percent=False,
        lower_is_better=True,
    ),
    "entity_nll": Figure(
        CALIBRATION,
        "Entity NLL",
        "Negative log-likelihood of entities being right or wrong, in nats per entity. 0 is best.",
        percent=False,
        lower_is_better=True,
    ),
}
