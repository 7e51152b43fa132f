"""`knn_calibrator`: the final entities and their confidence, from the neighbours of raw logits.

The second half of arXiv 2409.03238 (section 4): a token takes the label of the labelled tokens
whose logits lie nearest to its own, and their votes are its class probabilities.
"""

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax
from spacy import util
from spacy.language import Language
from spacy.pipeline import Pipe
from spacy.tokens import Doc
from spacy.training import Example

from spacy_btl.errors import CalibratorError
from spacy_btl.neighbors.search import Search
from spacy_btl.neighbors.store import Store
from spacy_btl.neighbors.votes import Probabilities, Votes, smooth, vote_shares
from spacy_btl.pipeline.annotations import LOGITS, PROBABILITIES, install_extensions, set_entities
from spacy_btl.pipeline.btl_ner import BtlNer
from spacy_btl.pipeline.decoding import Tau, decode
from spacy_btl.pipeline.labelled_logits import (
    empty_store,
    labelled_logits,
    make_store,
    read_logits,
)
from spacy_btl.pipeline.stream import annotate_stream
from spacy_btl.tags import O_TAG, TagScheme

STORE_FILE = "store.safetensors"
# What the file of a calibrator without a store holds. An empty file is a damaged one.
UNFITTED = b"not fitted"


@Language.factory(
    "knn_calibrator",
    requires=[f"doc._.{LOGITS}"],
    assigns=[
        "doc.ents",
        "token.ent_iob",
        "token.ent_type",
        f"doc._.{PROBABILITIES}",
        "span._.confidence",
    ],
    default_config={
        "ner": "ner",
        "n_neighbors": 17,
        "votes": "uniform",
        "mix": 1.0,
        "tau": 0.0,
        "search": {"@misc": "spacy_btl.SklearnSearch.v1"},
    },
)
def make_knn_calibrator(
    nlp: Language,
    name: str,
    ner: str,
    n_neighbors: int,
    votes: Votes,
    mix: float,
    tau: Tau,
    search: Search,
) -> "KnnCalibrator":
    """Make a `knn_calibrator` pipe.

    ner (str): The name of the `btl_ner` pipe whose logits it reads.
    n_neighbors (int): How many neighbours vote; 17 in the paper.
    votes (str): "uniform", or "distance" (by inverse distance).
    mix (float): p = mix * p_kNN + (1 - mix) * softmax(logits). 1 is the paper; 0 needs no fitting.
    tau (float | Dict[str, float]): Shifts decisions towards rare types: a token's label is
        argmax(log p - tau * log prior). 0 is the paper. One number, or one per type (0 if absent).
    search (Search): How neighbours are found.
    """
    return KnnCalibrator(
        nlp,
        name=name,
        ner=ner,
        n_neighbors=n_neighbors,
        votes=votes,
        mix=mix,
        tau=tau,
        search=search,
    )


class KnnCalibrator(Pipe):
    """Decides entities and their confidence from raw logits. Unfitted, it lets docs pass.

    n_neighbors, votes, mix and tau may be changed between calls; what a saved pipeline starts with
    is in its config.
    """

    def __init__(
        self,
        nlp: Language | None,
        *,
        search: Search,
        name: str = "knn_calibrator",
        ner: str = "ner",
        n_neighbors: int = 17,
        votes: Votes = "uniform",
        mix: float = 1.0,
        tau: Tau = 0.0,
    ):
        self.nlp = nlp
        self.name = name
        self.ner = ner
        self.n_neighbors = n_neighbors
        self.votes: Votes = votes
        self.mix = mix
        self.tau = tau
        self.search = search
        self._store: Store | None = None
        self._warned = False
        self._check_settings()
        install_extensions()

    @property
    def store(self) -> Store | None:
        """What it was fitted to; None while unfitted. mix = 0 needs the `ner` pipe's tags only."""
        if self._store is None and self.mix == 0 and self.nlp is not None:
            return empty_store(self._ner_pipe())
        return self._store

    @property
    def tag_scheme(self) -> TagScheme:
        """The tags of the C columns of the probabilities; of nothing but `O` while unfitted."""
        store = self.store
        return TagScheme(store.labels, store.scheme) if store else TagScheme(())

    def fit(self, examples: Iterable[Example]) -> None:
        """Keep the logits of annotated tokens, as the pipes before this one compute them.

        examples (Iterable[Example]): The training documents (the paper), or others.
        RAISES: CalibratorError, without a `btl_ner` pipe before this one, an entity in the corpus,
            or `n_neighbors` tokens; PipelineError, for an entity type that the `ner` pipe lacks.
        """
        ner = self._ner_pipe()
        logits, tags = labelled_logits(self._pipeline(), examples, ner=ner, before=self.name)
        if not (tags != O_TAG).any():
            raise CalibratorError("The corpus to fit on has no entity: nothing to calibrate with.")
        store = make_store(ner, logits, tags)
        self._check_size(store)
        self._use(store)

    def predict(self, docs: Iterable[Doc]) -> list[Probabilities | None]:
        """Compute class probabilities.

        RETURNS (List[Optional[float64 [T, C]]]): Rows that sum to 1; a token that the encoder never
            saw is certainly `O`. None for each doc while unfitted.
        RAISES: CalibratorError, for a doc without logits or with those of other labels.
        """
        docs = list(docs)
        self._check_settings()
        store = self.store
        if store is None:
            self._warn_unfitted()
            return [None] * len(docs)
        self._check_labels(store)
        n_tags = len(store.prior)
        per_doc = [read_logits(doc, n_tags, ner=self.ner, reader=self.name) for doc in docs]
        logits = np.concatenate(per_doc)
        seen = logits.any(axis=1)
        p = np.zeros(logits.shape)
        p[:, O_TAG] = 1
        if seen.any():
            p[seen] = self._probabilities(logits[seen], store)
        return list(np.split(p, np.cumsum([len(rows) for rows in per_doc])[:-1]))

    def _probabilities(self, logits: NDArray[np.float32], store: Store) -> Probabilities:
        p_softmax = softmax(logits.astype("float64"), axis=1)
        if self.mix == 0:
            return p_softmax
        self._check_size(store)
        distances, rows = self.search.query(logits, self.n_neighbors)
        shares = vote_shares(distances, store.tags[rows], len(store.prior), self.votes)
        p_knn = smooth(shares, store.prior, self.n_neighbors)
        return self.mix * p_knn + (1 - self.mix) * p_softmax

    def set_annotations(
        self, docs: Iterable[Doc], probabilities: Sequence[Probabilities | None]
    ) -> None:
        """Write probabilities, entities and `ent._.confidence`, from what `predict` returned."""
        scheme, store = self.tag_scheme, self.store
        for doc, p in zip(docs, probabilities, strict=True):
            if p is None or store is None:
                continue
            doc._.set(PROBABILITIES, p.astype("float32"))
            set_entities(doc, *decode(doc, p, scheme=scheme, prior=store.prior, tau=self.tau))

    def __call__(self, doc: Doc) -> Doc:
        """Annotate one doc."""
        return next(annotate_stream(self, [doc], 1), doc)

    def pipe(self, stream: Iterable[Doc], *, batch_size: int = 128) -> Iterator[Doc]:
        """Annotate a stream; spaCy's error handler gets a failing doc alone."""
        return annotate_stream(self, stream, batch_size)

    def to_bytes(self, *, exclude: Iterable[str] = ()) -> bytes:
        """Serialize the store."""
        return util.to_bytes({"store": self._store_bytes}, exclude)

    def from_bytes(self, data: bytes, *, exclude: Iterable[str] = ()) -> "KnnCalibrator":
        """Load and check a store. RAISES: CalibratorError."""
        util.from_bytes(data, {"store": lambda b: self._load(b, f"'{self.name}'")}, exclude)
        return self

    def to_disk(self, path: str | Path, *, exclude: Iterable[str] = ()) -> None:
        """Save the store in a folder."""
        util.to_disk(path, {STORE_FILE: lambda p: p.write_bytes(self._store_bytes())}, exclude)

    def from_disk(self, path: str | Path, *, exclude: Iterable[str] = ()) -> "KnnCalibrator":
        """Load and check a store. RAISES: CalibratorError, naming the file and what is wrong."""
        file = util.ensure_path(path) / STORE_FILE
        if not file.is_file():
            raise CalibratorError(f"The calibrator's file {file} is missing. Fit it again.")
        util.from_disk(path, {STORE_FILE: lambda p: self._load(p.read_bytes(), str(p))}, exclude)
        return self

    def _store_bytes(self) -> bytes:
        return UNFITTED if self._store is None else self._store.to_bytes()

    def _load(self, data: bytes, where: str) -> None:
        if data == UNFITTED:
            self._store = None
        else:
            self._use(Store.from_bytes(data, where=where))

    def __reduce__(self) -> tuple[Any, ...]:
        # For `nlp.pipe(n_process=2)`: a worker needs the store, not the pipeline around the pipe.
        settings = {
            key: getattr(self, key)
            for key in ("search", "name", "ner", "n_neighbors", "votes", "mix", "tau")
        }
        return _restore, (settings, self.store, self.get_error_handler())

    def _ner_pipe(self) -> BtlNer:
        nlp = self._pipeline()
        ner = nlp.get_pipe(self.ner) if self.ner in nlp.pipe_names else None
        if not isinstance(ner, BtlNer):
            raise CalibratorError(
                f"'{self.name}' reads the logits of a btl_ner pipe named '{self.ner}', and the "
                f"pipeline {nlp.pipe_names} has none. Add one, or set `ner` to its name."
            )
        return ner

    def _pipeline(self) -> Language:
        if self.nlp is None:
            raise CalibratorError(f"'{self.name}' runs in a worker: fit it where it was made.")
        return self.nlp

    def _check_settings(self) -> None:
        if self.n_neighbors < 1 or not 0 <= self.mix <= 1 or self.votes not in get_args(Votes):
            raise CalibratorError(
                f"'{self.name}' needs n_neighbors >= 1, mix from 0 to 1, and votes 'uniform' or "
                f"'distance'; it got {self.n_neighbors}, {self.mix} and {self.votes!r}."
            )

    def _check_size(self, store: Store) -> None:
        if len(store.tags) < self.n_neighbors:
            raise CalibratorError(
                f"'{self.name}' has {len(store.tags)} annotated tokens to search, fewer than "
                f"n_neighbors = {self.n_neighbors}. Fit it on a larger corpus, or set fewer "
                "neighbours."
            )

    def _check_labels(self, store: Store) -> None:
        if self.nlp is None:
            return
        scheme = self._ner_pipe().tag_scheme
        if (scheme.types, scheme.scheme) != (store.labels, store.scheme):
            raise CalibratorError(
                f"'{self.name}' was fitted to other labels or another tag scheme than those of "
                f"the pipe '{self.ner}'. Fit the calibrator again."
            )

    def _warn_unfitted(self) -> None:
        if not self._warned:
            self._warned = True
            warnings.warn(
                f"'{self.name}' is not fitted: entities pass through unchanged, without "
                "confidence. Fit it with `python -m spacy btl calibrate` or its fit() method.",
                stacklevel=2,
            )

    def _use(self, store: Store) -> None:
        self._store = store
        if len(store.tags):
            self.search.fit(store.logits)


def _restore(
    settings: dict[str, Any], store: Store | None, error_handler: Callable[..., Any]
) -> KnnCalibrator:
    pipe = KnnCalibrator(None, **settings)
    pipe.set_error_handler(error_handler)
    if store is not None:
        pipe._use(store)
    return pipe
