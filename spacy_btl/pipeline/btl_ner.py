"""`btl_ner`: named entities by one tag per token, trained with a loss of your choice."""

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from spacy.language import Language
from spacy.pipeline import TrainablePipe
from spacy.tokens import Doc
from spacy.training import Example
from spacy.vocab import Vocab
from thinc.api import Config, Model
from thinc.types import Floats2d

from spacy_btl.arrays import OPS
from spacy_btl.errors import BtlWarning, PipelineError
from spacy_btl.lines import read_lines
from spacy_btl.losses.base import TokenLoss
from spacy_btl.losses.binary_token_labels import warn_of_types_not_told_apart
from spacy_btl.losses.overlapping import overlapping_loss
from spacy_btl.mentions import MENTIONS, OverlappingScheme, lacks_group, mention_types
from spacy_btl.metrics.scorer import Scorer
from spacy_btl.models.token_logits import head_digest, missing_upstream, start_from
from spacy_btl.pipeline.annotations import LOGITS, WRITER, install_extensions, write_mentions
from spacy_btl.pipeline.labels import find_tags, label_data
from spacy_btl.pipeline.optimizer import resolve_optimizer
from spacy_btl.pipeline.soft_labels import joined, targets_of
from spacy_btl.stream import annotate_stream
from spacy_btl.tags import O_TAG, SchemeName, TagScheme

STREAMED = (
    "With a streamed corpus (max_epochs = -1) spaCy shows the pipe '{name}' only 100 examples, too "
    "few to count the tags. Run `python -m spacy init labels` on the corpus without streaming, and "
    "read its file in [initialize.components.{name}.labels] with spacy.read_labels.v1."
)

DEFAULT_CONFIG = Config().from_str(
    """
    [btl_ner]
    scheme = "IO"
    spans_key = null
    mentions_key = "mentions"

    [btl_ner.model]
    @architectures = "spacy_btl.TokenLogits.v1"

    [btl_ner.model.tok2vec]
    @architectures = "spacy.HashEmbedCNN.v2"
    pretrained_vectors = null
    width = 96
    depth = 4
    embed_size = 2000
    window_size = 1
    maxout_pieces = 3
    subword_features = true

    [btl_ner.loss]
    @losses = "spacy_btl.BinaryTokenLabels.v1"

    [btl_ner.scorer]
    @scorers = "spacy_btl.NerScorer.v1"
    """
)


@Language.factory(
    "btl_ner",
    assigns=["doc.ents", "doc.spans", "token.ent_iob", "token.ent_type", f"doc._.{LOGITS}"],
    default_config=DEFAULT_CONFIG["btl_ner"],
    default_score_weights={
        "ents_f": 1.0,
        "ents_p": 0.0,
        "ents_r": 0.0,
        "ents_macro_f": 0.0,
        "tag_uar": 0.0,
        "tag_macro_f": 0.0,
        "ents_per_type": None,
    },
)
def make_btl_ner(  # noqa: PLR0917 - an argument is a setting of the config
    nlp: Language,
    name: str,
    model: Model[list[Doc], list[Floats2d]],
    loss: TokenLoss,
    scheme: SchemeName,
    spans_key: str | None,
    mentions_key: str,
    scorer: Scorer | None,
) -> "BtlNer":
    """Make a `btl_ner` pipe.

    model (Model[List[Doc], List[float32 [T, C]]]): Emits raw logits: `spacy_btl.TokenLogits.v1`.
    loss (TokenLoss): `spacy_btl.BinaryTokenLabels.v1`, or another of `spacy_btl.losses`.
    scheme (str): "IO", one tag per type; or "BIO", which keeps touching mentions apart.
    spans_key (Optional[str]): The group of spans to write, for mentions that may overlap. Each type
        is then decided by itself. With null, mentions do not overlap.
    mentions_key (str): With `spans_key`, the group of gold mentions. Without one in a doc, its
        `doc.ents` are read.
    scorer (Optional[Callable]): `spacy_btl.NerScorer.v1`.
    RAISES: PipelineError, for a loss that cannot be used with `spans_key`, or two keys alike.
    """
    return BtlNer(
        nlp.vocab,
        model,
        loss,
        name=name,
        scheme=scheme,
        spans_key=spans_key,
        mentions_key=mentions_key,
        scorer=scorer,
    )


class BtlNer(TrainablePipe):
    """Tags every token from raw logits and makes the runs of tags entities.

    With `spans_key` a token can be of several types. All mentions, overlapping or not, are in
    `doc.spans[spans_key]`, each with `span._.confidence`; `doc.ents` has those of the greatest sum
    of confidence that do not overlap.

    It leaves the logits on `doc._.token_logits` (float32 [T, C]) for `knn_calibrator`; a token that
    the encoder never saw has an all-zero row, and is `O`.

    unseen_tokens (int): Tokens, white space aside, that went unseen so far, in this process.

    >>> ner = nlp.get_pipe("ner")
    >>> ner.labels
    ('Severity', 'Sign', 'Test', 'Value')
    >>> nlp("no fever today", disable=["doc_cleaner"])._.token_logits.shape
    (3, 5)
    """

    def __init__(
        self,
        vocab: Vocab,
        model: Model[list[Doc], list[Floats2d]],
        loss: TokenLoss,
        *,
        name: str = "ner",
        scheme: SchemeName = "IO",
        spans_key: str | None = None,
        mentions_key: str = MENTIONS,
        scorer: Scorer | None = None,
    ) -> None:
        if spans_key is not None:
            overlapping_loss(loss, name)
            if spans_key == mentions_key or not spans_key:
                raise PipelineError(
                    f"The pipe '{name}' has the spans_key {spans_key!r}: give a name, and another "
                    f"than that of the gold mentions, mentions_key = {mentions_key!r}."
                )
        self.spans_key = spans_key
        self.mentions_key = mentions_key
        self.vocab = vocab
        self.model = model
        self.name = name
        self.loss = loss
        self.scorer = scorer
        self.cfg: dict[str, Any] = {"scheme": scheme, "labels": [], "tag_counts": []}
        self.unseen_tokens = 0
        self._warned_of: set[str] = set()
        install_extensions()

    @property
    def labels(self) -> tuple[str, ...]:
        """The entity types, in the order of their tags."""
        return tuple(self.cfg["labels"])

    @property
    def tag_scheme(self) -> TagScheme:
        """The tags of the C columns of the logits."""
        return self._scheme_of(self.labels)

    def _scheme_of(self, types: tuple[str, ...]) -> TagScheme:
        key = None if self.spans_key is None else self.mentions_key
        return _tag_scheme(types, self.cfg["scheme"], key)

    @property
    def groups(self) -> dict[str, str]:
        """With `spans_key`, that and `mentions_key`: which groups of spans a scorer compares."""
        if self.spans_key is None:
            return {}
        return {"spans_key": self.spans_key, "mentions_key": self.mentions_key}

    @property
    def tag_counts(self) -> NDArray[np.int64]:
        """Tokens of each tag in the training corpus, int64 [C]."""
        return np.array(self.cfg["tag_counts"], dtype=np.int64)

    @property
    def prior(self) -> NDArray[np.float64]:
        """Training frequency of each tag of a decision: all positive, sum 1. float64 [C]; with
        `spans_key` [K, S], for each of K types those of `O` and its own tags."""
        counts = (self.tag_counts + 1.0)[self.tag_scheme.columns]  # none has a frequency of 0
        if self.spans_key is not None:
            n_tokens = self.cfg.get("n_tokens", 0)
            counts[:, O_TAG] = 1.0 + n_tokens - (counts[:, 1:] - 1).sum(axis=1)
        return counts / counts.sum(axis=-1, keepdims=True)

    @property
    def label_data(self) -> dict[str, Any]:
        """What `spacy init labels` saves: training tokens per tag; nothing before `initialize`.
        With `spans_key` these are the "tags", beside the number of all annotated "tokens" and of
        those that a mention of each type "starts" or "ends" with."""
        return label_data(self.cfg, self.tag_scheme.tags)

    def add_label(self, label: str) -> int:
        """Add an entity type before the pipe is initialized.

        RETURNS (int): 1 if it was added, 0 if it was there.
        RAISES: PipelineError, once the network has its output layer, or for a label that is empty,
            no string, or "O".
        """
        if not isinstance(label, str) or label in ("", "O"):
            raise PipelineError(f"{label!r} cannot be an entity type.")
        if label in self.labels:
            return 0
        if self.cfg["tag_counts"]:
            raise PipelineError(
                f"The pipe '{self.name}' is initialized: its entity types are fixed. Add types "
                "before nlp.initialize(), or train a new pipe."
            )
        self.cfg["labels"].append(label)
        return 1

    def initialize(
        self,
        get_examples: Callable[[], Iterable[Example]],
        *,
        nlp: Language | None = None,
        labels: Mapping[str, Any] | Sequence[str] | None = None,
    ) -> None:
        """Find the entity types and their frequencies in one pass, and size the network.

        get_examples (Callable[[], Iterable[Example]]): The whole training corpus.
        nlp (Optional[Language]): The pipeline.
        labels (Optional[Mapping[str, Any] | Sequence[str]]): Training tokens per tag, as
            `spacy init labels` writes them, which spares the pass; or the entity types alone.
        RAISES: PipelineError, without any entity type, with a streamed corpus and no `labels`, with
            those of the other tag scheme or mode, or with another number of tags than the network
            has; for a type that is called "O".
        """
        if nlp is not None:
            resolve_optimizer(nlp)
        streamed = nlp is not None and nlp.config["training"]["max_epochs"] == -1
        if streamed and not isinstance(labels, Mapping):
            raise PipelineError(STREAMED.format(name=self.name))
        types, counts = find_tags(
            get_examples,
            labels,
            known=self.labels,
            scheme=self.cfg["scheme"],
            name=self.name,
            mentions_key=None if self.spans_key is None else self.mentions_key,
        )
        n_columns = self._scheme_of(types).n_columns
        n_outputs = self.model.get_dim("nO") if self.model.has_dim("nO") else n_columns
        if n_outputs != n_columns:
            raise PipelineError(
                f"The network of the pipe '{self.name}' has {n_outputs} outputs, and the types of "
                f"the training corpus need {n_columns}: make a new pipe for other entity types."
            )
        if self.spans_key is None and len(types) > 1:
            warn_of_types_not_told_apart(self.loss, self.name)
        self.cfg["labels"] = list(types)
        scheme = self.tag_scheme
        self.cfg["tag_counts"] = [int(counts.tags[tag]) for tag in scheme.tags]
        docs = [example.predicted for example in counts.sample]
        y = [self.model.ops.alloc2f(len(doc), n_columns) for doc in docs]
        self.model.initialize(X=docs, Y=y)
        if isinstance(scheme, OverlappingScheme):
            self.cfg["n_tokens"] = counts.tokens
            borders = [int(of[label]) for of in (counts.starts, counts.ends) for label in types]
            self.cfg["border_counts"] = borders
            prior = scheme.prior_logits(self.tag_counts, np.array(borders), counts.tokens)
            start_from(self.model, prior)

    def predict(self, docs: Iterable[Doc]) -> list[NDArray[np.float32]]:
        """Compute raw logits.

        RETURNS (List[float32 [T, C]]): One array per doc, each its own memory.
        RAISES: PipelineError, for a doc that no encoder read, or whose tokens are not those that it
            read.
        """
        docs = list(docs)
        if not any(len(doc) for doc in docs):
            return [np.zeros((0, self.tag_scheme.n_columns), dtype="float32") for _ in docs]
        missing = missing_upstream(self.model, docs)
        if missing is not None:
            raise PipelineError(
                f"'{self.name}' reads what a '{missing}' pipe leaves on a doc, and none ran on a "
                f"doc before it: enable that pipe, or put it before '{self.name}'."
            )
        ops = self.model.ops
        per_doc = [np.array(ops.to_numpy(logits)) for logits in self.model.predict(docs)]
        n_columns = self.tag_scheme.n_columns
        if {logits.shape[1] for logits in per_doc} != {n_columns}:
            raise PipelineError(
                f"The network of the pipe '{self.name}' has not the {n_columns} outputs that its "
                "types need: load the pipeline again as it was saved, or train it anew."
            )
        if [len(logits) for logits in per_doc] != [len(doc) for doc in docs]:
            raise PipelineError(
                f"A doc reached '{self.name}' with other tokens than the encoder read: put the "
                f"pipe that merges or splits them before the encoder, or behind '{self.name}'."
            )
        return per_doc

    def set_annotations(self, docs: Iterable[Doc], logits: list[NDArray[np.float32]]) -> None:
        """Write logits and entities, or mentions that may overlap."""
        scheme, network = self.tag_scheme, head_digest(self.model)
        for doc, doc_logits in zip(docs, logits, strict=True):
            doc._.set(LOGITS, doc_logits)
            writer: dict[str, Any] = {"tags": list(scheme.tags), "network": network}
            lines = read_lines(doc)
            of_words = doc_logits[lines.words]
            n_unseen = int((~of_words.any(axis=1)).sum())
            if n_unseen:
                self._count_unseen(n_unseen, len(doc))
            decisions = of_words[:, scheme.columns]
            runs = scheme.runs(decisions.argmax(axis=-1), lines.breaks, lines.short)
            confidences = None
            if self.spans_key is not None:
                writer["spans_key"] = self.spans_key
                p = OPS.softmax(decisions)
                confidences = scheme.run_probabilities(runs, p).tolist()
            doc.user_data[WRITER] = writer
            spans = scheme.spans(doc, runs, lines)
            write_mentions(doc, spans, confidences, labels=scheme.types)

    def pipe(self, stream: Iterable[Doc], *, batch_size: int = 128) -> Iterator[Doc]:
        """Annotate a stream; spaCy's error handler gets a failing doc alone."""
        return annotate_stream(self, stream, batch_size)

    def get_loss(
        self, examples: Iterable[Example], scores: list[Floats2d]
    ) -> tuple[float, list[Floats2d]]:
        """The configured loss and its gradient; unseen and unannotated tokens carry none."""
        xp = self.model.ops.xp
        logits = xp.concatenate(scores)
        tags = self._gold(examples)
        known = xp.asarray(self.tag_scheme.are_known(tags))
        rows = xp.flatnonzero(known & logits.any(axis=1))
        gradient = xp.zeros_like(logits)
        loss = 0.0
        if len(rows):
            loss, gradient[rows] = self._loss(logits[rows], xp.asarray(tags)[rows])
        borders = np.cumsum([len(doc_logits) for doc_logits in scores])[:-1].tolist()
        return loss, xp.split(gradient, borders)

    def _gold(self, examples: Iterable[Example]) -> NDArray[Any]:
        """Gold tags, int [N] for N tokens; with `spans_key` of each of K types, and their borders,
        int [N, 3 K], or float32 [N, C - 1] if an example has soft labels."""
        if self.spans_key is not None and "border_counts" not in self.cfg:
            raise PipelineError(
                f"The pipe '{self.name}' was initialized without spans_key, and has not counted "
                "its mentions: initialize it again to train it with spans_key."
            )
        scheme = self.tag_scheme
        return joined([targets_of(example, scheme) for example in examples], scheme)

    def _loss(self, logits: Floats2d, tags: Any) -> tuple[float, Floats2d]:
        scheme, counts = self.tag_scheme, self.tag_counts
        if self.spans_key is None:
            return self.loss(logits, tags, tag_types=scheme.tag_types, tag_counts=counts)
        of_decisions = np.append(scheme.sum_by_type(counts)[1:], self.cfg["border_counts"])
        loss = overlapping_loss(self.loss, self.name)
        return loss(logits, tags, counts=of_decisions, n_tokens=self.cfg["n_tokens"])

    def score(self, examples: Iterable[Example], **kwargs: Any) -> dict[str, Any]:
        """Score with the configured scorer; entity types unknown to the model count as missed."""
        examples = list(examples)
        gold = {ent.label_ for example in examples for ent in example.reference.ents}
        kwargs |= self.groups
        if self.spans_key is not None:
            references = [example.reference for example in examples]
            gold |= set().union(*(mention_types(doc, self.mentions_key) for doc in references))
            self._warn_of_missing_group(references)
        for label in sorted(gold - set(self.labels) - self._warned_of):
            self._warned_of.add(label)
            warnings.warn(
                f"The evaluation data holds the entity type {label!r}, which '{self.name}' does "
                "not know: its mentions count as missed.",
                BtlWarning,
                stacklevel=2,
            )
        return super().score(examples, **kwargs)

    def _warn_of_missing_group(self, references: Sequence[Doc]) -> None:
        where = f"doc.spans[{self.mentions_key!r}]"
        n_without = sum(lacks_group(doc, self.mentions_key) for doc in references)
        if n_without and where not in self._warned_of:
            self._warned_of.add(where)
            warnings.warn(
                f"{n_without:,} of {len(references):,} documents of the evaluation data have no "
                f"mentions in {where}: '{self.name}' is scored by their doc.ents instead.",
                BtlWarning,
                stacklevel=3,
            )

    def _count_unseen(self, n_unseen: int, n_tokens: int) -> None:
        if not self.unseen_tokens:
            warnings.warn(
                f"'{self.name}': the encoder has no wordpiece for {n_unseen} of {n_tokens} tokens "
                "of a note (lone zero-width or combining characters, for example); they are O. "
                f"Later notes are counted in nlp.get_pipe('{self.name}').unseen_tokens.",
                BtlWarning,
                stacklevel=2,
            )
        self.unseen_tokens += n_unseen


@lru_cache(maxsize=32)
def _tag_scheme(types: tuple[str, ...], scheme: SchemeName, mentions_key: str | None) -> TagScheme:
    if mentions_key is None:
        return TagScheme(types, scheme)
    return OverlappingScheme(types, scheme, mentions_key)
