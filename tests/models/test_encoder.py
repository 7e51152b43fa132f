"""The encoder over a real, tiny BERT: what it reads, what it costs, what it learns."""

import json
import logging
import random
import shutil
import tracemalloc

import numpy as np
import pytest
import spacy
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from spacy.tokens import Doc
from spacy.util import fix_random_seed
from spacy_transformers.data_classes import FullTransformerBatch
from spacy_transformers.layers.transformer_model import TransformerModel
from spacy_transformers.span_getters import get_doc_spans
from transformers import RobertaConfig, RobertaModel, RobertaTokenizerFast

from spacy_btl.errors import PipelineError
from spacy_btl.models import passes as passes_module
from spacy_btl.models.encoder import windowed_transformer
from tests.conftest import (
    NO_DROPOUT,
    SENTENCES,
    WORDS,
    bert_pipeline,
    make_examples,
    step,
    train,
)

EN = spacy.blank("en")


def initialized(encoder):
    encoder.initialize(X=[Doc(EN.vocab, words=["hello"])])
    return encoder


def make_encoder(tiny_bert, **settings):
    settings = {"window": 48, "overlap": 8, **settings}
    return initialized(windowed_transformer(name=str(tiny_bert), **settings))


@pytest.fixture(scope="module")
def encoder(tiny_bert):
    return make_encoder(tiny_bert)


def long_note(n_words, seed=0):
    words = random.Random(seed).choices([w for w in WORDS if not w.startswith("##")], k=n_words)
    return EN.make_doc(" ".join(words))


def pieces_per_token(batch):
    return np.concatenate([data.align.lengths for data in batch.doc_data if len(data.align)])


def spy(encoder):
    """The size (rows, wordpieces) of every forward pass and the dtype of its arithmetic."""
    passes = []

    def record(module, args, output):
        passes.append((tuple(output.shape[:2]), output.dtype))

    encoder.transformer.encoder.layer[0].output.dense.register_forward_hook(record)
    return passes


CLINICAL = st.text("abcAB012 .,-/()%+:°é♥’\n", min_size=1, max_size=20)


@pytest.fixture(scope="module", params=[16, 64])  # 64: all that the tiny BERT reads
def windowed(request, tiny_bert):
    return make_encoder(tiny_bert, window=request.param, overlap=4)


@settings(max_examples=20)
@given(pieces=st.lists(CLINICAL, min_size=30, max_size=60))
def test_no_token_of_a_long_note_goes_unread(windowed, pieces):
    doc = EN.make_doc(" ".join(pieces))
    batch = windowed.predict([doc])
    assert batch.wordpieces.input_ids.shape[1] <= 64
    unread = [
        token.text
        for token, n in zip(doc, pieces_per_token(batch), strict=True)
        if not n and not token.is_space
    ]
    assert unread == []


def test_a_word_cut_by_a_border_leaves_no_token_unread(tiny_bert):
    """The heart makes one unknown wordpiece of three tokens; cut behind it, they are six."""
    encoder = make_encoder(tiny_bert, window=64, overlap=0)
    for n_before in range(40, 63):
        doc = EN.make_doc("in " * n_before + "♥cannot" + " in" * 80)
        assert pieces_per_token(encoder.predict([doc])).all()


def test_a_window_over_the_encoders_limit_is_refused(tiny_bert):
    with pytest.raises(PipelineError, match=r"at most 64 .* window of 65"):
        make_encoder(tiny_bert, window=65)


def test_a_literal_special_token_is_plain_text(encoder):
    doc = EN.make_doc("[CLS] fever [SEP] cough [PAD] [MASK] pain [UNK]")
    batch = encoder.predict([doc])
    assert pieces_per_token(batch).all()
    strings = batch.wordpieces.strings[0]
    assert (strings[0], strings[-1]) == ("[CLS]", "[SEP]")
    assert {"[CLS]", "[SEP]", "[PAD]", "[MASK]"}.isdisjoint(strings[1:-1])


def test_long_notes_leave_no_warning(encoder, caplog):
    with caplog.at_level(logging.WARNING):
        encoder.predict([long_note(500), EN.make_doc("a_b" * 1700)])
    assert caplog.messages == []


@pytest.fixture(scope="module")
def bare_bert(tiny_bert, tmp_path_factory):
    """Saved as BioBERT is on the hub: cased, with a vocabulary, and no tokenizer settings."""
    folder = tmp_path_factory.mktemp("bare-bert")
    for name in ("config.json", "vocab.txt", "model.safetensors"):
        shutil.copy(tiny_bert / name, folder)
    return folder


@pytest.fixture
def bare_encoder(bare_bert):
    return make_encoder(bare_bert, tokenizer_config={"do_lower_case": False})


@pytest.mark.parametrize("token", ["a" * 5000, "a_b" * 1700])
def test_a_tokenizer_without_a_limit_cuts_an_overlong_token_only(bare_encoder, token):
    doc = EN.make_doc(f"severe fever {token} in the left arm")
    assert len(doc) == 7
    batch = bare_encoder.predict([doc])
    assert batch.wordpieces.input_ids.shape[1] <= 64
    assert pieces_per_token(batch).all()


def test_a_tokenizer_without_a_limit_trains_on_an_overlong_token(bare_encoder):
    batch, backprop = bare_encoder.begin_update([EN.make_doc("fever " + "a_b" * 1700)])
    backprop(gradient_of(batch, np.ones_like))
    assert has_gradient(bare_encoder)


def test_a_saved_tokenizer_stays_cased_limited_and_literal(bare_encoder, bare_bert):
    loaded = windowed_transformer(name=str(bare_bert), window=48, overlap=8)
    loaded.from_bytes(bare_encoder.to_bytes())
    for tokenizer in (bare_encoder.tokenizer, loaded.tokenizer):
        assert tokenizer.tokenize("Fever fever") == ["[UNK]", "fever"]
        assert tokenizer("[SEP]").input_ids.count(tokenizer.sep_token_id) == 1
        assert tokenizer.model_max_length == 64


def gradient_of(batch: FullTransformerBatch, of):
    """A gradient of the batch's hidden states, made from them, with nothing on the padding."""
    hidden = batch.model_output.last_hidden_state.detach().numpy()
    d_hidden = of(hidden) * batch.wordpieces.attention_mask[:, :, None]
    return batch.unsplit_by_doc([[d_hidden.astype("float32")]])


def has_gradient(encoder):
    return any(p.grad is not None and p.grad.any() for p in encoder.transformer.parameters())


@pytest.mark.parametrize("max_wordpieces", [1, 100, 200])
def test_forward_passes_are_bounded_and_change_nothing(tiny_bert, encoder, max_wordpieces):
    docs = [long_note(300), EN.make_doc("fever"), EN.make_doc(""), long_note(40, seed=1)]
    bounded = make_encoder(tiny_bert, max_wordpieces=max_wordpieces)
    passes = spy(bounded)
    whole = encoder.predict(docs).model_output.last_hidden_state
    hidden = bounded.predict(docs).model_output.last_hidden_state

    assert len(passes) > 1
    assert all(rows * width <= max_wordpieces or rows == 1 for (rows, width), _ in passes)
    mask = torch.tensor(encoder.predict(docs).wordpieces.attention_mask, dtype=torch.bool)
    torch.testing.assert_close(hidden[mask], whole[mask], atol=1e-5, rtol=0)


def test_a_note_of_200_000_characters(tiny_bert):
    encoder = make_encoder(tiny_bert, window=64, overlap=16)
    passes = spy(encoder)
    doc = EN.make_doc("severe fever and cough , crp was 84 mg / l today . " * 4000)
    assert len(doc.text) > 200_000
    assert pieces_per_token(encoder.predict([doc])).all()
    assert max(rows * width for (rows, width), _ in passes) <= 8192


def test_an_overlong_token_costs_no_more_than_the_note_around_it(tiny_bert):
    encoder = make_encoder(tiny_bert, window=64, overlap=16)
    words = "severe fever and cough , crp was 84 mg / l today . " * 1300  # as many wordpieces
    note, longer = (EN.make_doc(text) for text in (words, words + "a_b" * 5000))
    tracemalloc.start()
    encoder.predict([note])
    _, plain = tracemalloc.get_traced_memory()
    tracemalloc.reset_peak()
    encoder.predict([longer])
    _, with_overlong_token = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert with_overlong_token < 2 * plain


@pytest.mark.parametrize("pass_cost", [1, 512])  # windows of unlike length apart, or together
def test_on_short_notes_it_learns_as_the_stock_encoder(tiny_bert, monkeypatch, pass_cost):
    monkeypatch.setattr(passes_module, "PASS_ON_CPU", pass_cost)
    stock = initialized(
        TransformerModel(str(tiny_bert), get_doc_spans, {"use_fast": True}, dict(NO_DROPOUT))
    )
    ours = make_encoder(tiny_bert, transformer_config=NO_DROPOUT)
    docs = [EN.make_doc(text) for text, _ in SENTENCES]
    passes = spy(ours)
    rng = np.random.default_rng(0)
    d_hidden = rng.normal(size=ours.predict(docs).model_output.last_hidden_state.shape)
    for model in (stock, ours):
        batch, backprop = model.begin_update(docs)
        backprop(gradient_of(batch, lambda _: d_hidden))
    assert (len(passes) > 2) == (pass_cost == 1)
    assert has_gradient(stock)
    theirs = dict(stock.transformer.named_parameters())
    for name, parameter in ours.transformer.named_parameters():
        if theirs[name].grad is not None:
            torch.testing.assert_close(parameter.grad, theirs[name].grad, atol=1e-5, rtol=1e-5)


def read_in_training(encoder, docs):
    """The wordpieces that the network reads, int [windows, wordpieces]."""
    read = []
    embeddings = encoder.transformer.embeddings.word_embeddings
    hook = embeddings.register_forward_hook(lambda module, args, output: read.append(args[0]))
    encoder.begin_update(docs)
    hook.remove()
    (ids,) = read
    return ids.numpy()


def test_training_hides_a_share_of_the_wordpieces(tiny_bert):
    encoder, plain = make_encoder(tiny_bert, masking=0.3), make_encoder(tiny_bert)
    docs = [long_note(2000)]
    ids = read_in_training(plain, docs)
    fix_random_seed(0)
    masked = read_in_training(encoder, docs)
    hidden = masked != ids
    assert (masked[hidden] == encoder.tokenizer.mask_token_id).all()
    special = np.isin(ids, encoder.tokenizer.all_special_ids)
    assert not hidden[special].any()
    assert hidden[~special].mean() == pytest.approx(0.3, abs=0.04)
    assert (read_in_training(encoder, docs) != masked).any()
    fix_random_seed(0)
    np.testing.assert_array_equal(read_in_training(encoder, docs), masked)


def test_an_encoder_that_seeds_numpy_in_each_pass_is_masked_and_cut_anew_all_the_same(tiny_bert):
    encoder = make_encoder(tiny_bert, masking=0.3, random_windows=True)
    encoder.transformer.register_forward_hook(lambda module, args, output: np.random.seed(0))
    note, long = EN.make_doc("fever " * 40), long_note(2000)
    masks = [read_in_training(encoder, [note]).tolist() for _ in range(4)]
    cuts = [borders(encoder.begin_update([long])[0]) for _ in range(4)]
    assert all(masks[0] != mask for mask in masks[1:])
    assert any(cuts[0] != cut for cut in cuts[1:])


def test_two_trainings_of_one_process_hide_the_same(tiny_bert):
    def trained_once(seed):
        nlp = bert_pipeline(tiny_bert, encoder={"masking": 0.3, "random_windows": True})
        return train(nlp, steps=3, seed=seed)(SENTENCES[0][0])._.token_logits

    np.testing.assert_array_equal(trained_once(1), trained_once(1))
    assert (trained_once(1) != trained_once(2)).any()


def test_random_windows_cut_long_notes_elsewhere_in_each_batch(tiny_bert):
    encoder, plain = make_encoder(tiny_bert, random_windows=True), make_encoder(tiny_bert)
    note, short = long_note(2000), long_note(10)
    fix_random_seed(0)
    first, again = (borders(encoder.begin_update([note, short])[0]) for _ in range(2))
    assert first[0] != again[0]
    assert first[0][-1][1] == again[0][-1][1] == len(note)
    assert first[1] == again[1] == [(0, len(short))]
    fix_random_seed(0)
    assert borders(encoder.begin_update([note, short])[0]) == first
    assert borders(encoder.predict([note])) == borders(plain.predict([note]))
    assert borders(plain.begin_update([note])[0]) == borders(plain.predict([note]))


def borders(batch):
    return [[(span.start, span.end) for span in spans] for spans in batch.spans]


def test_nothing_is_hidden_at_prediction(tiny_bert):
    docs = [long_note(200)]
    encoder, plain = make_encoder(tiny_bert, masking=0.9), make_encoder(tiny_bert)
    hidden = encoder.predict(docs).model_output.last_hidden_state
    np.testing.assert_array_equal(hidden, plain.predict(docs).model_output.last_hidden_state)


def test_the_cpu_trains_in_bfloat16_and_predicts_in_float32(tiny_bert, monkeypatch):
    monkeypatch.setattr(passes_module, "cpu_has_bfloat16", lambda: True)
    nlp = bert_pipeline(tiny_bert, encoder={"mixed_precision": True})
    train(nlp, steps=1)
    passes = spy(nlp.get_pipe("transformer").model)
    optimizer = nlp.resume_training()
    optimizer.learn_rate = 0.005
    losses = [step(nlp, make_examples(nlp), optimizer)["ner"] for _ in range(15)]
    assert {dtype for _, dtype in passes} == {torch.bfloat16}
    assert losses[-1] < losses[0] / 2

    passes.clear()
    logits = [nlp(text)._.token_logits for text, _ in SENTENCES]
    assert {dtype for _, dtype in passes} == {torch.float32}
    exact = bert_pipeline(tiny_bert)
    exact.initialize(lambda: make_examples(exact))
    for name, pipe in nlp.pipeline:
        exact.get_pipe(name).from_bytes(pipe.to_bytes())
    for (text, _), expected in zip(SENTENCES, logits, strict=True):
        np.testing.assert_array_equal(exact(text)._.token_logits, expected)


def test_it_predicts_in_bfloat16_if_asked_to(tiny_bert, monkeypatch):
    monkeypatch.setattr(passes_module, "cpu_has_bfloat16", lambda: True)
    encoder, exact = make_encoder(tiny_bert, predict_bfloat16=True), make_encoder(tiny_bert)
    passes = spy(encoder)
    docs = [long_note(200)]
    rounded = encoder.predict(docs).model_output.last_hidden_state
    assert {dtype for _, dtype in passes} == {torch.bfloat16}
    hidden = exact.predict(docs).model_output.last_hidden_state
    np.testing.assert_allclose(rounded, hidden, atol=0.1)
    encoder.begin_update(docs)
    assert passes[-1][1] == torch.float32


def test_without_the_processors_bfloat16_all_is_in_float32(tiny_bert, monkeypatch):
    monkeypatch.setattr(passes_module, "cpu_has_bfloat16", lambda: False)
    encoder = make_encoder(tiny_bert, mixed_precision=True, predict_bfloat16=True)
    passes = spy(encoder)
    encoder.begin_update([EN.make_doc("fever")])
    encoder.predict([EN.make_doc("fever")])
    assert {dtype for _, dtype in passes} == {torch.float32}


def test_a_saved_encoder_heeds_the_bound_in_the_config(trained, tmp_path):
    trained.to_disk(tmp_path)
    changed = {"components.transformer.model.max_wordpieces": 1}
    nlp = spacy.load(tmp_path, config=changed)
    passes = spy(nlp.get_pipe("transformer").model)
    nlp(long_note(200).text)
    assert {rows for (rows, _), _ in passes} == {1}


def test_the_positions_that_a_roberta_never_uses_are_not_counted(tmp_path):
    """It has `max_position_embeddings` of them, and begins behind that of its padding."""
    pieces = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", *"xyz"]
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    (tmp_path / "vocab.json").write_text(json.dumps(vocabulary))
    (tmp_path / "merges.txt").write_text("#version: 0.2\n")
    files = {"vocab_file": "vocab.json", "merges_file": "merges.txt"}
    RobertaTokenizerFast(
        **{key: str(tmp_path / file) for key, file in files.items()}
    ).save_pretrained(tmp_path)
    size = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = RobertaConfig(
        vocab_size=len(pieces), intermediate_size=32, max_position_embeddings=66, **size
    )
    RobertaModel(config).save_pretrained(tmp_path)
    encoder = make_encoder(tmp_path)
    batch = encoder.predict([EN.make_doc(f"x {'y' * 200} z")])
    assert batch.wordpieces.input_ids.shape[1] == 64
