"""Notes without annotation as training documents, with the probabilities of a calibrated pipeline.

Notes are drawn until they have as many words as are wanted, those with rare types more often: by
the mentions that each is expected to hold, each divided by how often its type is annotated. It is
weighted sampling without replacement in one pass (Efraimidis and Spirakis 2006, algorithm A-Res).
"""

import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from spacy.tokens import Doc, Span, SpanGroup

from spacy_btl.corpora.docbin import write_docs
from spacy_btl.errors import AnnotateError, PipelineError
from spacy_btl.mentions import MENTIONS
from spacy_btl.notes.notes import Note, counted_notes, read_notes, scan_notes
from spacy_btl.pipeline.btl_ner import BtlNer
from spacy_btl.pipeline.soft_labels import label_softly
from spacy_btl.pipelines import load_pipeline
from spacy_btl.suggest.contents import Contents
from spacy_btl.suggest.reading import Annotated, Knowledge, Passed, new_docs

TINY = 1e-12  # in place of a weight of 0


@dataclass(frozen=True)
class Options:
    """Which notes to label.

    words (int): About how many, in all.
    annotated (Sequence[Path]): Notes that are left out, as is one with the text of another: those
        that are annotated, and all that anything is measured on. See `Annotated.read`.
    seed (int): Of the draw.
    text_column, id_column (str): The columns of a table.
    batch_size (Optional[int]): Notes per batch; None uses the pipeline's own.
    """

    words: int = 200_000
    annotated: Sequence[Path] = ()
    seed: int = 0
    text_column: str = "text"
    id_column: str = "id"
    batch_size: int | None = None


@dataclass(frozen=True)
class PseudoLabelled:
    """What was labelled.

    notes (int): All notes of the input.
    passed (Passed): Those that could not be drawn, by the reason.
    drawn (int): Those that were drawn.
    words (int): Theirs, white space left out.
    mentions (Dict[str, float]): How many mentions of each type they are expected to hold.
    """

    notes: int
    passed: Passed
    drawn: int
    words: int
    mentions: dict[str, float]


def pseudo_label(
    model: str,
    notes: Path,
    output: Path,
    options: Options = Options(),
    *,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> PseudoLabelled:
    """Draw notes, and write them as training documents with soft labels.

    A pipe with `spans_key` that is trained on them learns the probabilities of types and borders,
    see `soft_labels`; the mentions that the pipeline found are in the group "mentions".

    model (str): A package name or a folder of a calibrated pipeline with a `spans_key`.
    notes (Path): See `read_notes`.
    output (Path): The `.spacy` file.
    on_progress (Callable[[int, int], None]): Called with the number of notes read, and of all.
    RAISES: BtlError, for a pipeline or notes that cannot be used, or if no note can be drawn.

    >>> from spacy_btl import pseudo_label
    >>> done = pseudo_label("with_spans_key", Path("unlabelled"), Path("pseudo.spacy"))
    >>> done.drawn <= done.notes
    True
    """
    nlp = load_pipeline(model)
    knowledge = Knowledge.of(nlp)
    ner = nlp.get_pipe(knowledge.ner)
    if knowledge.calibrator is None or not isinstance(ner, BtlNer) or ner.spans_key is None:
        raise PipelineError(
            f"{model} is not calibrated, or lets types compete for a token (without spans_key): "
            "its probabilities are no soft labels of single types. Train with spans_key, and "
            "calibrate."
        )

    def read() -> Iterator[Note]:
        return read_notes(notes, text_column=options.text_column, id_column=options.id_column)

    total = scan_notes(read(), notes).notes
    passed = Passed()
    docs = new_docs(
        nlp,
        counted_notes(read(), lambda done: on_progress(done, total)),
        knowledge,
        Annotated.read(options.annotated, nlp, options.id_column),
        passed,
        batch_size=options.batch_size or nlp.batch_size,
    )
    labelled = (
        (_labelled(note, doc, str(ner.spans_key)), knowledge.contents(doc)) for note, doc in docs
    )
    drawn = draw(labelled, knowledge.counts, options.words, options.seed)
    if not drawn:
        raise AnnotateError(f"{notes}: no note is left to label: {passed}.")
    write_docs(output, [one.doc for one in drawn])
    mentions = np.sum([one.contents.mentions for one in drawn], axis=0)
    return PseudoLabelled(
        total,
        passed,
        len(drawn),
        sum(one.contents.words for one in drawn),
        dict(zip(ner.labels, mentions.tolist(), strict=True)),
    )


class Drawn(NamedTuple):
    """A note that was drawn.

    key (float): The greatest are kept.
    number (int): Its place in the stream.
    """

    key: float
    number: int
    doc: Doc
    contents: Contents


def draw(
    stream: Iterable[tuple[Doc, Contents]],
    counts: NDArray[np.float64],
    words: int,
    seed: int,
) -> list[Drawn]:
    """Draw notes until they have so many words, in the order of the stream.

    counts (float64 [K]): How often each type is annotated. A note's weight is the sum, over its
        expected mentions, of 1 / (1 + that), divided by its words.
    """
    rng = np.random.default_rng(seed)
    kept: list[Drawn] = []  # a heap: the smallest key is first
    total = 0
    for number, (doc, contents) in enumerate(stream):
        weight = float((contents.mentions / (1 + counts)).sum()) / contents.words
        key = np.log(rng.random()) / max(weight, TINY)
        if total >= words and key <= kept[0].key:
            continue
        heapq.heappush(kept, Drawn(key, number, doc, contents))
        total += contents.words
        while total - kept[0].contents.words >= words:
            total -= heapq.heappop(kept).contents.words
    return sorted(kept, key=lambda one: one.number)


def _labelled(note: Note, doc: Doc, spans_key: str) -> Doc:
    """A training document of the words of a doc."""
    words = [token.text for token in doc]
    labelled = Doc(doc.vocab, words, [bool(token.whitespace_) for token in doc])
    labelled.user_data["note_id"] = note.id
    mentions = [Span(labelled, one.start, one.end, one.label) for one in doc.spans[spans_key]]
    labelled.spans[MENTIONS] = SpanGroup(labelled, name=MENTIONS, spans=mentions)
    entities = [Span(labelled, ent.start, ent.end, ent.label) for ent in doc.ents]
    labelled.set_ents(entities, default="outside")
    label_softly(labelled, doc)
    return labelled
