"""From text to wordpieces: which there are, and which tokens each is read for.

A doc is tokenized once and as a whole, by the library `tokenizers` alone. Windows are cut from its
wordpieces afterwards (`windows.py`).

Tokenizers that mark the start of a word (`▁fever`, `Ġfever`) often say that the piece begins at the
blank before it, which belongs to the token before: white space at the ends of a piece is left out.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from threading import Lock
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from spacy.attrs import IDX, LENGTH
from spacy.tokens import Doc
from tokenizers import Encoding, Tokenizer

# A fast tokenizer fails where two threads use it at once.
TOKENIZING = Lock()

# A tokenizer without a limit says that it reads 1e30 wordpieces.
NO_LIMIT = int(1e20)

# All of Unicode's white space lies below: one more entry stands for all that is above.
_N_CODES = 0x3002
# White space that is a control character, save tab and line ends: a form feed, for one.
_CONTROLS = str.maketrans(dict.fromkeys("\x0b\x0c\x1c\x1d\x1e\x1f\x85", " "))
WHITE_SPACE = np.array([chr(code).isspace() for code in range(_N_CODES)])


class Pieces(NamedTuple):
    """The P wordpieces of a doc of T tokens, in the order of the text, without special tokens.

    ids (int64 [P]): Their numbers.
    firsts (int64 [P]): The token in which each starts. A blank between two tokens counts for the
        second.
    lasts (int64 [P]): The last token that each is read for: the first one, save where a piece spans
        several. Of a piece of white space alone, which is read for none, the one before the first.
    n_tokens (int): T.
    """

    ids: NDArray[np.int64]
    firsts: NDArray[np.int64]
    lasts: NDArray[np.int64]
    n_tokens: int


class Frame(NamedTuple):
    """What a tokenizer puts around a text: special tokens, and the token types.

    before, after (int64 [B], [A]): The numbers of the special tokens.
    types_before, types_after (int64 [B], [A]): Their types.
    type (int): That of the text.
    size (int): The number of special tokens.
    """

    before: NDArray[np.int64]
    after: NDArray[np.int64]
    types_before: NDArray[np.int64]
    types_after: NDArray[np.int64]
    type: int
    size: int


@dataclass(frozen=True, eq=False)
class WordpieceTokenizer:
    """A tokenizer of the library `tokenizers`, and what an encoder has to know of it.

    tokenizer (Tokenizer): Its truncation and padding are turned off when it is used.
    pad_id, pad_type (int): Number and type of the padding.
    limit (Optional[int]): How many wordpieces the encoder reads at most; None for any number.
    with_types (bool): Whether the encoder reads token types, and the tokenizer has them.
    literal (bool): Whether a special token in a text, as "[SEP]", is plain text.
    """

    tokenizer: Tokenizer
    pad_id: int
    pad_type: int
    limit: int | None
    with_types: bool
    literal: bool

    @classmethod
    def from_fast(cls, fast: Any, *, reads_types: bool) -> "WordpieceTokenizer":
        """That of a fast tokenizer of transformers, which share it.

        fast (PreTrainedTokenizerFast): As `supported.prepare` leaves it.
        reads_types (bool): Whether the encoder takes token types.
        """
        return cls(
            fast.backend_tokenizer,
            pad_id=fast.pad_token_id,
            pad_type=fast.pad_token_type_id,
            limit=fast.model_max_length if fast.model_max_length < NO_LIMIT else None,
            with_types=reads_types and "token_type_ids" in fast.model_input_names,
            literal=fast.split_special_tokens,
        )

    @classmethod
    def from_dict(cls, saved: dict[str, Any]) -> "WordpieceTokenizer":
        """Read what `to_dict` made."""
        return cls(**{**saved, "tokenizer": Tokenizer.from_str(saved["tokenizer"])})

    def to_dict(self) -> dict[str, Any]:
        """All of it, of JSON's types; the tokenizer as the text of its `tokenizer.json`."""
        with TOKENIZING:
            self._prepare()
            saved = self.tokenizer.to_str()
        facts = {field.name: getattr(self, field.name) for field in fields(self)}
        return {**facts, "tokenizer": saved}

    def read(self, docs: Sequence[Doc]) -> list[Pieces]:
        """Tokenize docs."""
        texts = [readable(doc.text) for doc in docs]
        with TOKENIZING:
            self._prepare()
            encodings = self.tokenizer.encode_batch(texts, add_special_tokens=False)
        return [_pieces(*read) for read in zip(docs, texts, encodings, strict=True)]

    def words(self, text: str) -> tuple[list[int], list[int]]:
        """The wordpieces of a text, and the number of the word that each is of: what the tokenizer
        takes for a word."""
        with TOKENIZING:
            self._prepare()
            encoding = self.tokenizer.encode(text, add_special_tokens=False)
        return encoding.ids, encoding.word_ids

    @cached_property
    def frame(self) -> Frame:
        """The special tokens around a text, found by a probe."""
        with TOKENIZING:
            self._prepare()
            probes = ("a", *sorted(self.tokenizer.get_vocab()))
            known = (
                text for text in probes if self.tokenizer.encode(text, add_special_tokens=False)
            )
            encoding = self.tokenizer.encode(next(known, ""))
        own = np.flatnonzero(np.array(encoding.special_tokens_mask) == 0)
        first, last = (own[0], own[-1] + 1) if len(own) else (len(encoding), len(encoding))
        ids, types = (np.array(row, dtype="int64") for row in (encoding.ids, encoding.type_ids))
        return Frame(
            ids[:first],
            ids[last:],
            types[:first],
            types[last:],
            int(types[first:last].max(initial=0)),
            len(ids) - int(last - first),
        )

    @cached_property
    def vocabulary(self) -> NDArray[np.object_]:
        """The wordpieces as text, by their numbers: object [V]."""
        with TOKENIZING:
            size = 1 + max(self.tokenizer.get_vocab().values())
            return np.array(
                [self.tokenizer.id_to_token(i) or "" for i in range(size)], dtype=object
            )

    def _prepare(self) -> None:
        """Undo what transformers may have set. To be called under the lock."""
        self.tokenizer.no_truncation()
        self.tokenizer.no_padding()
        self.tokenizer.encode_special_tokens = self.literal


def _pieces(doc: Doc, text: str, encoding: Encoding) -> Pieces:
    ids = np.array(encoding.ids, dtype="int64")
    offsets = trim_offsets(np.array(encoding.offsets, dtype="int64").reshape(-1, 2), text)
    starts, ends = offsets.T
    token_starts, lengths = doc.to_array([IDX, LENGTH]).astype("int64").reshape(-1, 2).T
    firsts = np.searchsorted(token_starts + lengths, starts, side="right")
    firsts = np.minimum(firsts, len(doc) - 1)
    lasts = np.searchsorted(token_starts, ends, side="left") - 1
    return Pieces(ids, firsts, np.where(ends > starts, lasts, firsts - 1), len(doc))


def readable(text: str) -> str:
    """Replace control characters by blanks; the length stays. BERT's tokenizer deletes them, which
    joins the words on both sides of a form feed."""
    return text.translate(_CONTROLS)


def trim_offsets(offsets: NDArray[np.integer], text: str) -> NDArray[np.integer]:
    """Move the offsets of wordpieces past white space, at both ends.

    offsets (int [N, 2]): The first character of each wordpiece and the one after its last.
    text (str): What the tokenizer read.
    RETURNS (int [N, 2]): The new offsets. A wordpiece of white space alone becomes empty.
    """
    codes = np.frombuffer(text.encode("utf-32-le"), dtype="<u4")
    blank = WHITE_SPACE[np.minimum(codes, _N_CODES - 1)]
    starts, ends = offsets.T
    filled = ends > starts
    if not (blank[starts[filled]].any() or blank[ends[filled] - 1].any()):
        return offsets
    places = np.arange(len(codes) + 1)
    visible = np.where(blank, len(codes), places[:-1])
    next_visible = np.minimum.accumulate(np.append(visible, len(codes))[::-1])[::-1]
    last_end = np.maximum.accumulate(np.append(0, np.where(blank, 0, places[1:])))
    new_starts, new_ends = next_visible[starts], last_end[ends]
    kept = filled & (new_starts < new_ends)
    return np.where(kept, [new_starts, new_ends], starts).T
