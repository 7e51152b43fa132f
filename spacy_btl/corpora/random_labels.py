"""Labels drawn at random with given shares, for the bias test."""

from collections import Counter
from collections.abc import Sequence
from typing import Literal

import numpy as np
from spacy.tokens import Doc, Span

from spacy_btl.errors import CorpusError
from spacy_btl.tags import token_types

OUTSIDE = "O"
CORPUS = "corpus"  # the corpus's own shares

Per = Literal["token", "mention"]
# The share of each class; per mention, of each entity type.
Shares = dict[str, float]


def read_shares(text: str, docs: Sequence[Doc], per: Per) -> Shares:
    """Parse percentages as the shares of `O`, "T1", "T2" and so on (per mention without `O`), or
    count those of a corpus: of each class per token, or of each type per mention.

    text (str): As in "70/20/10", or "corpus".
    RAISES: CorpusError, unless there are two or more percentages above 0 with a sum of 100; or for
        a corpus with fewer than two classes.
    """
    if text == CORPUS:
        found = Counter(label for doc in docs for label in _labels(doc, per))
        if len(found) < 2:
            raise CorpusError(f"The corpus has fewer than two classes per {per}.")
        return {label: count / found.total() for label, count in sorted(found.items())}
    try:
        values = [float(part) / 100 for part in text.split("/")]
    except ValueError:
        values = []
    if len(values) < 2 or min(values) <= 0 or not np.isclose(sum(values), 1):
        raise CorpusError(
            f"{text!r} are no shares: give two or more percentages with a sum of 100, as in "
            f"70/20/10, or {CORPUS!r}."
        )
    outside = [OUTSIDE] if per == "token" else []
    names = [*outside, *(f"T{i}" for i in range(1, len(values) + 1))]
    return dict(zip(names, values, strict=False))


def _labels(doc: Doc, per: Per) -> list[str]:
    if per == "mention":
        return [ent.label_ for ent in doc.ents]
    pairs = zip(doc, token_types(doc), strict=True)
    return [label for token, label in pairs if token.ent_iob and not token.is_space]


def with_random_labels(doc: Doc, shares: Shares, per: Per, rng: np.random.Generator) -> Doc:
    """A copy of a doc with random entities.

    per (str): "token": every token that is not white space gets a random class. "mention": every
        mention stays in place and gets a random type, and missing annotation stays missing.
    """
    missing: list[int] = []
    if per == "token":
        places = [(token.i, token.i + 1) for token in doc if not token.is_space]
    else:
        places = [(ent.start, ent.end) for ent in doc.ents]
        missing = [token.i for token in doc if not token.ent_iob]
    labels = rng.choice(list(shares), size=len(places), p=list(shares.values())).tolist()
    copy = doc.copy()
    spans = [
        Span(copy, start, end, label=label)
        for (start, end), label in zip(places, labels, strict=True)
        if label != OUTSIDE
    ]
    copy.set_ents(spans, missing=[copy[i : i + 1] for i in missing], default="outside")
    return copy
