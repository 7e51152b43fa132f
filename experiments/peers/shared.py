"""What the libraries share: the documents of a fold, the size of a batch, and what they return."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from spacy.tokens import Doc, Span, SpanGroup
from spacy.vocab import Vocab

from spacy_btl.corpora.docbin import read_docs
from spacy_btl.mentions import MENTIONS, read_mentions

GOLD = "gold"
WORDS = 1500  # of a batch, about
WINDOW, OVERLAP = 256, 32  # in wordpieces
WARMUP = 0.1  # of the steps, for the libraries whose schedule is ours to choose

# Start and end by characters, type, and confidence where the library states one.
Mention = tuple[int, int, str, float | None]
Places = list[list[Mention]]
# A trained pipeline: documents without annotation in, the mentions of each out.
Predict = Callable[[Sequence[Doc]], Places]


class Rates(NamedTuple):
    """The highest learning rates of a training.

    encoder (float): Of the encoder; of all weights where the library tells no others apart.
    new (float): Of the layers behind it.
    """

    encoder: float
    new: float


OURS = Rates(3e-4, 3e-3)  # those of minilm.cfg


@dataclass(frozen=True)
class Job:
    """A training.

    fold (Path): A folder of `python -m spacy btl split`.
    steps (int): Optimizer steps.
    folder (Path): For what the training writes, to be deleted with the pipeline.
    flat (bool): Whether a token is of one type: the gold mentions are the entities. Otherwise they
        are all mentions, a discontinuous one by its enclosing span.
    rates (Rates): The learning rates.
    encoder (str): The checkpoint of the encoder.
    """

    fold: Path
    steps: int
    folder: Path
    flat: bool
    rates: Rates = OURS
    encoder: str = "assets/minilm"


def read_fold(job: Job, part: str, vocab: Vocab) -> list[Doc]:
    """The documents of a part, with their gold mentions, each once, in the group GOLD."""
    docs = read_docs(job.fold / f"{part}.spacy", vocab)
    for doc in docs:
        spans = list(doc.ents)
        if not job.flat:
            spans = [Span(doc, *place) for place in sorted(set(read_mentions(doc, MENTIONS)))]
        doc.spans[GOLD] = SpanGroup(doc, spans=spans)
    return docs


def types_of(docs: Iterable[Doc]) -> list[str]:
    """The types of the gold mentions, sorted."""
    return sorted({span.label_ for doc in docs for span in doc.spans[GOLD]})


def bio_tags(docs: Iterable[Doc]) -> list[str]:
    """`O`, and `B-` and `I-` of each type of the gold mentions."""
    return ["O", *(f"{place}-{label}" for label in types_of(docs) for place in "BI")]


def unannotated(docs: Iterable[Doc], vocab: Vocab) -> Iterator[Doc]:
    """Fresh documents of the same words."""
    for doc in docs:
        yield Doc(vocab, [t.text for t in doc], [bool(t.whitespace_) for t in doc])


def without_overlaps(doc: Doc, mentions: Sequence[Mention]) -> list[Mention]:
    """The mentions of the highest confidence, none of which share a token, in the order of the
    text. Each is expanded to whole tokens.

    spaCy's `spancat_singlelabel` without overlaps chooses among its spans in the same way.
    """
    kept: list[Mention] = []
    taken: set[int] = set()
    for start, end, label, confidence in sorted(mentions, key=lambda one: -(one[3] or 0)):
        span = doc.char_span(start, end, label, alignment_mode="expand")
        if span is not None and taken.isdisjoint(range(span.start, span.end)):
            taken.update(range(span.start, span.end))
            kept.append((span.start_char, span.end_char, label, confidence))
    return sorted(kept)
