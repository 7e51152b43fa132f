"""Tiny encoders of many kinds, made on the spot: each with the tokenizer of its kind."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoConfig, AutoModel

from tests.conftest import SENTENCES

TEXTS = [text for text, _ in SENTENCES] * 2
SIZE = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 130,
}
RELATIVE = {"relative_attention": True, "pos_att_type": "c2p|p2c", "position_biased_input": False}
OTHER_SIZES = ("xlnet", "funnel")  # their configs refuse these keys


def word_piece(special: Mapping[str, str]) -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece(unk_token=special["unk_token"]))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return _trained(tokenizer, trainers.WordPieceTrainer, special)


def byte_level(special: Mapping[str, str]) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    return _trained(tokenizer, trainers.BpeTrainer, special, initial_alphabet=alphabet)


def unigram(special: Mapping[str, str]) -> Tokenizer:
    """As SentencePiece's: offsets hold the blank before a word."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    return _trained(tokenizer, trainers.UnigramTrainer, special, unk_token=special["unk_token"])


def _trained(
    tokenizer: Tokenizer, trainer: Callable[..., Any], special: Mapping[str, str], **settings: Any
) -> Tokenizer:
    names = list(dict.fromkeys(special.values()))
    settings = {"special_tokens": names, "show_progress": False, **settings}
    tokenizer.train_from_iterator(TEXTS, trainer(vocab_size=380, **settings))
    if "cls_token" in special:
        ends = [special["cls_token"], special["sep_token"]]
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{ends[0]} $A {ends[1]}", special_tokens=[(e, names.index(e)) for e in ends]
        )
    return tokenizer


@dataclass(frozen=True)
class Kind:
    """model_type, as the encoder's config calls it; the tokenizer's class and how it cuts words."""

    model_type: str
    tokenizer: str
    style: Callable[[Mapping[str, str]], Tokenizer]
    config: Mapping[str, Any] = field(default_factory=dict)
    # The special tokens of a class that has none by itself.
    special: Mapping[str, str] = field(default_factory=dict)


BERT_LIKE = {
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "mask_token": "[MASK]",
}
PLAIN = "PreTrainedTokenizerFast"

WORKING = {
    "ALBERT": Kind("albert", "AlbertTokenizerFast", unigram, {"embedding_size": 16}),
    "BERT": Kind("bert", "BertTokenizerFast", word_piece),
    "BigBird": Kind(
        "big_bird", "BigBirdTokenizerFast", unigram, {"block_size": 4, "num_random_blocks": 1}
    ),
    "CamemBERT": Kind("camembert", "CamembertTokenizerFast", unigram),
    "Data2Vec (text)": Kind("data2vec-text", "RobertaTokenizerFast", byte_level),
    "DeBERTa": Kind("deberta", "DebertaTokenizerFast", byte_level, RELATIVE),
    "DeBERTa-v2, DeBERTa-v3": Kind(
        "deberta-v2",
        "DebertaV2TokenizerFast",
        unigram,
        {**RELATIVE, "position_buckets": 16, "share_att_key": True, "type_vocab_size": 0},
    ),
    "DistilBERT": Kind(
        "distilbert",
        "DistilBertTokenizerFast",
        word_piece,
        {"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 64},
    ),
    "ELECTRA": Kind("electra", "ElectraTokenizerFast", word_piece, {"embedding_size": 16}),
    "ERNIE": Kind("ernie", "BertTokenizerFast", word_piece),
    "I-BERT": Kind("ibert", "RobertaTokenizerFast", byte_level),
    "Longformer": Kind(
        "longformer", "LongformerTokenizerFast", byte_level, {"attention_window": 16}
    ),
    "Megatron-BERT": Kind("megatron-bert", "BertTokenizerFast", word_piece),
    "MobileBERT": Kind(
        "mobilebert",
        "MobileBertTokenizerFast",
        word_piece,
        {
            "embedding_size": 16,
            "intra_bottleneck_size": 16,
            "true_hidden_size": 16,
            "num_feedforward_networks": 1,
        },
    ),
    "ModernBERT": Kind("modernbert", PLAIN, byte_level, {"local_attention": 16}, BERT_LIKE),
    "MPNet": Kind("mpnet", "MPNetTokenizerFast", word_piece),
    "RemBERT": Kind(
        "rembert",
        "RemBertTokenizerFast",
        unigram,
        {"input_embedding_size": 16, "output_embedding_size": 16},
    ),
    "RoBERTa": Kind("roberta", "RobertaTokenizerFast", byte_level),
    "SqueezeBERT": Kind(
        "squeezebert", "SqueezeBertTokenizerFast", word_piece, {"embedding_size": 32}
    ),
    "XLM-RoBERTa": Kind("xlm-roberta", "XLMRobertaTokenizerFast", unigram),
    "XLM-RoBERTa-XL": Kind("xlm-roberta-xl", "XLMRobertaTokenizerFast", unigram),
    "XLNet": Kind(
        "xlnet",
        "XLNetTokenizerFast",
        unigram,
        {"d_model": 32, "n_layer": 2, "n_head": 2, "d_inner": 64},
    ),
}
# They read on one side of a word only, and say so.
ONE_SIDED = {
    "GPT-2": Kind(
        "gpt2",
        "GPT2TokenizerFast",
        byte_level,
        {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 130},
    ),
}
REFUSED = {
    "BART": Kind("bart", "BartTokenizerFast", byte_level, {"d_model": 32}),
    "ConvBERT": Kind(
        "convbert", "ConvBertTokenizerFast", word_piece, {"embedding_size": 32, "head_ratio": 1}
    ),
    "FNet": Kind("fnet", "FNetTokenizerFast", unigram),
    "Funnel Transformer": Kind(
        "funnel",
        "FunnelTokenizerFast",
        word_piece,
        {
            "d_model": 32,
            "n_head": 2,
            "d_head": 16,
            "d_inner": 64,
            "block_sizes": [1, 1],
            "architectures": ["FunnelModel"],
        },
    ),
    "MRA": Kind("mra", "RobertaTokenizerFast", byte_level),
    "Nyströmformer": Kind("nystromformer", "AlbertTokenizerFast", unigram),
    "Reformer": Kind(
        "reformer",
        PLAIN,
        unigram,
        {
            "attn_layers": ["local", "lsh"],
            "axial_pos_embds": False,
            "feed_forward_size": 64,
            "attention_head_size": 16,
            "is_decoder": False,
        },
        BERT_LIKE,
    ),
    "T5": Kind("t5", "T5TokenizerFast", unigram, {"d_model": 32, "d_kv": 16, "d_ff": 64}),
    "YOSO": Kind("yoso", "AlbertTokenizerFast", unigram),
}
KINDS = {**WORKING, **ONE_SIDED, **REFUSED}
SPECIAL = (
    "bos_token",
    "eos_token",
    "cls_token",
    "sep_token",
    "pad_token",
    "unk_token",
    "mask_token",
)


def make_tiny(name: str, folder: Path) -> Path:
    """Save an encoder of random weights, whose dropout is that of its kind, with a tokenizer that
    is a `tokenizer.json` and no other vocabulary file, if its class lets it be."""
    kind = KINDS[name]
    tokenizer_class = getattr(transformers, kind.tokenizer)
    defaults = inspect.signature(tokenizer_class.__init__).parameters
    special = {
        key: defaults[key].default
        for key in SPECIAL
        if key in defaults and isinstance(defaults[key].default, str)
    }
    special = {**special, **kind.special}
    special.setdefault("pad_token", special["unk_token"])  # GPT-2 has none of its own
    tokenizer = tokenizer_class(
        tokenizer_object=kind.style(special), model_max_length=128, **special
    )
    tokenizer.save_pretrained(folder)
    sizes = {} if kind.model_type in OTHER_SIZES else SIZE
    sizes = {**sizes, "vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id}
    torch.manual_seed(0)
    config = AutoConfig.for_model(kind.model_type, **{**sizes, **kind.config})
    AutoModel.from_config(config).save_pretrained(folder)
    return folder
