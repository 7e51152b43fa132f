"""Notes as windows of wordpieces, and the words of a window that are hidden.

Notes are strung together with a separator between them and cut into full windows, as RoBERTa's
training does (Liu et al. 2019, arXiv 1907.11692, section 4.2). The words are those of the encoder's
own tokenizer. A word is hidden with all of its wordpieces, so that it cannot be guessed from its
other half: whole-word masking, as in the second release of BERT (Devlin et al. 2019, arXiv
1810.04805).
"""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset
from transformers.tokenization_utils_fast import PreTrainedTokenizerFast

from spacy_btl.errors import PipelineError
from spacy_btl.models.wordpieces import WordpieceTokenizer, readable

IGNORED = -100  # a label that torch's cross-entropy leaves out
AS_MASK, AS_ANOTHER = 0.8, 0.1  # of the hidden words; the rest are shown (BERT, section 3.1)
NO_WORD = -1

# int32 [L] each: "input_ids", and the "words" that they are of, or the "labels" to guess.
Row = dict[str, NDArray[np.int32]]


def windows_of(texts: Iterable[str], tokenizer: WordpieceTokenizer, size: int) -> Iterator[Row]:
    """String texts together and cut them into windows of `size` wordpieces, the special ones at the
    ends among them. The last window may be shorter.

    YIELDS (Dict[str, int32 [L]]): "input_ids", and the number of the word that each is of in
        "words", which is -1 for special ones.
    """
    before, after = tokenizer.frame.before.tolist(), tokenizer.frame.after.tolist()
    room = size - len(before) - len(after)

    def window(of_text: list[int], of_words: list[int]) -> Row:
        ids = [*before, *of_text, *after]
        words = [NO_WORD] * len(before) + of_words + [NO_WORD] * len(after)
        return {"input_ids": np.array(ids, "int32"), "words": np.array(words, "int32")}

    ids: list[int] = []
    words: list[int] = []
    n_words = 0
    for text in texts:
        of_text, of_words = tokenizer.words(readable(text))
        if ids:
            ids += after
            words += [NO_WORD] * len(after)
        ids += of_text
        words += [n_words + word for word in of_words]
        n_words += 1 + max(of_words, default=-1)
        while len(ids) >= room:
            yield window(ids[:room], words[:room])
            del ids[:room], words[:room]
    if ids:
        yield window(ids, words)


class HiddenWords(Dataset[Row]):
    """Windows with words hidden that an encoder is to guess, as often as they are asked for: other
    words each time. What an item hides depends on its number and the seed alone.

    share (float): The share of the words of a window. One at least is hidden.
    times (int): How often the data set goes through the windows.
    RAISES: PipelineError, for a tokenizer without a mask token.
    """

    def __init__(
        self,
        windows: Sequence[Row],
        tokenizer: PreTrainedTokenizerFast,
        share: float,
        seed: int,
        times: int = 1,
    ) -> None:
        if tokenizer.mask_token_id is None:
            raise PipelineError(
                "The tokenizer of this encoder has no mask token, and pretraining hides words "
                "behind it. Choose another encoder."
            )
        self.windows, self.tokenizer, self.share = windows, tokenizer, share
        self.seed, self.times = seed, times

    def __len__(self) -> int:
        """The number of items."""
        return len(self.windows) * self.times

    def __getitem__(self, number: int) -> Row:
        """An item: "input_ids" with words hidden, and the "labels" to guess."""
        if not 0 <= number < len(self):
            raise IndexError(number)
        row = self.windows[number % len(self.windows)]
        ids, words = row["input_ids"], row["words"]
        rng = np.random.default_rng([self.seed, number])
        present, of_word = np.unique(words, return_inverse=True)
        candidates = np.flatnonzero(present != NO_WORD)
        n_hidden = max(1, round(self.share * len(candidates)))
        hidden = np.isin(of_word, rng.permutation(candidates)[:n_hidden])
        fate = rng.random(len(present))[of_word]  # one for all wordpieces of a word
        others = rng.integers(len(self.tokenizer), size=ids.shape, dtype="int32")
        shown = np.where(hidden & (fate < AS_MASK), np.int32(self.tokenizer.mask_token_id), ids)
        another = hidden & (fate >= AS_MASK) & (fate < AS_MASK + AS_ANOTHER)
        return {
            "input_ids": np.where(another, others, shown),
            "labels": np.where(hidden, ids, np.int32(IGNORED)),
        }


def batch_of(rows: Sequence[Row], padding: int) -> dict[str, torch.Tensor]:
    """Items of one length: int64 [B, L] each.

    padding (int): The number of the padding.
    """
    shape = (len(rows), max(len(row["input_ids"]) for row in rows))
    ids, labels = torch.full(shape, padding), torch.full(shape, IGNORED)
    mask = torch.zeros(shape, dtype=torch.int64)
    for i, row in enumerate(rows):
        length = len(row["input_ids"])
        ids[i, :length] = torch.from_numpy(row["input_ids"])
        labels[i, :length] = torch.from_numpy(row["labels"])
        mask[i, :length] = 1
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}
