"""`knn_calibrator`: the final entities and their confidence, from the neighbours of raw logits.

The second half of arXiv 2409.03238 (section 4): a token takes the label of the labelled tokens
whose logits lie nearest to its own, and their votes are its class probabilities.
"""

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from spacy.language import Language
from spacy.pipeline.factories import register_factories
from spacy.tokens import Doc, Span

from spacy_btl.calibration.calibration_maps import TokenMap
from spacy_btl.calibration.datastore import Store
from spacy_btl.calibration.fit import Maps, with_unseen
from spacy_btl.calibration.search import Search
from spacy_btl.calibration.tau import Tau
from spacy_btl.calibration.votes import Probabilities
from spacy_btl.errors import BtlWarning, CalibratorError
from spacy_btl.metrics.scorer import Scorer
from spacy_btl.pipeline.annotations import LOGITS, PROBABILITIES, set_entities
from spacy_btl.pipeline.decoding import decode
from spacy_btl.pipeline.explanation import TokenExplanation, explain_span
from spacy_btl.pipeline.fitted import FittedPipe
from spacy_btl.pipeline.logits import (
    check_size,
    has_logits_of,
    network_of,
    read_logits,
    run_before,
)
from spacy_btl.pipeline.stream import annotate_stream

UNFITTED_WARNING = (
    "is not fitted: entities pass through unchanged, without confidence. Fit it with "
    "`python -m spacy btl calibrate` or its fit() method."
)
STALE_WARNING = (
    "has other settings than those that its maps were fitted for, so its confidence is not to be "
    "relied on. Fit them again with `python -m spacy btl calibrate --held-out` or fit_map()."
)
OTHER_NETWORK_WARNING = (
    "was fitted to the logits of another network than it reads (was the `ner` pipe trained again, "
    "or the calibrator taken from another pipeline?), so its entities and their confidence are not "
    "to be relied on. Save the pipeline and fit it with `python -m spacy btl calibrate`."
)


# `calibrate` adds spaCy's `doc_cleaner`. spaCy registers its own factories with the first pipeline
# that is made, unless another package (EDS-NLP 0.23) has replaced `Language.__init__`.
register_factories()


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
        "knn_weight": 0.25,
        "tau": 0.15,
        "transition_weight": 0.15,
        "search": {"@misc": "spacy_btl.ClusterSearch.v1"},
        "scorer": {"@scorers": "spacy_btl.NerScorer.v1"},
    },
)
def make_knn_calibrator(
    nlp: Language,
    name: str,
    ner: str,
    n_neighbors: int,
    knn_weight: float,
    tau: Tau,
    transition_weight: float,
    search: Search,
    scorer: Scorer | None,
) -> "KnnCalibrator":
    """Make a `knn_calibrator` pipe.

    ner (str): The name of the `btl_ner` pipe whose logits it reads. Once fitted it follows that
        pipe if it is renamed, or sourced under another name.
    n_neighbors (int): How many neighbours vote; 17 in the paper.
    knn_weight (float): p = knn_weight * p_kNN + (1 - knn_weight) * softmax(logits). 1 is the paper; 0 needs no
        fitting, without transition_weight.
    tau (float | Dict[str, float]): Shifts decisions towards rare types: a token's label is
        argmax(log p - tau * log prior). 0 is the paper. One number, or one per type (0 if absent).
    transition_weight (float): Decides for the whole note: what it counts that a tag follows another as
        often as it does in the corpus that the pipe is fitted to. 0 is the paper: token by token.
    search (Search): How neighbours are found.
    scorer (Optional[Callable]): `spacy_btl.NerScorer.v1`.
    """
    return KnnCalibrator(
        nlp,
        name=name,
        ner=ner,
        n_neighbors=n_neighbors,
        knn_weight=knn_weight,
        tau=tau,
        transition_weight=transition_weight,
        search=search,
        scorer=scorer,
    )


class KnnCalibrator(FittedPipe):
    """Decides entities and their confidence from raw logits. Unfitted, it lets docs pass.

    n_neighbors, knn_weight, tau and transition_weight may be changed between calls; what a saved pipeline
    starts with is in its config. The maps of `fit_map` hold for the settings they were fitted for.

    >>> calibrator = nlp.get_pipe("knn_calibrator")
    >>> calibrator.tau = 0.5  # more entities, and fewer of them correct
    >>> [(ent.text, ent.label_) for ent in nlp("pain in the left arm , no fever").ents]
    [('pain', 'Sign'), ('fever', 'Sign')]
    """

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
            self._warn_once(UNFITTED_WARNING)
            return [None] * len(docs)
        if self.maps is not None and self.maps.settings != self.settings:
            self._warn_once(STALE_WARNING)
        self._check_labels(store)
        if not docs:
            return []
        scheme = self.tag_scheme
        per_doc = [read_logits(doc, scheme, ner=self.ner, reader=self.name) for doc in docs]
        if store.network and any(network_of(doc) not in ("", store.network) for doc in docs):
            self._warn_once(OTHER_NETWORK_WARNING)
        logits = np.concatenate(per_doc)
        seen = np.any(logits != 0, axis=1)
        p = with_unseen(self._probabilities(logits[seen]), seen)
        return list(np.split(p, np.cumsum([len(rows) for rows in per_doc])[:-1]))

    def _probabilities(self, logits: NDArray[np.float32]) -> Probabilities:
        token_map = TokenMap() if self.maps is None else self.maps.tokens
        p = token_map.softmax(logits)
        if self.knn_weight > 0 and len(logits):
            p_knn = token_map.votes(self.neighbor_probabilities(logits))
            p = self.knn_weight * p_knn + (1 - self.knn_weight) * p
        return p

    def set_annotations(
        self,
        docs: Iterable[Doc],
        probabilities: Sequence[Probabilities | None],
        *,
        tau: Tau | None = None,
    ) -> None:
        """Write probabilities, entities and `ent._.confidence`, from what `predict` returned.

        tau (Optional[float | Dict[str, float]]): In place of the pipe's own.
        RAISES: CalibratorError, for a tau that is neither, or names a type that is not known.
        """
        known = [(doc, p) for doc, p in zip(docs, probabilities, strict=True) if p is not None]
        if self.store is None or not known:
            return
        if tau is not None:
            self._check_tau(tau)
            if self.maps is not None and self.maps.settings["tau"] != tau:
                self._warn_once(STALE_WARNING)
        decoded = self.decode(*zip(*known, strict=True), tau=tau)
        for (doc, p), entities in zip(known, decoded, strict=True):
            doc._.set(PROBABILITIES, p.astype("float32"))
            set_entities(doc, *entities, labels=self.store.labels)

    def decode(
        self, docs: Sequence[Doc], probabilities: Sequence[Probabilities], *, tau: Tau | None = None
    ) -> list[tuple[list[Span], list[float]]]:
        """Decide the entities of docs. Changes nothing on them: `set_entities` does.

        probabilities (Sequence[float64 [T, C]]): What `predict` returned for them, which does not
            depend on tau.
        tau (Optional[float | Dict[str, float]]): In place of the pipe's own.
        RETURNS (List[Tuple[List[Span], List[float]]]): For each doc entities, and the confidence of
            each.
        RAISES: CalibratorError, while unfitted, or if tau names a type that is not known.
        """
        store = self.fitted_store()
        return decode(
            docs,
            probabilities,
            scheme=self.tag_scheme,
            prior=store.prior,
            tau=self.tau if tau is None else tau,
            transition_weight=store.transitions if self.transition_weight else None,
            weight=self.transition_weight,
            confidence_map=None if self.maps is None else self.maps.confidence,
        )

    def explain(self, span: Span) -> list[TokenExplanation]:
        """The neighbours that vote on each token of a span, white space left out.

        Where the doc has lost the logits (to the doc_cleaner of a packaged pipeline) its tokens go
        through the pipes before this one again, in a new doc; the doc stays as it is.

        span (Span): A span of a doc that the pipeline processed.
        RETURNS (List[TokenExplanation]): One per token; `top_neighbors` sums them up.
        RAISES: CalibratorError, while nothing votes: unfitted, or with knn_weight = 0.
        """
        store = self.voters()
        doc = span.doc
        if not has_logits_of(doc, store):
            doc = run_before(self._pipeline(), doc, self.name)
        logits = read_logits(doc, self.tag_scheme, ner=self.ner, reader=self.name)
        return explain_span(span, logits, store, search=self.search, k=self.n_neighbors)

    def voters(self) -> Store:
        """The store whose rows vote. RAISES: CalibratorError, while nothing votes."""
        self._check_settings()
        if self._store is None or self.knn_weight == 0:
            reason = (
                "it is not fitted"
                if self.knn_weight
                else "with knn_weight = 0 it reads the softmax alone"
            )
            raise CalibratorError(f"No neighbour votes in '{self.name}': {reason}.")
        self._check_labels(self._store)
        check_size(self._store, self.n_neighbors, reader=self.name)
        return self._store

    def __call__(self, doc: Doc, *, tau: Tau | None = None) -> Doc:
        """Annotate one doc. tau: As for `pipe`."""
        return next(annotate_stream(self, [doc], 1, tau=tau), doc)

    def pipe(
        self, stream: Iterable[Doc], *, batch_size: int = 128, tau: Tau | None = None
    ) -> Iterator[Doc]:
        """Annotate a stream; spaCy's error handler gets a failing doc alone.

        tau (Optional[float | Dict[str, float]]): In place of the pipe's own, for these docs:
            `nlp.pipe(notes, component_cfg={"knn_calibrator": {"tau": 0.5}})`.
        """
        return annotate_stream(self, stream, batch_size, tau=tau)

    def __reduce__(self) -> tuple[Any, ...]:
        # The search holds no state that needs saving: it is fitted again. The pipeline comes last,
        # since this pipe is in it.
        settings = {"search": self.search, "scorer": self.scorer, **self.settings}
        names = {"name": self.name, "ner": self.ner}
        state = ({**settings, **names}, self._store, self.maps, self.get_error_handler())
        return _restore, state, {"nlp": self.nlp}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.nlp = state["nlp"]

    def _warn_once(self, problem: str) -> None:
        if problem not in self._warned:
            warnings.warn(f"'{self.name}' {problem}", BtlWarning, stacklevel=2)
            self._warned.add(problem)  # not before: as an error it is raised for each note


def _restore(
    settings: dict[str, Any],
    store: Store | None,
    maps: Maps | None,
    error_handler: Callable[..., Any],
) -> KnnCalibrator:
    pipe = KnnCalibrator(None, **settings)
    pipe.maps = maps
    pipe.set_error_handler(error_handler)
    if store is not None:
        pipe._use(store)
    return pipe


def find_calibrator(nlp: Language) -> KnnCalibrator | None:
    """The last calibrator of a pipeline that is fitted; None if there is none."""
    pipes = [pipe for _, pipe in nlp.pipeline if isinstance(pipe, KnnCalibrator)]
    fitted = [pipe for pipe in pipes if pipe.store is not None]
    return fitted[-1] if fitted else None
