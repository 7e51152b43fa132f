"""The logits on docs: the pipe that writes them, and how a calibrator reads them."""

from collections.abc import Sequence
from dataclasses import fields

import numpy as np
from numpy.typing import NDArray
from spacy.language import Language
from spacy.tokens import Doc

from spacy_btl.calibration.datastore import Datastore, LabelledRows
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

    network (str): The digest of its head; empty, while there is none, for the only pipe there is.
    preferred (str): The name of several such pipes to choose, if it is one of them.
    """
    pipes = [(name, pipe) for name, pipe in nlp.components if isinstance(pipe, BtlNer)]
    if network:
        pipes = [(name, pipe) for name, pipe in pipes if head_digest(pipe.model) == network]
    names = [name for name, _ in pipes]
    if preferred in names:
        return preferred
    return names[0] if names and (network or len(names) == 1) else None


def read_logits(
    docs: Sequence[Doc], scheme: TagScheme, *, ner: str, reader: str
) -> NDArray[np.float32]:
    """The raw logits on docs, float32 [N, C] for their N tokens.

    scheme (TagScheme): The tags that their columns have to stand for.
    ner (str): The name of the pipe that wrote them, for an error.
    reader (str): The name of the pipe that reads them.
    RAISES: CalibratorError, if there are none, those of other tags or tokens, or those of a pipe
        with `spans_key` where mentions do not overlap, and the other way round.
    """
    rows = [np.zeros((0, scheme.n_columns), "float32")]
    for doc in docs:
        logits = doc._.get(LOGITS)
        if logits is None:
            raise CalibratorError(
                f"A doc reached '{reader}' without token logits. It must run after the btl_ner "
                f"pipe '{ner}' and before any doc_cleaner that drops `doc._.{LOGITS}`."
            )
        tags = tuple(doc.user_data.get(WRITER, {}).get("tags", scheme.tags))
        if logits.shape[1] != scheme.n_columns or tags != scheme.tags:
            raise CalibratorError(
                f"A doc reached '{reader}' with the logits of other tags than it knows, or with "
                "another spans_key. It must "
                f"run after the btl_ner pipe '{ner}', and before any other; or be fitted again."
            )
        if len(logits) != len(doc):
            raise CalibratorError(
                f"A doc reached '{reader}' with other tokens than '{ner}' read: put '{reader}' "
                "before the pipe that merges or splits tokens."
            )
        rows.append(logits)
    return np.concatenate(rows)


def are_of_network(docs: Sequence[Doc], network: str) -> bool:
    """Whether the logits on docs are of a network, as far as that is known.

    network (str): The digest of its head; empty where it is not known.
    """
    for doc in docs:
        writer = doc.user_data.get(WRITER, {}).get("network", "")
        if network and writer not in ("", network):
            return False
    return True


def has_logits_of(doc: Doc, network: str) -> bool:
    """Whether a doc still has the logits of its tokens, of that network. A `doc_cleaner` may have
    dropped them, or another `btl_ner` put its own in their place."""
    logits = doc._.get(LOGITS)
    return logits is not None and len(logits) == len(doc) and are_of_network([doc], network)


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


def make_datastore(ner: BtlNer, rows: LabelledRows) -> Datastore:
    """A datastore of labelled rows, with the logits of the tags alone, and the training frequencies
    of the `ner` pipe's tags; with those of the rows where the former are not known, as of a network
    that was trained elsewhere."""
    prior, scheme = ner.prior, ner.tag_scheme
    if not ner.tag_counts.any():
        counts = scheme.count_tags(rows.tags) + 1.0
        prior = counts / counts.sum(axis=-1, keepdims=True)
    arrays = {field.name: getattr(rows, field.name) for field in fields(LabelledRows)}
    arrays["logits"] = rows.logits[:, : len(scheme)]
    network = head_digest(ner.model) if len(rows.tags) else ""
    return Datastore(
        **arrays, prior=prior, labels=scheme.types, scheme=scheme.scheme, network=network
    )
