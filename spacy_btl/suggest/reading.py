"""The notes that can be chosen, and what each is expected to hold."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from spacy.language import Language
from spacy.tokens import Doc
from spacy.util import minibatch

from spacy_btl.arrays import Probabilities
from spacy_btl.calibration.calibration_maps import TokenMap
from spacy_btl.calibration.calibrator import Calibrator
from spacy_btl.corpora.docbin import read_docs
from spacy_btl.corpora.groups import text_key
from spacy_btl.errors import PipelineError
from spacy_btl.lines import read_lines
from spacy_btl.notes.entities import docs_of, unreadable
from spacy_btl.notes.notes import Note, read_ids
from spacy_btl.pipeline.annotations import PROBABILITIES
from spacy_btl.pipeline.btl_ner import BtlNer
from spacy_btl.pipeline.knn_calibrator import find_calibrator
from spacy_btl.pipeline.logits import find_ner, hiding_pipes, read_logits
from spacy_btl.suggest.contents import (
    Contents,
    annotated_mentions,
    contents_of,
    near_distance,
    novelty_of,
)
from spacy_btl.tags import TagScheme
from spacy_btl.training.trained_on import in_datastore, training_docs

# Why a note is passed over.
ANNOTATED, COPY, EMPTY = "annotated already", "with the text of another", "without words"
UNREADABLE = "not readable"


@dataclass(frozen=True)
class Knowledge:
    """What a pipeline has learned from.

    ner (str): The name of the `btl_ner` that the logits come from.
    scheme (TagScheme): Its tags.
    counts (float64 [K]): The mentions of each type in its datastore. Without one, the words of each
        in its training corpus, by which types rank nearly the same.
    calibrator (Optional[Calibrator]): One with labelled words; None without any.
    near (Optional[float]): See `near_distance`.
    """

    ner: str
    scheme: TagScheme
    counts: NDArray[np.float64]
    calibrator: Calibrator | None
    near: float | None

    @classmethod
    def of(cls, nlp: Language) -> "Knowledge":
        """What the pipeline that is loaded has learned from.

        RAISES: PipelineError, if it has no `btl_ner`, or neither that nor its calibrator knows how
            frequent the types were.
        """
        pipe = find_calibrator(nlp)
        ner = next((one for _, one in reversed(nlp.pipeline) if isinstance(one, BtlNer)), None)
        if pipe is not None:
            ner = find_ner(nlp, pipe.ner, reader=pipe.name)
        if ner is None:
            raise PipelineError(
                f"The pipeline {nlp.pipe_names} has no btl_ner, whose logits tell what a note "
                "would teach. Give a pipeline of `btl fit` or `spacy train`."
            )
        scheme, counts, calibrator = ner.tag_scheme, ner.tag_counts, None
        datastore = None if pipe is None else pipe.calibrator.fitted_datastore()
        if pipe is not None and datastore is not None and len(datastore.tags):
            calibrator = pipe.calibrator
        if calibrator is not None and datastore is not None:
            of_types = annotated_mentions(datastore, scheme)
        elif counts.any():
            of_types = scheme.sum_by_type(counts)[1:]
        else:
            raise PipelineError(
                "How frequent the types were in the training of this pipeline is not known, so "
                "neither are the rare ones. Fit a calibrator with `python -m spacy btl calibrate`."
            )
        near = None if calibrator is None else near_distance(calibrator.fitted_datastore())
        return cls(ner.name, scheme, of_types.astype("float64"), calibrator, near)

    def contents(self, doc: Doc) -> Contents:
        """What a doc of the pipeline, with one or more words, is expected to hold.

        RAISES: CalibratorError, for a doc without the logits of the `btl_ner`.
        """
        words = read_lines(doc).words
        logits = read_logits([doc], self.scheme, ner=self.ner, reader="suggest")
        logits = logits[:, : len(self.scheme)]  # neighbours are by those of the tags
        p, logits = _probabilities(doc, logits, self.scheme)[words], logits[words]
        novelty = None
        if self.calibrator is not None and self.near is not None:
            novelty = np.zeros(len(words))  # of a word that the encoder did not see
            seen = logits.any(axis=1)
            if seen.any():
                distances, _ = self.calibrator.search.query(logits[seen], 1)
                novelty[seen] = novelty_of(distances[:, 0], self.near)
        right = p.max(axis=-1).reshape(len(words), -1).min(axis=1)
        of_types = self.scheme.type_probabilities(p)
        return contents_of(of_types, right, logits, novelty, self.counts)

    def holds(self, docs: Sequence[Doc]) -> NDArray[np.bool_]:
        """Which docs the datastore seems to hold: bool [D]."""
        if self.calibrator is None:
            return np.zeros(len(docs), dtype=bool)
        return in_datastore(self.calibrator.fitted_datastore(), docs)


def _probabilities(doc: Doc, logits: NDArray[np.float32], scheme: TagScheme) -> Probabilities:
    """Those of a calibrator, or the softmax of the logits."""
    p = doc._.get(PROBABILITIES)
    if p is not None:
        return np.asarray(p[..., : scheme.columns.shape[-1]], dtype="float64")
    return TokenMap()(logits[:, scheme.columns], None, 0)


@dataclass
class Annotated:
    """The notes that are annotated already, or given to an annotator.

    ids (Set[str]): Their ids.
    texts (Set[bytes]): Digests of their texts.
    """

    ids: set[str] = field(default_factory=set)
    texts: set[bytes] = field(default_factory=set)

    @classmethod
    def read(cls, paths: Iterable[Path], nlp: Language, id_column: str) -> "Annotated":
        """Read the ids and texts of corpora (`.spacy`), and the ids of what else `annotate` reads:
        tables, among them earlier rankings, and folders. The texts of the training corpus that the
        pipeline's config names are read too, where that file is still there.

        RAISES: BtlError, for a file that cannot be read.
        """
        ids: set[str] = set()
        texts = {_digest(doc.text) for doc in training_docs(nlp)}
        for path in paths:
            if path.suffix != ".spacy":
                ids |= read_ids(path, id_column)
                continue
            for doc in read_docs(path, nlp.vocab):
                texts.add(_digest(doc.text))
                if "note_id" in doc.user_data:
                    ids.add(str(doc.user_data["note_id"]))
        return cls(ids, texts)

    def __contains__(self, note: Note) -> bool:
        return str(note.id) in self.ids or _digest(str(note.text)) in self.texts


def _digest(text: str) -> bytes:
    """A digest that all copies of a text share, see `text_key`."""
    return blake2b(text_key(text).encode("utf-8", "surrogatepass"), digest_size=16).digest()


@dataclass
class Passed:
    """The notes that were passed over: how many, by the reason; and the first that failed."""

    reasons: Counter[str] = field(default_factory=Counter)
    first_failure: str = ""

    def __str__(self) -> str:
        reasons = [f"{number:,} {reason}" for reason, number in self.reasons.items()]
        return ", ".join(reasons) + (f" ({self.first_failure})" if self.first_failure else "")

    def add(self, note: Note, reason: str) -> None:
        """Count a note that cannot be read."""
        self.reasons[UNREADABLE] += 1
        self.first_failure = self.first_failure or f"{note.where}: {reason}"


def new_docs(
    nlp: Language,
    notes: Iterable[Note],
    knowledge: Knowledge,
    annotated: Annotated,
    passed: Passed,
    *,
    batch_size: int,
) -> Iterator[tuple[Note, Doc]]:
    """Yield the notes that are neither annotated, nor the copy of one before them, nor without
    words, in their order, each with its doc as the pipeline leaves it: with logits.

    passed (Passed): Gets the others.
    """
    seen: set[bytes] = set()
    with nlp.select_pipes(disable=hiding_pipes(nlp)):
        for batch in minibatch(notes, size=batch_size):
            new = [note for note in batch if _is_new(note, nlp.max_length, annotated, seen, passed)]
            held = knowledge.holds([nlp.make_doc(str(note.text)) for note in new])
            passed.reasons[ANNOTATED] += int(held.sum())
            new = [note for note, is_held in zip(new, held, strict=True) if not is_held]
            for note, doc in zip(new, docs_of(nlp, new) if new else [], strict=True):
                if isinstance(doc, str):
                    passed.add(note, doc)
                else:
                    yield note, doc


def _is_new(
    note: Note, max_length: int, annotated: Annotated, seen: set[bytes], passed: Passed
) -> bool:
    """Whether a note is to be read; adds its text to those seen."""
    if reason := unreadable(note, max_length):
        passed.add(note, reason)
        return False
    text = str(note.text)
    reason = ANNOTATED if note in annotated else COPY if _digest(text) in seen else ""
    reason = reason if text.strip() else EMPTY
    seen.add(_digest(text))
    if reason:
        passed.reasons[reason] += 1
    return not reason
