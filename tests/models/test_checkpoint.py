"""What a checkpoint may lack, and what is said about one that cannot be used."""

import json
import tempfile
from pathlib import Path

import numpy as np
import pytest
import spacy
import srsly
import torch
from spacy_transformers.layers.hf_shim import HFShim
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    AutoModel,
    AutoTokenizer,
    BertModel,
    PreTrainedTokenizerFast,
    XLNetModel,
    modeling_utils,
)

from spacy_btl.errors import PipelineError
from spacy_btl.exchange.huggingface import import_hf
from spacy_btl.models.shim import shim_of
from tests.conftest import SENTENCES, bert_pipeline, make_examples, make_tiny_bert, train
from tests.models.test_encoder import EN, make_encoder
from tests.models.tiny_encoders import make_tiny

NOTE = "the patient had severe fever and cough"


@pytest.fixture
def checkpoint(tmp_path):
    """A tiny BERT to spoil."""
    return make_tiny_bert(tmp_path / "bert")


def change(path, **values):
    """Change keys of a JSON file; None takes a key out."""
    content = {**json.loads(path.read_text(encoding="utf-8")), **values}
    content = {key: value for key, value in content.items() if value is not None}
    path.write_text(json.dumps(content), encoding="utf-8")


@pytest.mark.parametrize(
    ("gone", "message"),
    [
        (["config.json"], r"bert: config\.json is missing"),
        (["model.safetensors"], r"bert: model\.safetensors is missing"),
        (
            ["tokenizer.json", "vocab.txt"],
            r"tokenizer of '.*bert'.* /.*bert/tokenizer\.json is miss",
        ),
    ],
)
def test_a_file_that_is_missing_is_named_with_its_folder(checkpoint, gone, message):
    for name in gone:
        (checkpoint / name).unlink()
    with pytest.raises(PipelineError, match=message) as error:
        make_encoder(checkpoint)
    assert "\n" not in str(error.value)


def test_a_sentencepiece_file_alone_is_named(tmp_path):
    folder = make_tiny("XLM-RoBERTa", tmp_path)
    (folder / "tokenizer.json").rename(folder / "sentencepiece.bpe.model")
    with pytest.raises(
        PipelineError, match=r"only the package sentencepiece reads sentencepiece\.bpe"
    ):
        make_encoder(folder)


def test_a_name_that_is_nothing_is_refused_in_a_line(tmp_path):
    with pytest.raises(PipelineError, match="not a folder") as error:
        make_encoder(tmp_path / "none")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("damaged", ["config.json", "tokenizer.json", "model.safetensors"])
def test_a_damaged_file_is_an_error_of_ours(checkpoint, damaged):
    path = checkpoint / damaged
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(PipelineError, match=r"transformers cannot load the \w+ of"):
        make_encoder(checkpoint)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"num_hidden_layers": 3}, r"encoder\.layer\.2\.\S+ is missing"),
        ({"hidden_size": 64}, r"embeddings\.\S+ is missing or has another size"),
        ({"max_position_embeddings": 128}, r"position_embeddings\.weight is missing or has"),
        ({"hidden_act": "gelu_new_"}, r"cannot load the weights .* values in transformer_config"),
    ],
)
def test_no_layer_of_an_encoder_is_of_random_weights(checkpoint, changes, named):
    with pytest.raises(PipelineError, match=named) as error:
        make_encoder(checkpoint, transformer_config=changes)
    assert str(error.value).endswith("Are the values in transformer_config right?")


def test_weights_of_another_model_are_refused(checkpoint):
    network = BertModel.from_pretrained(checkpoint)
    weights = {f"another.{name}": values for name, values in network.state_dict().items()}
    network.save_pretrained(checkpoint, state_dict=weights)
    with pytest.raises(PipelineError, match=r"do not fit its config: \S+ is missing .* at random"):
        make_encoder(checkpoint)


@pytest.mark.parametrize("name", ["XLM-RoBERTa", "ALBERT", "DeBERTa-v2, DeBERTa-v3", "CamemBERT"])
def test_a_tokenizer_json_alone_trains_saves_and_loads(name, tmp_path):
    """As transformers 5 writes the tokenizers of SentencePiece."""
    folder = make_tiny(name, tmp_path / "encoder")
    assert not [*folder.glob("*.model")]
    nlp = train(bert_pipeline(folder), steps=1)
    nlp.to_disk(tmp_path / "model")
    again = spacy.load(tmp_path / "model")
    again.to_disk(tmp_path / "again")
    for loaded in (
        again,
        spacy.load(tmp_path / "again"),
        bert_pipeline(folder).from_bytes(nlp.to_bytes()),
    ):
        np.testing.assert_array_equal(loaded(NOTE)._.token_logits, nlp(NOTE)._.token_logits)


@pytest.mark.parametrize("extra", [{}, {"extra_special_tokens": ["[X]"]}])
def test_the_tokenizer_class_of_transformers_5_is_read(checkpoint, extra):
    expected = make_encoder(checkpoint).predict([EN.make_doc(NOTE)]).wordpieces.strings
    (checkpoint / "special_tokens_map.json").unlink()
    (checkpoint / "vocab.txt").unlink()
    config = {
        "backend": "tokenizers",
        "tokenizer_class": "TokenizersBackend",
        "pad_token": "[PAD]",
        "mask_token": "[MASK]",
        "model_max_length": 64,
    }
    (checkpoint / "tokenizer_config.json").write_text(json.dumps({**config, **extra}))
    encoder = make_encoder(checkpoint)
    assert encoder.predict([EN.make_doc(NOTE)]).wordpieces.strings == expected
    assert encoder.tokenizer.additional_special_tokens == extra.get("extra_special_tokens", [])


def test_a_key_that_the_config_does_not_have_is_named_with_the_nearest(tiny_bert):
    with pytest.raises(PipelineError, match=r"'hidden_dropout'.* is 'hidden_dropout_prob'"):
        make_encoder(tiny_bert, transformer_config={"hidden_dropout": 0.0})
    encoder = make_encoder(tiny_bert, transformer_config={"attn_implementation": "eager"})
    assert encoder.transformer.config._attn_implementation == "eager"


@pytest.fixture
def fetched(monkeypatch):
    """The repositories that transformers asks the package `kernels` for, as if that were there."""
    asked = []

    def get_kernel(repository):
        asked.append(repository)
        raise FileNotFoundError(repository)

    monkeypatch.setattr(modeling_utils, "is_kernels_available", lambda: True)
    monkeypatch.setattr(modeling_utils, "get_kernel", get_kernel, raising=False)
    return asked


KERNEL = "someone/something:attention"


def test_a_config_that_names_code_of_the_hub_is_refused(checkpoint, tmp_path, fetched):
    nlp = bert_pipeline(checkpoint)
    nlp.initialize(lambda: make_examples(nlp))
    layer = nlp.get_pipe("transformer").model
    with pytest.raises(PipelineError, match="names code of the Hugging Face hub"):
        make_encoder(checkpoint, transformer_config={"attn_implementation": KERNEL})
    change(checkpoint / "config.json", _attn_implementation_internal=KERNEL)
    with pytest.raises(PipelineError, match="names code of the Hugging Face hub") as error:
        make_encoder(checkpoint)
    assert "someone" not in str(error.value)
    with pytest.raises(PipelineError, match="names code of the Hugging Face hub"):
        import_hf(checkpoint, tmp_path / "pipeline")
    saved = srsly.msgpack_loads(shim_of(layer.layers[0]).to_bytes())
    for key in ("_attn_implementation_internal", "attn_implementation"):
        config = {**saved["config"], key: KERNEL}
        with pytest.raises(PipelineError, match="names code of the Hugging Face hub"):
            shim_of(layer.layers[0]).from_bytes(srsly.msgpack_dumps({**saved, "config": config}))
    assert not fetched


def test_transformers_itself_would_fetch_that_code(checkpoint, fetched):
    change(checkpoint / "config.json", _attn_implementation_internal=KERNEL)
    AutoModel.from_pretrained(checkpoint)
    assert fetched == ["someone/something"]


def test_the_attention_that_was_asked_for_is_that_of_the_loaded_encoder(tiny_bert, tmp_path):
    nlp = bert_pipeline(tiny_bert, encoder={"transformer_config": {"attn_implementation": "eager"}})
    nlp.initialize(lambda: make_examples(nlp))
    nlp.to_disk(tmp_path)
    loaded = spacy.load(tmp_path)
    config = loaded.get_pipe("transformer").model.transformer.config
    assert config._attn_implementation == "eager"
    np.testing.assert_array_equal(loaded(NOTE)._.token_logits, nlp(NOTE)._.token_logits)


def test_weights_in_half_precision_are_read_and_kept_in_single(checkpoint, tmp_path):
    BertModel.from_pretrained(checkpoint).to(torch.bfloat16).save_pretrained(checkpoint)
    nlp = train(bert_pipeline(checkpoint), steps=1)
    nlp.to_disk(tmp_path / "model")
    loaded = spacy.load(tmp_path / "model")
    assert loaded.get_pipe("transformer").model.transformer.dtype == torch.float32
    np.testing.assert_array_equal(loaded(NOTE)._.token_logits, nlp(NOTE)._.token_logits)


@pytest.mark.parametrize("where", ["tokenizer_config", "transformer_config"])
def test_code_of_a_checkpoint_is_never_run(tiny_bert, where):
    with pytest.raises(PipelineError, match=f"trust_remote_code in {where}"):
        make_encoder(tiny_bert, **{where: {"trust_remote_code": True}})


def test_left_padding_is_read_as_right_padding_is(checkpoint):
    docs = [EN.make_doc(NOTE), EN.make_doc("fever")]
    right = make_encoder(checkpoint).predict(docs)
    change(checkpoint / "tokenizer_config.json", padding_side="left", truncation_side="left")
    assert AutoTokenizer.from_pretrained(checkpoint).padding_side == "left"
    left = make_encoder(checkpoint).predict(docs)
    np.testing.assert_array_equal(left.wordpieces.input_ids, right.wordpieces.input_ids)
    hidden = (batch.model_output.last_hidden_state for batch in (left, right))
    torch.testing.assert_close(*hidden, rtol=0, atol=0)


def test_a_tokenizer_without_character_offsets_is_refused(tiny_bert):
    with pytest.raises(PipelineError, match=r"BertTokenizer is not a fast one.*use_fast"):
        make_encoder(tiny_bert, tokenizer_config={"use_fast": False})


def test_a_tokenizer_without_padding_is_refused_and_one_may_be_named(checkpoint):
    change(
        checkpoint / "tokenizer_config.json",
        pad_token=None,
        tokenizer_class="PreTrainedTokenizerFast",
    )
    (checkpoint / "special_tokens_map.json").unlink()
    with pytest.raises(PipelineError, match=r"no padding token.*tokenizer_config"):
        make_encoder(checkpoint)
    make_encoder(checkpoint, tokenizer_config={"pad_token": "[PAD]"})
    with pytest.raises(PipelineError, match=r"padding token \(<new>, number 108\).*108 wordpieces"):
        make_encoder(checkpoint, tokenizer_config={"pad_token": "<new>"})


def test_types_of_wordpieces_are_kept_from_an_encoder_that_does_not_take_them(tmp_path):
    """A plain fast tokenizer makes them; RoBERTa takes them, and DistilBERT does not."""
    folder = make_tiny("DistilBERT", tmp_path)
    change(folder / "tokenizer_config.json", tokenizer_class="PreTrainedTokenizerFast")
    assert "token_type_ids" in AutoTokenizer.from_pretrained(folder)("fever")
    nlp = train(bert_pipeline(folder), steps=1)
    assert nlp(NOTE)._.trf_data.wordpieces.token_type_ids is None
    assert nlp(NOTE)._.token_logits.any()


def test_an_encoder_without_a_limit_of_positions_is_cut_at_its_window(tmp_path):
    folder = make_tiny("XLNet", tmp_path)
    change(folder / "tokenizer_config.json", model_max_length=None)
    encoder = make_encoder(folder, window=300, overlap=8)
    assert isinstance(encoder.transformer, XLNetModel)
    assert encoder.tokenizer.model_max_length > 1e20
    batch = encoder.predict([EN.make_doc("fever " * 500), EN.make_doc(f"x {'y' * 2000} z")])
    assert 280 <= batch.wordpieces.input_ids.shape[1] <= 300
    assert batch.align.lengths.all()


def test_a_text_without_a_wordpiece_is_read_where_no_special_token_is_added(checkpoint):
    raw = Tokenizer(models.WordLevel({"[UNK]": 0, "[PAD]": 1, "fever": 2, "cough": 3}, "[UNK]"))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    for path in [*checkpoint.glob("*token*"), checkpoint / "vocab.txt"]:
        path.unlink()
    PreTrainedTokenizerFast(
        tokenizer_object=raw, pad_token="[PAD]", unk_token="[UNK]", model_max_length=64
    ).save_pretrained(checkpoint)
    nlp = train(bert_pipeline(checkpoint), steps=1)
    texts = [" ", "fever \n ", "\n\n"]
    docs = list(nlp.pipe(texts))
    assert not docs[0]._.token_logits.any()
    assert docs[1]._.token_logits.any(axis=1).tolist() == [True, False]
    np.testing.assert_array_equal(nlp(" ")._.token_logits, docs[0]._.token_logits)


def test_an_encoder_that_spacy_transformers_saved_still_loads(
    trained, trained_path, tmp_path, monkeypatch
):
    """With the files of the slow tokenizer beside `tokenizer.json`."""
    shim = trained.get_pipe("transformer").model.layers[0].shims[0]
    trained.get_pipe("transformer").model.tokenizer.save_pretrained(tmp_path / "tokenizer")
    vocabulary = (tmp_path / "tokenizer" / "vocab.txt").read_bytes()
    monkeypatch.setattr(shim._hfmodel, "vocab_file_contents", vocabulary)
    saved = HFShim.to_bytes(shim)
    assert b"vocab.txt" in saved
    nlp = spacy.load(trained_path)
    nlp.get_pipe("transformer").model.layers[0].shims[0].from_bytes(saved)
    for text, _ in SENTENCES:
        np.testing.assert_array_equal(nlp(text)._.token_logits, trained(text)._.token_logits)


def test_a_saved_encoder_does_not_say_where_it_came_from(trained, tiny_bert, trained_path):
    saved, again = (
        nlp.get_pipe("transformer").model.layers[0].shims[0].to_bytes()
        for nlp in (trained, spacy.load(trained_path))
    )
    assert saved == again
    for folder in (tiny_bert, trained_path, Path(tempfile.gettempdir())):
        assert str(folder).encode() not in saved
