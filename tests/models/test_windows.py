"""Windows as a matter of counts; test_encoder.py reads real notes through them."""

from itertools import pairwise

import numpy as np
import pytest
import spacy
from hypothesis import given
from hypothesis import strategies as st
from transformers import BertTokenizerFast

from spacy_btl.errors import PipelineError
from spacy_btl.models.windows import (
    WordpieceWindows,
    natural_ends,
    window_borders,
    wordpiece_counts,
)
from spacy_btl.models.wordpieces import WordpieceTokenizer

COUNTS = st.lists(st.integers(0, 12), max_size=60).map(lambda counts: np.array(counts, dtype=int))
EN = spacy.blank("en")
BUDGETS = st.integers(1, 30)
OVERLAPS = st.integers(0, 40)


def windows(counts, budget, overlap):
    return list(window_borders(counts, budget, overlap))


@given(COUNTS, BUDGETS, OVERLAPS)
def test_windows_cover_every_token_in_order(counts, budget, overlap):
    made = windows(counts, budget, overlap)
    assert ([0] + [end for _, end in made])[-1] == len(counts)
    for (start, end), (next_start, next_end) in zip([(-1, 0), *made], made, strict=False):
        assert start < next_start <= end < next_end


@given(COUNTS, BUDGETS, OVERLAPS)
def test_a_window_keeps_to_the_budget_save_for_one_overlong_token(counts, budget, overlap):
    for start, end in windows(counts, budget, overlap):
        assert counts[start:end].sum() <= budget or end - start == 1


@given(COUNTS, BUDGETS, OVERLAPS, st.integers(1, 30))
def test_a_shorter_first_window_changes_where_the_others_begin_and_nothing_else(
    counts, budget, overlap, first
):
    made = list(window_borders(counts, budget, overlap, first=min(first, budget)))
    assert ([0] + [end for _, end in made])[-1] == len(counts)
    for i, (start, end) in enumerate(made):
        assert counts[start:end].sum() <= (budget if i else min(first, budget)) or end - start == 1
    for (start, end), (next_start, next_end) in pairwise(made):
        assert start <= next_start <= end < next_end


@given(COUNTS, BUDGETS, OVERLAPS)
def test_neighbours_overlap_as_asked_as_far_as_there_is_room(counts, budget, overlap):
    made = windows(counts, budget, overlap)
    for (_, end), (start, _) in pairwise(made):
        assert counts[start:end].sum() <= overlap
        # One token more of context would be too much, or leave no room for the next token.
        longer = counts[start - 1 : end].sum()
        assert longer > overlap or longer + counts[end] > budget


@given(COUNTS, BUDGETS, st.data())
def test_without_overlap_windows_end_where_a_sentence_does_if_they_can(counts, budget, data):
    ends = np.array(data.draw(st.lists(st.booleans(), min_size=len(counts), max_size=len(counts))))
    made = list(window_borders(counts, budget, 0, ends.astype(bool)))
    assert sum(counts[start:end].sum() for start, end in made) == counts.sum()
    assert ([0] + [end for _, end in made])[-1] == len(counts)
    for start, end in made:
        size = counts[start:end].sum()
        assert size <= budget or end - start == 1
        if end == len(counts):
            continue
        later = range(end + 1, len(counts))  # where it could have ended, and full enough
        possible = [i for i in later if ends[i - 1] and counts[start:i].sum() <= budget]
        assert not [i for i in possible if counts[start:i].sum() > budget / 2]
        if not ends[end - 1]:  # at the budget then
            assert size + counts[end] > budget


def test_sentences_and_lines_that_are_not_full_are_natural_ends():
    doc = EN.make_doc("No fever. BP 1.5 mg\nIs it  so? Yes, all day long\nit is\n\n- pain")
    assert [doc[int(i)].text for i in np.flatnonzero(natural_ends(doc))] == [".", "\n", "?", "\n\n"]


def test_an_encoder_without_overlap_reads_sentences_whole(tokenizer):
    doc = EN.make_doc("the patient had severe fever and cough . " * 20)
    (borders,) = WordpieceWindows(48, 0)([doc], tokenizer.read([doc]), tokenizer).borders
    spans = [doc[start:end] for start, end in borders]
    assert len(spans) > 2
    assert {span[-1].text for span in spans} == {"."}
    assert [token.i for span in spans for token in span] == [token.i for token in doc]


@pytest.fixture(scope="module")
def tokenizer(tiny_bert):
    fast = BertTokenizerFast.from_pretrained(tiny_bert, split_special_tokens=True)
    return WordpieceTokenizer.from_fast(fast, reads_types=True)


@given(st.text(st.sampled_from("abz09 \n\t.-é♥\u200b\u0301\u4e2d\U0001f912"), max_size=60))
def test_every_wordpiece_is_counted_for_one_token_and_in_a_window(tokenizer, text):
    doc = EN.make_doc(text)
    (pieces,) = tokenizer.read([doc])
    counts = wordpiece_counts(pieces)
    assert counts.shape == (len(doc),)
    assert counts.sum() == len(tokenizer.tokenizer.encode(text, add_special_tokens=False))
    covered = {i for start, end in windows(counts, 8, 2) for i in range(start, end)}
    assert counts[sorted(covered)].sum() == counts.sum()


def test_a_border_token_is_read_with_context_on_both_sides():
    assert windows(np.ones(10, int), 6, 2) == [(0, 6), (4, 10)]


@pytest.mark.parametrize("overlap", [-1, 24, 48])
def test_an_overlap_of_half_a_window_or_less_than_none_is_refused(overlap):
    with pytest.raises(PipelineError, match=f"overlap \\({overlap}\\)"):
        WordpieceWindows(window=48, overlap=overlap)
