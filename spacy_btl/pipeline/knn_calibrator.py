"""`knn_calibrator`: the final entities and their confidence, from the neighbours of raw logits.

The second half of arXiv 2409.03238 (section 4): a token takes the label of the labelled tokens
whose logits lie nearest to its own. The arrays are the business of `calibration.calibrator`; here
are the docs.
"""

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import deepcopy
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Self

import numpy as np
from spacy import util
from spacy.language import Language
from spacy.pipeline import Pipe
from spacy.pipeline.factories import register_factories
from spacy.tokens import Doc, Span
from spacy.training import Example

from spacy_btl.arrays import Probabilities
from spacy_btl.calibration.calibrator import PARTS, Calibrator
from spacy_btl.calibration.datastore import LabelledRows, empty_rows
from spacy_btl.calibration.decisions import PerType, Tau
from spacy_btl.calibration.held_out import HeldOut
from spacy_btl.calibration.reference import Tokens, describe
from spacy_btl.errors import BtlWarning, CalibratorError
from spacy_btl.metrics.scorer import Scorer
from spacy_btl.pipeline.annotations import (
    FACTS,
    LOGITS,
    NEAREST,
    PROBABILITIES,
    install_extensions,
    write_mentions,
)
from spacy_btl.pipeline.btl_ner import BtlNer
from spacy_btl.pipeline.decoding import Decided, decide_docs
from spacy_btl.pipeline.explanation import TokenExplanation, explain_span
from spacy_btl.pipeline.linking import linking_pipeline
from spacy_btl.pipeline.logits import (
    are_of_network,
    find_ner,
    has_logits_of,
    make_datastore,
    name_of_network,
    pipes_from,
    read_logits,
    run_before,
)
from spacy_btl.pipeline.reading import read_held_out
from spacy_btl.search.search import Search
from spacy_btl.stream import annotate_stream
from spacy_btl.tags import TagScheme

UNFITTED_WARNING = (
    "is not fitted: entities pass through unchanged, without confidence. Fit it with "
    "`python -m spacy btl calibrate` or its fit() method."
)
STALE_WARNING = (
    "has other settings than those that its maps were fitted for, so its confidence is not "
    "calibrated. Fit them again with `python -m spacy btl calibrate --held-out` or fit_maps()."
)
OTHER_NETWORK_WARNING = (
    "was fitted to the logits of another network than it reads (was the `ner` pipe trained again, "
    "or the calibrator taken from another pipeline?), so its entities and their confidence cannot "
    "be relied on. Save the pipeline and fit it with `python -m spacy btl calibrate`."
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
        "min_confidence": 0.0,
        "search": {"@misc": "spacy_btl.ClusterSearch.v1"},
        "scorer": {"@scorers": "spacy_btl.NerScorer.v1"},
    },
)
def make_knn_calibrator(  # noqa: PLR0913, PLR0917 - an argument is a setting of the config
    nlp: Language,
    name: str,
    ner: str,
    n_neighbors: int,
    knn_weight: float,
    tau: Tau,
    transition_weight: float,
    min_confidence: PerType,
    search: Search,
    scorer: Scorer | None,
) -> "KnnCalibrator":
    """Make a `knn_calibrator` pipe.

    The default settings measured best. The paper's are knn_weight = 1, tau = 0 and
    transition_weight = 0.

    ner (str): The name of the `btl_ner` pipe whose logits it reads. Once fitted it follows that
        pipe if it is renamed, or sourced under another name.
    n_neighbors (int): The number of neighbours, k.
    knn_weight (float): p = knn_weight * p_kNN + (1 - knn_weight) * softmax(logits). With 0, and
        without transitions, the pipe needs no fitting.
    tau (float | Dict[str, float]): A token's label is argmax(log p - tau * log prior), so a greater
        tau favours rare types. One number, or one per type (0 for a type that is not named).
    transition_weight (float): The weight of tag transitions, as in the corpus that the pipe is
        fitted to, in the decision for a whole note. With 0 each token is decided by itself.
    min_confidence (float | Dict[str, float]): Entities, or mentions with `spans_key`, of less
        confidence are dropped. One number, or one per type (0 for a type that is not named).
    search (Search): How neighbours are found.
    scorer (Optional[Callable]): `spacy_btl.NerScorer.v1`.
    """
    calibrator = Calibrator(
        search,
        n_neighbors=n_neighbors,
        knn_weight=knn_weight,
        tau=tau,
        transition_weight=transition_weight,
        min_confidence=min_confidence,
    )
    return KnnCalibrator(nlp, calibrator, name=name, ner=ner, scorer=scorer)


class KnnCalibrator(Pipe):
    """Decides entities and their confidence from raw logits. Unfitted, it lets docs pass.

    calibrator (Calibrator): The estimator. `calibrator.set_params(tau=0.5)` changes a setting for
        later calls; what a saved pipeline starts with is in its config.
    ner (str): The name of the `btl_ner` pipe that it reads.

    A pipe that is sourced is the same object in both pipelines, as spaCy has it, and belongs to the
    one that it was sourced to: load a pipeline of its own to source from.

    >>> pipe = nlp.get_pipe("knn_calibrator")
    >>> _ = pipe.calibrator.set_params(tau=0.5)  # more entities, and fewer of them correct
    >>> [(ent.text, ent.label_) for ent in nlp("pain in the left arm , no fever").ents]
    [('pain', 'Sign'), ('fever', 'Sign')]
    """

    def __init__(
        self,
        nlp: Language | None,
        calibrator: Calibrator,
        *,
        name: str = "knn_calibrator",
        ner: str = "ner",
        scorer: Scorer | None = None,
    ) -> None:
        self.nlp = nlp
        self.calibrator = calibrator
        self.name = name
        self.ner = ner
        self.scorer = scorer
        self._tags_of: dict[str, Any] = {}  # of a datastore without rows: the cfg of its `ner`
        self._warned: set[str] = set()
        install_extensions()

    @property
    def name(self) -> str:
        """Its name in its pipeline."""
        return self._name

    @name.setter
    def name(self, name: str) -> None:
        self._name = name
        nlp = linking_pipeline(self)
        if nlp is not None:
            self.nlp = nlp
            self._follow_ner(nlp)

    def _follow_ner(self, nlp: Language) -> None:
        """Set `ner`, here and in the pipeline's config, to the present name of the pipe that it was
        fitted to: that may have been renamed, or stand beside another. While unfitted, to that of
        the only `btl_ner` there is."""
        datastore = self.calibrator.datastore
        network = datastore.network if datastore is not None else ""
        name = name_of_network(nlp, network, self.ner)
        if name is not None and name != self.ner:
            self.ner = nlp.get_pipe_config(self.name)["ner"] = name

    # Fitting

    def fit(self, examples: Iterable[Example]) -> None:
        """Keep the logits of annotated tokens, as the pipes before this one compute them.

        examples (Iterable[Example]): The training documents (the paper), or others.
        RAISES: CalibratorError, without a `btl_ner` pipe before this one, an entity in the corpus,
            or `n_neighbors` tokens; PipelineError, for an entity type that the `ner` pipe lacks.
        """
        self.fit_rows(self._read(examples, strict=True).rows())

    def fit_rows(self, rows: LabelledRows) -> None:
        """Keep labelled rows of the `ner` pipe's logits.

        RAISES: CalibratorError, without an entity or `n_neighbors` tokens.
        """
        self.calibrator.fit(make_datastore(self._ner_pipe(), rows))

    def fit_maps(self, examples: Iterable[Example]) -> None:
        """Fit the maps that calibrate probabilities and confidence, for the present settings.

        examples (Iterable[Example]): Documents that neither the network nor the datastore had.
        RAISES: CalibratorError, while unfitted, or without an annotated token or a predicted
            entity.
        """
        self.calibrator.fit_maps(self.read_held_out(examples))

    def read_held_out(self, examples: Iterable[Example]) -> HeldOut:
        """Read documents, by the pipes before this one, for maps to be fitted on. Warns of entities
        whose type the `ner` pipe lacks: they count as missed, and their tokens are not used.

        RAISES: As `fit_maps`.
        """
        if not self.is_ready():
            raise CalibratorError(f"'{self.name}' is not fitted: call its fit() first.")
        held_out = self._read(examples)
        unknown = int((held_out.gold_ents[:, 2] == 0).sum())
        if unknown:
            warnings.warn(
                "The held-out documents hold entities of types that the pipe "
                f"'{self.ner}' does not know: {unknown:,}, which count as missed.",
                BtlWarning,
                stacklevel=3,
            )
        return held_out

    def _read(self, examples: Iterable[Example], *, strict: bool = False) -> HeldOut:
        nlp = self._pipeline()
        return read_held_out(
            nlp,
            examples,
            ner=self._ner_pipe(),
            reader=self.name,
            disable=pipes_from(nlp, self.name),
            strict=strict,
        )

    def _ner_pipe(self) -> BtlNer:
        return find_ner(self._pipeline(), self.ner, reader=self.name)

    def _pipeline(self) -> Language:
        if self.nlp is None:
            raise CalibratorError(f"'{self.name}' has no pipeline around it: add it to one.")
        return self.nlp

    def is_ready(self) -> bool:
        """Whether it can decide. Without neighbours and transitions it needs the present tags of
        the `ner` pipe only, and takes them by itself."""
        calibrator = self.calibrator
        datastore = calibrator.datastore
        if datastore is not None and len(datastore.tags):
            return True
        if calibrator.settings.needs_rows:
            return False
        if self.nlp is not None:
            ner = self._ner_pipe()
            if datastore is None or ner.cfg != self._tags_of:  # another pipe, or trained again
                calibrator.use(make_datastore(ner, empty_rows(ner.tag_scheme)))
                self._tags_of = deepcopy(ner.cfg)
        return calibrator.datastore is not None

    # Annotating

    def predict(self, docs: Iterable[Doc]) -> list[Probabilities | None]:
        """Compute class probabilities.

        RETURNS (List[Optional[float64 [T, C]]]): Rows that sum to 1; a token that the encoder did
            not see is certainly `O`. None for each doc while unfitted.
        RAISES: CalibratorError, for a doc without logits or with those of other labels.
        """
        docs, calibrator = list(docs), self.calibrator
        is_ready, datastore = self.is_ready(), calibrator.datastore
        if not is_ready or datastore is None:
            self._warn_once(UNFITTED_WARNING)
            return [None] * len(docs)
        if calibrator.maps is not None and not calibrator.maps.hold_for(calibrator.settings):
            self._warn_once(STALE_WARNING)
        if not docs:
            return []
        logits = read_logits(docs, datastore.tag_scheme, ner=self.ner, reader=self._name)
        if not are_of_network(docs, datastore.network):
            self._warn_once(OTHER_NETWORK_WARNING)
        borders = np.cumsum(list(map(len, docs)))[:-1]
        p, nearest = calibrator.read(logits)
        if calibrator.reference is not None:
            for doc, of_doc in zip(docs, np.split(nearest, borders), strict=True):
                doc.user_data[NEAREST] = of_doc
        return list(np.split(p, borders))

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
        maps, datastore = self.calibrator.maps, self.calibrator.datastore
        if datastore is None or not known:
            return
        if maps is not None and tau is not None:
            settings = replace(self.calibrator.settings, tau=tau)
            if not maps.hold_for(settings):
                self._warn_once(STALE_WARNING)
        known_docs, p_known = zip(*known, strict=True)
        decided = decide_docs(known_docs, p_known, self.calibrator, tau=tau)
        for (doc, p), mentions in zip(known, decided.spans, strict=True):
            doc._.set(PROBABILITIES, p.astype("float32"))
            write_mentions(doc, *mentions, labels=datastore.labels)
        if self.calibrator.reference is not None:
            _leave_facts(known_docs, decided, datastore.tag_scheme)

    def explain(self, span: Span) -> list[TokenExplanation]:
        """The neighbours of each token of a span, white space left out.

        Where the doc has lost the logits (to the doc_cleaner of a packaged pipeline) its tokens go
        through the pipes before this one again, in a new doc; the doc stays as it is.

        span (Span): A span of a doc that the pipeline processed.
        RETURNS (List[TokenExplanation]): One per token; `top_neighbors` sums them up.
        RAISES: CalibratorError, without neighbours: unfitted, or with knn_weight = 0.
        """
        datastore = self.calibrator.neighbor_rows()
        doc = span.doc
        if not has_logits_of(doc, datastore.network):
            doc = run_before(self._pipeline(), doc, self.name)
        logits = read_logits([doc], datastore.tag_scheme, ner=self.ner, reader=self.name)
        return explain_span(
            span,
            logits,
            datastore,
            search=self.calibrator.search,
            k=self.calibrator.settings.n_neighbors,
        )

    def __call__(self, doc: Doc, *, tau: Tau | None = None) -> Doc:
        """Annotate one doc. tau: As for `pipe`."""
        try:
            self.set_annotations([doc], self.predict([doc]), tau=tau)
        except Exception as error:  # noqa: BLE001 - for spaCy's error handler
            self.get_error_handler()(self.name, self, [doc], error)
        return doc

    def pipe(
        self, stream: Iterable[Doc], *, batch_size: int = 128, tau: Tau | None = None
    ) -> Iterator[Doc]:
        """Annotate a stream; spaCy's error handler gets a failing doc alone.

        tau (Optional[float | Dict[str, float]]): In place of the pipe's own, for these docs:
            `nlp.pipe(notes, component_cfg={"knn_calibrator": {"tau": 0.5}})`.
        """
        return annotate_stream(self, stream, batch_size, tau=tau)

    def score(self, examples: Iterable[Example], **kwargs: Any) -> dict[str, Any]:
        """Score with the configured scorer, as the `ner` pipe is scored."""
        pipes = [] if self.nlp is None else self.nlp.components
        for name, pipe in pipes:
            if name == self.ner and isinstance(pipe, BtlNer):
                kwargs |= pipe.groups
        return super().score(examples, **kwargs)

    # Saving

    def to_bytes(self, *, exclude: Iterable[str] = ()) -> bytes:
        """Serialize the "datastore", the "maps" and the "reference"."""
        files = self.calibrator.to_bytes()
        return util.to_bytes({name: partial(files.__getitem__, name) for name in files}, exclude)

    def from_bytes(self, data: bytes, *, exclude: Iterable[str] = ()) -> Self:
        """Load and check a datastore and maps.

        RAISES: CalibratorError, for anything but complete and finite ones of this version.
        """
        read = partial(self.calibrator.from_bytes, where=f"'{self.name}'")
        util.from_bytes(data, {name: partial(read, name) for name in PARTS}, exclude)
        return self

    def to_disk(self, path: str | Path, *, exclude: Iterable[str] = ()) -> None:
        """Save the datastore and the maps in a folder."""
        folder = util.ensure_path(path)
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in self.calibrator.to_bytes().items():
            if name not in exclude:
                (folder / f"{name}.safetensors").write_bytes(data)

    def from_disk(self, path: str | Path, *, exclude: Iterable[str] = ()) -> Self:
        """Load and check a datastore and maps.

        RAISES: CalibratorError, naming the file and what is wrong.
        """
        for name in [name for name in PARTS if name not in exclude]:
            file = util.ensure_path(path) / f"{name}.safetensors"
            if name == "reference" and not file.is_file():  # saved by an earlier version
                self.calibrator.reference = None
                continue
            if not file.is_file():
                raise CalibratorError(f"The calibrator's file {file} is missing. Fit it again.")
            self.calibrator.from_bytes(name, file.read_bytes(), where=str(file))
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        # The pipeline comes last, since this pipe is in it.
        kwargs = {"name": self.name, "ner": self.ner, "scorer": self.scorer}
        return _restore, (self.calibrator, kwargs, self.get_error_handler()), {"nlp": self.nlp}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.nlp = state["nlp"]

    def _warn_once(self, problem: str) -> None:
        if problem not in self._warned:
            warnings.warn(f"'{self.name}' {problem}", BtlWarning, stacklevel=2)
            self._warned.add(problem)  # not before: as an error it is raised for each note


def _leave_facts(docs: Sequence[Doc], decided: Decided, scheme: TagScheme) -> None:
    """Leave on each doc what notes are compared by, see `reference.describe`."""
    nearest, seen = [], []
    for doc, lines in zip(docs, decided.lines, strict=True):
        nearest.append(doc.user_data.pop(NEAREST)[lines.words])
        seen.append(doc._.get(LOGITS)[lines.words].any(axis=1))
    tokens = Tokens(
        decided.words.documents, decided.p, np.concatenate(seen), np.concatenate(nearest)
    )
    rows = describe(tokens, decided.found, scheme, len(docs))
    for doc, row in zip(docs, rows, strict=True):
        doc.user_data[FACTS] = row.copy()  # a view would keep those of the batch


def _restore(
    calibrator: Calibrator, kwargs: dict[str, Any], error_handler: Callable[..., Any]
) -> KnnCalibrator:
    pipe = KnnCalibrator(None, calibrator, **kwargs)
    pipe.set_error_handler(error_handler)
    return pipe


def find_calibrator(nlp: Language) -> KnnCalibrator | None:
    """The last calibrator of a pipeline that can decide; None if there is none."""
    pipes = [pipe for _, pipe in nlp.pipeline if isinstance(pipe, KnnCalibrator)]
    ready = [pipe for pipe in pipes if pipe.is_ready()]
    return ready[-1] if ready else None
