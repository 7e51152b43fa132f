"""Logits for a calibrator: who makes them, how they are read, and the store of labelled ones."""

from dataclasses import fields

import numpy as np
from numpy.typing import NDArray
from spacy.language import Language
from spacy.tokens import Doc

from spacy_btl.calibration.datastore import LabelledRows, Store
from spacy_btl.errors import CalibratorError
from spacy_btl.models.token_logits import head_digest
from spacy_btl.pipeline.annotations import LOGITS, WRITER
from spacy_btl.pipeline.btl_ner import BtlNer
from spacy_btl.tags import TagScheme


def pipes_from(nlp: Language, name: str) -> list[str]:
    """The names of a pipe and of the pipes after it.

    RAISES: CalibratorError, if there is none of that name, or it is disabled.
    """
    names = nlp.pipe_names
    if name not in names:
        raise CalibratorError(f"'{name}' is not in the pipeline {names}: add or enable it first.")
    return names[names.index(name) :]


def run_before(nlp: Language, doc: Doc, name: str) -> Doc:
    """Run the pipes before one of that name over the tokens of a doc, in a new doc."""
    spaces = [bool(token.whitespace_) for token in doc]
    fresh = Doc(nlp.vocab, words=[token.text for token in doc], spaces=spaces)
    return nlp(fresh, disable=pipes_from(nlp, name))


def find_ner(nlp: Language, name: str, *, reader: str) -> BtlNer:
    """The `btl_ner` pipe of that name, enabled or not.

    reader (str): The name of the pipe that wants its logits, for an error.
    RAISES: CalibratorError, if there is none.
    """
    ner = nlp.get_pipe(name) if name in nlp.component_names else None
    if not isinstance(ner, BtlNer):
        raise CalibratorError(
            f"'{reader}' reads the logits of a btl_ner pipe named '{name}', and the "
            f"pipeline {nlp.component_names} has none. Add one, or set `ner` to its name."
        )
    return ner


def name_of_network(nlp: Language, network: str, preferred: str) -> str | None:
    """What the `btl_ner` pipe of a network is called in a pipeline; None if it is not there.

    network (str): The digest of its head.
    preferred (str): The name of several such pipes to choose, if it is one of them.
    """
    pipes = [(name, pipe) for name, pipe in nlp.components if isinstance(pipe, BtlNer)]
    names = [name for name, pipe in pipes if head_digest(pipe.model) == network]
    return preferred if preferred in names else next(iter(names), None)


def check_labels(store: Store, ner: BtlNer, *, reader: str) -> None:
    """RAISES: CalibratorError, if a store has other tags than the pipe that writes the logits."""
    scheme = ner.tag_scheme
    if (scheme.types, scheme.scheme) != (store.labels, store.scheme):
        raise CalibratorError(
            f"'{reader}' was fitted to other labels or another tag scheme than those of "
            f"the pipe '{ner.name}'. Fit the calibrator again."
        )


def check_size(rows: LabelledRows, n_neighbors: int, *, reader: str) -> None:
    """RAISES: CalibratorError, if there are fewer rows than neighbours to find."""
    if len(rows.tags) < n_neighbors:
        raise CalibratorError(
            f"'{reader}' has {len(rows.tags)} annotated tokens to search, fewer than "
            f"n_neighbors = {n_neighbors}. Fit it on a larger corpus, or set fewer neighbours."
        )


def read_logits(doc: Doc, scheme: TagScheme, *, ner: str, reader: str) -> NDArray[np.float32]:
    """The raw logits on a doc, float32 [T, C].

    ner (str): The name of the pipe that wrote them, for an error.
    reader (str): The name of the pipe that wants them.
    scheme (TagScheme): The tags that their columns have to stand for.
    RAISES: CalibratorError, if there are none, those of other tags, or those of other tokens.
    """
    logits = doc._.get(LOGITS)
    if logits is None:
        raise CalibratorError(
            f"A doc reached '{reader}' without token logits. It must run after the btl_ner pipe "
            f"'{ner}' and before any doc_cleaner that drops `doc._.{LOGITS}`."
        )
    tags = doc.user_data.get(WRITER, {}).get("tags", scheme.tags)
    if logits.shape[1] != len(scheme) or tuple(tags) != scheme.tags:
        raise CalibratorError(
            f"A doc reached '{reader}' with the logits of other tags than it knows. It must "
            f"run after the btl_ner pipe '{ner}', and before any other; or be fitted again."
        )
    if len(logits) != len(doc):
        raise CalibratorError(
            f"A doc reached '{reader}' with other tokens than '{ner}' read: put '{reader}' before "
            "the pipe that merges or splits tokens."
        )
    return logits


def network_of(doc: Doc) -> str:
    """The digest of the network that the logits on a doc are of; empty where it is not known."""
    return doc.user_data.get(WRITER, {}).get("network", "")


def has_logits_of(doc: Doc, store: Store) -> bool:
    """Whether a doc still has the logits of its tokens, of the network that a store is of. Since
    then a `doc_cleaner` may have dropped them, or another `btl_ner` put its own in their place."""
    logits = doc._.get(LOGITS)
    is_of_store = not store.network or network_of(doc) in ("", store.network)
    return logits is not None and len(logits) == len(doc) and is_of_store


def hiding_pipes(nlp: Language) -> list[str]:
    """The pipes that take from a doc what ours left there: a `doc_cleaner` the logits, and one that
    merges or splits tokens, behind ours, the tokens that logits and probabilities are of."""
    hiding, behind_ours = [], False
    for name in nlp.pipe_names:
        meta = nlp.get_pipe_meta(name)
        behind_ours |= meta.factory in ("btl_ner", "knn_calibrator")
        if meta.factory == "doc_cleaner" or (behind_ours and meta.retokenizes):
            hiding.append(name)
    return hiding


def make_store(ner: BtlNer, rows: LabelledRows) -> Store:
    """A store of labelled rows with the training frequencies of the `ner` pipe's tags, or those of
    the rows where they are not known: of a network that was trained elsewhere."""
    prior = ner.prior
    if not ner.tag_counts.any():
        counts = np.bincount(rows.tags, minlength=len(prior)) + 1.0
        prior = counts / counts.sum()
    kept = {field.name: getattr(rows, field.name) for field in fields(LabelledRows)}
    return Store(**kept, prior=prior, labels=ner.labels, scheme=ner.tag_scheme.scheme)
