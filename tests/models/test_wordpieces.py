"""No token is read from its neighbour's wordpiece, whatever blanks the tokenizer counts to it."""

import json
from collections.abc import Callable

import numpy as np
import pytest
import spacy
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from spacy_btl.models.windows import WordpieceWindows, wordpiece_counts
from spacy_btl.models.wordpieces import WordpieceTokenizer, trim_offsets
from tests.conftest import WORDS, make_tiny_bert
from tests.models.test_encoder import make_encoder

EN = spacy.blank("en")
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
TEXTS = ["the patient had severe fever and cough , crp was 84 mg / l today . " * 2]
NOTES = [
    "fever and cough today",
    "  fever\n\nand   cough\t84 mg ",
    "Fièvre élevée, e\u0301tat : 38 °C",
    "発熱 and 咳 today",
    "fe\U0001f912ver \U0001f912 cough\U0001f1e9\U0001f1ea",
    "fever\u00a0and\u2009cough \u200b today\u3000. \u200bcrp",
    "½ mg ﬁne \ufffd x",
]


def word_piece() -> Tokenizer:
    vocabulary = [*SPECIAL, *(word for word in WORDS if len(word) < 5)]
    pieces = {piece: number for number, piece in enumerate(vocabulary)}
    tokenizer = Tokenizer(models.WordPiece(pieces, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return tokenizer


def byte_level(*, prefix: bool, trimmed: bool) -> Tokenizer:
    """As RoBERTa's is, with or without a blank before the text, and in its offsets."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=320, initial_alphabet=alphabet, special_tokens=SPECIAL, show_progress=False
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=trimmed)
    return tokenizer


def byte_fallback() -> Tokenizer:
    """As Gemma's is: blanks are pieces, and an unknown character is its bytes."""
    letters = ["▁", *"abcdefghijklmnopqrstuvwxyz", "er", "▁f", "▁c"]
    pieces = [*SPECIAL, *(f"<0x{byte:02X}>" for byte in range(256)), *letters]
    merges = [("e", "r"), ("▁", "f"), ("▁", "c")]
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, byte_fallback=True, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    return tokenizer


def unigram(*, prefix: str) -> Tokenizer:
    """As that of XLM-R, ALBERT or DeBERTa-v3 is, whose normalization makes blanks of other
    characters and one blank of several."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.NFKC(),
            normalizers.Replace(Regex("[\n\t\u200b\ufffd]"), " "),
            normalizers.Replace(Regex(" {2,}"), " "),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=prefix)
    trainer = trainers.UnigramTrainer(
        vocab_size=60, special_tokens=SPECIAL, unk_token="[UNK]", show_progress=False
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    return tokenizer


TOKENIZERS: dict[str, Callable[[], Tokenizer]] = {
    "WordPiece": word_piece,
    "byte-level": lambda: byte_level(prefix=False, trimmed=False),
    "byte-level, prefix": lambda: byte_level(prefix=True, trimmed=False),
    "byte-level, trimmed": lambda: byte_level(prefix=True, trimmed=True),
    "byte fallback": byte_fallback,
    "Unigram": lambda: unigram(prefix="never"),
    "Unigram, prefix": lambda: unigram(prefix="always"),
    "Unigram, first": lambda: unigram(prefix="first"),
}


@pytest.fixture(scope="module", params=TOKENIZERS)
def tokenizer(request):
    return PreTrainedTokenizerFast(
        tokenizer_object=TOKENIZERS[request.param](),
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_max_length=64,
    )


@pytest.fixture(scope="module")
def encoder(tokenizer, tmp_path_factory):
    folder = make_tiny_bert(tmp_path_factory.mktemp("bert"), words=[f"w{i}" for i in range(400)])
    for path in folder.glob("*token*"):
        path.unlink()
    (folder / "vocab.txt").unlink()
    tokenizer.save_pretrained(folder)
    return make_encoder(folder)


def windows_of(docs, tokenizer, size, overlap):
    return WordpieceWindows(size, overlap)(docs, tokenizer.read(docs), tokenizer)


def counts_of(doc, fast):
    (pieces,) = WordpieceTokenizer.from_fast(fast, reads_types=False).read([doc])
    return wordpiece_counts(pieces)


def visible(text: str, start: int, end: int) -> set[int]:
    return {place for place in range(start, end) if not text[place].isspace()}


def pieces_of_tokens(encoder, doc):
    """The numbers of the wordpieces that each token is read from. The note has one window."""
    align = encoder.predict([doc]).align
    return np.split(align.data.ravel(), np.cumsum(align.lengths)[:-1])


def check(encoder, text):
    """By sets of characters, which is slow, and cannot be wrong by one."""
    doc = EN.make_doc(text)
    offsets = encoder.tokenizer(text, return_offsets_mapping=True).offset_mapping
    for token, found in zip(doc, pieces_of_tokens(encoder, doc), strict=True):
        characters = visible(text, token.idx, token.idx + len(token))
        expected = [
            i for i, (start, end) in enumerate(offsets) if characters & visible(text, start, end)
        ]
        assert found.tolist() == expected, token.i


@pytest.mark.parametrize("note", NOTES)
def test_a_token_is_read_from_the_pieces_of_its_visible_characters(encoder, note):
    check(encoder, note)


@settings(max_examples=30)
@given(st.text("fevrcough\u00e9\u4e2d\U0001f912e\u0301 \n\t\u00a0\u2009\u3000.,", max_size=15))
def test_so_in_any_text(encoder, text):
    if text.strip():
        check(encoder, text)


@pytest.mark.parametrize("note", NOTES)
def test_a_window_that_begins_with_a_token_holds_the_pieces_counted_for_it(tokenizer, note):
    doc = EN.make_doc(note)
    counts = counts_of(doc, tokenizer)
    assert counts.sum() == len(tokenizer(note, add_special_tokens=False).input_ids)
    offsets = tokenizer(note, add_special_tokens=False, return_offsets_mapping=True).offset_mapping
    firsts = np.zeros(len(doc), dtype=int)
    for start, end in offsets:
        seen = sorted(visible(note, start, end))
        if seen:
            firsts[max(token.i for token in doc if token.idx <= seen[0])] += 1
    words = [token.i for token in doc if not token.is_space]
    assert (counts[words] >= firsts[words]).all()
    assert (counts - firsts).sum() == sum(not visible(note, *pair) for pair in offsets)


@pytest.mark.parametrize("control", "\x0b\x0c\x1c\x1d\x1e\x1f\x85")
def test_words_on_both_sides_of_a_control_character_are_read_as_two(encoder, control):
    apart, doc = EN.make_doc("fever cough"), EN.make_doc(f"fever{control}cough")
    strings = [encoder.predict([read]).wordpieces.strings for read in (apart, doc)]
    assert strings[0] == strings[1]
    fever, cough = pieces_of_tokens(encoder, apart)
    found = [rows.tolist() for rows in pieces_of_tokens(encoder, doc)]
    assert found == [fever.tolist(), [], cough.tolist()]
    assert counts_of(doc, encoder.tokenizer).sum() == len(
        encoder.tokenizer(apart.text, add_special_tokens=False).input_ids
    )


def test_a_window_of_a_whole_note_is_what_transformers_makes_of_it(tokenizer):
    """Among longer and shorter ones: numbers, mask, types and strings."""
    ours = WordpieceTokenizer.from_fast(tokenizer, reads_types=True)
    batch = windows_of([EN.make_doc(note) for note in NOTES], ours, 64, 0)
    assert [len(borders) for borders in batch.borders] == [1] * len(NOTES)
    theirs = tokenizer(NOTES, padding="longest", return_tensors="np", return_token_type_ids=True)
    np.testing.assert_array_equal(batch.ids, theirs.input_ids)
    np.testing.assert_array_equal(batch.mask, theirs.attention_mask)
    np.testing.assert_array_equal(batch.types, theirs.token_type_ids)
    strings = [tokenizer.convert_ids_to_tokens(ids) for ids in theirs.input_ids]
    assert ours.vocabulary[batch.ids].tolist() == strings


def token_types(tokenizer: Tokenizer) -> Tokenizer:
    """As XLNet's: special tokens at the end, of types of their own."""
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A:0 [SEP]:0 [CLS]:2", special_tokens=[("[SEP]", 3), ("[CLS]", 2)]
    )
    return tokenizer


@pytest.mark.parametrize(("note", "padded"), [("fever", 3), ("fever and cough today", 0)])
def test_special_tokens_of_any_number_and_type_are_put_around_a_window(note, padded):
    fast = PreTrainedTokenizerFast(
        tokenizer_object=token_types(word_piece()), pad_token="[PAD]", model_max_length=64
    )
    fast._pad_token_type_id = 3
    ours = WordpieceTokenizer.from_fast(fast, reads_types=True)
    batch = windows_of([EN.make_doc(text) for text in (note, NOTES[0])], ours, 64, 0)
    theirs = fast([note, NOTES[0]], padding="longest", return_tensors="np")
    assert (batch.mask[0] == 0).sum() == padded
    np.testing.assert_array_equal(batch.ids, theirs.input_ids)
    np.testing.assert_array_equal(batch.types, theirs.token_type_ids)


def check_windows(tokenizer, text, size, overlap):
    """Each window has its part of the note's wordpieces, by their characters."""
    doc = EN.make_doc(text)
    ours = WordpieceTokenizer.from_fast(tokenizer, reads_types=False)
    batch = windows_of([EN.make_doc("fever"), doc], ours, size, overlap)
    encoding = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    read = [visible(text, *pair) for pair in encoding.offset_mapping]
    expected = [[] for _ in doc]
    for row, (start, end) in enumerate(batch.borders[1], start=1):
        n_read = int(batch.mask[row].sum())
        own = doc[start:end]
        places = {
            place for token in own for place in visible(text, token.idx, token.idx + len(token))
        }
        pieces = [i for i, seen in enumerate(read) if seen & places]
        assert all(read[i] <= places for i in pieces)  # none is cut
        ids = batch.ids[row, :n_read].tolist()
        if pieces:
            inner = encoding.input_ids[pieces[0] : pieces[-1] + 1]
            begin = next(i for i in range(len(ids)) if ids[i : i + len(inner)] == inner)
            blanks = set(range(len(read))) - set(pieces)
            assert n_read - len(inner) <= len(blanks)
            for token in own:
                characters = visible(text, token.idx, token.idx + len(token))
                expected[token.i] += [
                    row * batch.ids.shape[1] + begin + i - pieces[0]
                    for i in pieces
                    if read[i] & characters
                ]
    found = np.split(batch.places, np.cumsum(batch.lengths)[:-1])[1:]
    assert [places.tolist() for places in found] == expected


@pytest.mark.parametrize("note", NOTES)
@pytest.mark.parametrize("overlap", [0, 3])
def test_windows_cut_no_wordpiece_and_align_as_the_whole_note_does(tokenizer, note, overlap):
    check_windows(tokenizer, (note + " ") * 5, 24, overlap)


@settings(max_examples=30)
@given(st.text("fevrcough\u00e9\u4e2d\U0001f912e\u0301 \n\t\u00a0\u2009.,", max_size=40))
def test_so_in_any_text_of_any_tokenizer(tokenizer, text):
    if text.strip():
        check_windows(tokenizer, text, 24, 4)


def test_a_text_that_a_tokenizer_has_nothing_for_is_one_padded_place():
    tokenizer = Tokenizer(models.BPE({"a": 0, "[PAD]": 1}, []))
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]")
    ours = WordpieceTokenizer.from_fast(fast, reads_types=False)
    batch = windows_of([EN.make_doc("発熱"), EN.make_doc("")], ours, 16, 0)
    assert (batch.ids.tolist(), batch.mask.tolist()) == ([[1]], [[0.0]])
    assert (batch.borders, batch.lengths.tolist()) == ([[(0, 1)], []], [0])


def test_a_saved_tokenizer_reads_as_before_whatever_it_was_last_used_with(tokenizer):
    docs = [EN.make_doc(note) for note in (*NOTES, "[SEP] fever")]
    ours = WordpieceTokenizer.from_fast(tokenizer, reads_types=True)
    expected = windows_of(docs, ours, 24, 4)
    tokenizer(NOTES, truncation=True, padding="max_length", max_length=5)
    saved = json.loads(json.dumps(ours.to_dict()))
    for one in (ours, WordpieceTokenizer.from_dict(saved)):
        found = windows_of(docs, one, 24, 4)
        for name in ("ids", "mask", "places", "lengths"):
            np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))


def test_offsets_without_white_space_are_left_alone():
    offsets = np.array([[0, 0], [0, 5], [6, 9], [9, 10], [0, 0]])
    assert trim_offsets(offsets, "fever and.") is offsets


def test_offsets_are_trimmed_at_both_ends():
    offsets = np.array([[0, 0], [0, 7], [7, 9], [7, 13], [14, 14]])
    trimmed = trim_offsets(offsets, " fever  and \n.")
    assert trimmed.tolist() == [[0, 0], [1, 6], [8, 9], [8, 11], [14, 14]]
    assert trim_offsets(np.array([[1, 3], [0, 1]]), "a  b").tolist() == [[1, 1], [0, 1]]
