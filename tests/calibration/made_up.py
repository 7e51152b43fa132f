"""Datastores and calibrators for tests of arrays, and what an entity's confidence is made from."""

from collections.abc import Sequence

import numpy as np
from spacy.tokens import Span

from spacy_btl.calibration.calibration_maps import Maps
from spacy_btl.calibration.calibrator import Calibrator
from spacy_btl.calibration.datastore import Datastore
from spacy_btl.tags import TagScheme


def made_up_datastore(
    scheme: TagScheme,
    tags: Sequence[int] | np.ndarray = (),
    *,
    logits: np.ndarray | None = None,
    prior: np.ndarray | None = None,
) -> Datastore:
    """Rows of one document with these tags; without logits and prior, with even ones."""
    n_rows, n_tags = len(tags), len(scheme)
    starts = np.arange(n_rows, dtype="int32")
    return Datastore(
        logits=np.ones((n_rows, n_tags), "float32") if logits is None else logits,
        tags=np.array(tags, dtype="int16"),
        documents=np.zeros(n_rows, "int32"),
        starts=starts,
        ends=starts + 1,
        prior=np.full(n_tags, 1 / n_tags) if prior is None else prior,
        labels=scheme.types,
        scheme=scheme.scheme,
    )


def deciding_calibrator(
    datastore: Datastore, *, maps: Maps | None = None, **settings: object
) -> Calibrator:
    """A calibrator that reads no neighbours, to decide by given probabilities."""
    calibrator = Calibrator(**{"knn_weight": 0, "transition_weight": 0, "tau": 0, **settings})
    calibrator.use(datastore)
    calibrator.maps = maps
    return calibrator


def minimum_probability(span: Span, p: np.ndarray, scheme: TagScheme) -> float:
    """The minimum, over the words of a span, of the probability [T, C] of its type."""
    columns = [tag in (span.label_, f"B-{span.label_}", f"I-{span.label_}") for tag in scheme.tags]
    of_words = [float(p[token.i, columns].sum()) for token in span if not token.is_space]
    return min(1.0, *of_words)
