"""Notes cut into windows, and the words of a window that are hidden."""

from itertools import chain

import numpy as np
import pytest
from transformers import AutoTokenizer

from spacy_btl.errors import PipelineError
from spacy_btl.models.wordpieces import WordpieceTokenizer
from spacy_btl.unlabelled.windows import IGNORED, NO_WORD, HiddenWords, batch_of, windows_of
from tests.models.tiny_encoders import make_tiny

TEXTS = ["severe fever and feverish cough", "no cough", " ", "denies fever. " * 20]
SIZE = 16


def tokenizer_of(folder):
    return AutoTokenizer.from_pretrained(folder, split_special_tokens=True)


def wordpieces(tokenizer):
    return WordpieceTokenizer.from_fast(tokenizer, reads_types=False)


@pytest.fixture(scope="module")
def tokenizer(tiny_bert):
    return tokenizer_of(tiny_bert)


def test_all_wordpieces_are_read_once_and_in_order(tokenizer):
    rows = list(windows_of(TEXTS, wordpieces(tokenizer), SIZE))
    read = [number for row in rows for number in row["input_ids"]]
    special = {tokenizer.cls_token_id, tokenizer.sep_token_id}
    expected = tokenizer(TEXTS, add_special_tokens=False)["input_ids"]
    assert [number for number in read if number not in special] == list(chain(*expected))
    assert [len(row["input_ids"]) for row in rows[:-1]] == [SIZE] * (len(rows) - 1)
    for row in rows:
        ids, words = row["input_ids"], row["words"]
        assert (ids[0], ids[-1]) == (tokenizer.cls_token_id, tokenizer.sep_token_id)
        assert (words == NO_WORD).tolist() == [number in special for number in ids]


def test_words_of_two_notes_are_two_words(tokenizer):
    (row,) = windows_of(["fever", "cough"], wordpieces(tokenizer), SIZE)
    assert row["words"].tolist() == [NO_WORD, 0, NO_WORD, 1, NO_WORD]


def test_a_special_token_of_a_note_is_text(tokenizer):
    (row,) = windows_of(["fever [MASK] cough"], wordpieces(tokenizer), SIZE)
    assert tokenizer.mask_token_id not in row["input_ids"]


def hidden_words(text, tokenizer, size, **settings):
    windows = list(windows_of([text], wordpieces(tokenizer), size))
    return HiddenWords(windows, tokenizer, **{"share": 0.15, "seed": 0, **settings})


def test_whole_words_are_hidden_and_nothing_else_changes(tokenizer):
    found = hidden_words(
        "fever and feverish cough without fevers", tokenizer, 64, share=0.4, times=50
    )
    (row,) = found.windows
    ids, words = row["input_ids"], row["words"]
    assert len(np.unique(words)) < len(words) - 1, "no word of several wordpieces"
    assert len(found) == 50
    for item in found:
        guessed = item["labels"] != IGNORED
        hidden = set(words[guessed].tolist())
        assert len(hidden) == 2  # of six words, rounded
        assert guessed.tolist() == [word in hidden for word in words.tolist()]
        assert (item["labels"][guessed] == ids[guessed]).all()
        assert (item["input_ids"][~guessed] == ids[~guessed]).all()


def test_other_words_are_hidden_each_time_and_the_same_by_number_and_seed(tokenizer):
    text = "fever and feverish cough without fevers"
    one, same, other = (hidden_words(text, tokenizer, 64, seed=seed, times=9) for seed in (1, 1, 2))
    labels = [[item["labels"].tolist() for item in each] for each in (one, same, other)]
    assert labels[0] == labels[1] != labels[2]
    assert len({tuple(row) for row in labels[0]}) > 2


def test_four_in_five_hidden_words_are_masked_and_one_in_ten_stays(tokenizer):
    items = list(hidden_words("fever " * 200, tokenizer, 256, share=0.5, times=100))
    shown, labels = (
        np.concatenate([item[name] for item in items]) for name in ("input_ids", "labels")
    )
    of_hidden = labels != IGNORED
    assert of_hidden.sum() == 10_000
    masked = (shown[of_hidden] == tokenizer.mask_token_id).mean()
    stays = (shown[of_hidden] == labels[of_hidden]).mean()
    assert masked == pytest.approx(0.8, abs=0.02)
    assert stays == pytest.approx(0.1, abs=0.02)


def test_a_batch_is_padded_and_its_padding_is_neither_read_nor_guessed(tokenizer):
    items = list(hidden_words("denies fever. " * 20, tokenizer, SIZE))
    lengths = [len(item["input_ids"]) for item in items]
    assert lengths[-1] < SIZE
    batch = batch_of(items, tokenizer.pad_token_id)
    assert batch["attention_mask"].sum(dim=1).tolist() == lengths
    padding = batch["attention_mask"] == 0
    assert set(batch["input_ids"][padding].tolist()) == {tokenizer.pad_token_id}
    assert set(batch["labels"][padding].tolist()) == {IGNORED}
    assert ((batch["labels"] != IGNORED).sum(dim=1) > 0).all()  # one word at least of each


@pytest.mark.parametrize("kind", ["BERT", "RoBERTa", "ALBERT"])
def test_words_are_those_of_the_encoders_own_tokenizer(kind, tmp_path):
    make_tiny(kind, tmp_path)
    tokenizer = tokenizer_of(tmp_path)
    text = "severe fever and cough"
    (row,) = windows_of([text], wordpieces(tokenizer), 64)
    read = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    starts = {}
    for (start, _), word in zip(
        read["offset_mapping"], row["words"][row["words"] != NO_WORD], strict=True
    ):
        starts.setdefault(int(word), start)
    assert [text[start:].split()[0] for start in starts.values()] == text.split()


def test_a_tokenizer_without_a_mask_is_refused(tiny_bert):
    other = tokenizer_of(tiny_bert)
    other.mask_token = None
    with pytest.raises(PipelineError, match="no mask token"):
        hidden_words("fever", other, SIZE)
