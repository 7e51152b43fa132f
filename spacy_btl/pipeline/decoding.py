"""From class probabilities to entities and their confidence."""

from collections.abc import Sequence

import numpy as np
from spacy.tokens import Doc, Span

from spacy_btl.calibration.calibration_maps import ConfidenceMap
from spacy_btl.calibration.tau import Tau, tau_per_tag
from spacy_btl.calibration.viterbi import Transitions, decide
from spacy_btl.calibration.votes import Probabilities
from spacy_btl.lines import white_space
from spacy_btl.tags import TagScheme


def decode(
    docs: Sequence[Doc],
    probabilities: Sequence[Probabilities],
    *,
    scheme: TagScheme,
    prior: Probabilities,
    tau: Tau,
    transitions: Transitions | None = None,
    weight: float = 0.0,
    confidence_map: ConfidenceMap | None = None,
) -> list[tuple[list[Span], list[float]]]:
    """Decide the entities of docs.

    probabilities (Sequence[float64 [T, C]]): Class probabilities.
    prior (float64 [C]): Training frequencies, all positive.
    tau (float | Dict[str, float]): How far to favour rare types. One number, or one per type.
    transitions (Optional[Transitions]), weight (float): Which tag follows which, and what it
        counts.
    confidence_map (Optional[ConfidenceMap]): From `span_confidence` to how often such an entity is
        right; None leaves it as it is.
    RETURNS (List[Tuple[List[Span], List[float]]]): For each doc entities, and the confidence of
        each: by p, and not by the shifted scores that decide.
    RAISES: CalibratorError, if tau names a type that is not in the scheme.
    """
    if not docs:
        return []
    # White space has no tag of its own: the words on both sides of it follow each other.
    words = [~white_space(doc) for doc in docs]
    decided = decide(
        np.concatenate([p[of_doc] for p, of_doc in zip(probabilities, words, strict=True)]),
        prior,
        tau_per_tag(tau, scheme),
        documents=np.repeat(np.arange(len(docs)), [of_doc.sum() for of_doc in words]),
        transitions=transitions,
        weight=weight,
    )
    tags = np.zeros(sum(map(len, docs)), dtype="int64")
    tags[np.concatenate(words)] = decided
    decoded = []
    per_doc = np.split(tags, np.cumsum([len(doc) for doc in docs])[:-1])
    for doc, p, doc_tags in zip(docs, probabilities, per_doc, strict=True):
        spans = scheme.decode(doc, doc_tags)
        confidences = [span_confidence(span, p, scheme) for span in spans]
        if confidence_map is not None:
            confidences = confidence_map(np.array(confidences)).tolist()
        decoded.append((spans, confidences))
    return decoded


def span_confidence(span: Span, p: Probabilities, scheme: TagScheme) -> float:
    """How sure a span is: the least of its words' probabilities of being of its type."""
    columns = scheme.tag_types == 1 + scheme.types.index(span.label_)
    words = [token.i for token in span if not token.is_space]  # white space is `O` by itself
    least = p[np.ix_(words, columns)].sum(axis=1).min()
    return min(1.0, float(least))  # a sum of probabilities may round to more than 1
