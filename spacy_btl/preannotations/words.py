"""The tokens and sentences of a note, which some annotation tools ask for."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from spacy.attrs import IDX, LENGTH, SENT_START
from spacy.pipeline import Sentencizer
from spacy.tokens import Doc

from spacy_btl.lines import OTHER_LINE, read_lines


class Words(NamedTuple):
    """The T tokens of a note.

    tokens (int64 [T, 2]): The characters of each, end exclusive.
    sentence_starts (bool [T]): Which of them begin a sentence.
    words (int64 [W]): The tokens that are not white space.
    """

    tokens: NDArray[np.int64]
    sentence_starts: NDArray[np.bool_]
    words: NDArray[np.int64]


def words_of(doc: Doc) -> Words:
    """The tokens of a doc. Its sentences are those of the pipeline; if it sets none, they end with
    a full stop or another sign of spaCy's `sentencizer`, and with a line that is not wrapped."""
    starts, lengths, sentences = doc.to_array([IDX, LENGTH, SENT_START]).astype("int64").T
    lines = read_lines(doc)
    if doc.has_annotation("SENT_START"):
        sentence_starts = sentences == 1
    else:
        (found,) = Sentencizer().predict([doc]) or [[]]
        sentence_starts = np.array(found, dtype=bool)
        sentence_starts[lines.words[lines.breaks >= OTHER_LINE]] = True
    return Words(np.stack([starts, starts + lengths], axis=1), sentence_starts, lines.words)


def sentences_of(words: Words, mentions: list[tuple[int, int]]) -> NDArray[np.int64]:
    """The S sentences of a note, from their first word to their last: int64 [S, 2].

    mentions (List[Tuple[int, int]]): Characters, end exclusive. Sentences that share a mention are
        one: tools hide mentions that are in two sentences.
    """
    starts = words.tokens[words.words, 0]
    number = np.cumsum(words.sentence_starts)[words.words]
    first = np.diff(number, prepend=-1) != 0  # of a sentence
    for start, end in mentions:
        first[(starts > start) & (starts < end)] = False
    (firsts,) = np.nonzero(first)
    lasts = np.append(firsts[1:], len(starts))[: len(firsts)] - 1
    ends = words.tokens[words.words, 1]
    return np.stack([starts[firsts], ends[lasts]], axis=1)
