"""Tiny token classifiers of every kind, made on the spot, and their logits by transformers."""

import inspect
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from spacy.tokens import Doc
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import TemplateProcessing
from transformers import (
    CONFIG_MAPPING,
    AutoModelForTokenClassification,
    AutoTokenizer,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from tests.conftest import WORDS

LABELS = ["O", "B-Sign", "I-Sign", "B-Test", "I-Test"]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
PIECES = [f"##{char}" for char in "abcdefghijklmnopqrstuvwxyz0123456789"]
VOCABULARY = dict.fromkeys([*SPECIAL, *WORDS, *PIECES])

# What the configs of the many kinds call their sizes.
SIZES: dict[str, Any] = {
    "vocab_size": len(VOCABULARY),
    "pad_token_id": 0,
    "bos_token_id": 2,
    "eos_token_id": 3,
    "cls_token_id": 2,
    "sep_token_id": 3,
    "max_position_embeddings": 80,
    **dict.fromkeys(["hidden_size", "dim", "d_model"], 32),
    **dict.fromkeys(["intermediate_size", "hidden_dim", "d_inner", "d_ff", "n_inner"], 64),
    **dict.fromkeys(["num_hidden_layers", "n_layers", "n_layer", "num_layers"], 2),
    **dict.fromkeys(["num_attention_heads", "n_heads", "n_head", "num_heads"], 2),
    **dict.fromkeys(["head_dim", "d_kv", "embedding_size", "input_embedding_size"], 16),
    **dict.fromkeys(["num_key_value_heads", "num_experts", "num_local_experts"], 2),
    **dict.fromkeys(["moe_intermediate_size", "shared_expert_intermediate_size"], 16),
    **dict.fromkeys(["pronunciation_embed_dim", "shape_embed_dim", "xpath_unit_hidden_size"], 8),
    **dict.fromkeys(["pronunciation_vocab_size", "shape_vocab_size", "entity_vocab_size"], 20),
    "num_experts_per_tok": 1,
    "output_embedding_size": 16,
    "entity_emb_size": 8,
    "attention_window": 16,
    "max_2d_position_embeddings": 64,
    "coordinate_size": 6,
    "shape_size": 4,
    "partial_rotary_factor": 0.5,
    "attention_types": [[["global"], 2]],
}
OTHER_SIZES: dict[str, dict[str, Any]] = {
    "lilt": {"hidden_size": 48},
    "squeezebert": {"embedding_size": 32},
    "t5gemma": {"encoder": SIZES, "decoder": SIZES},
}


def make_classifier(kind: str, *, labels: list[str] = LABELS, **settings: Any) -> PreTrainedModel:
    """A classifier of random weights, its biases and norms too, whose dropout is that of its kind.

    kind (str): Its `model_type`.
    """
    config_class = CONFIG_MAPPING[kind]
    known = set(inspect.signature(config_class.__init__).parameters)
    known |= set(config_class.attribute_map)
    sizes = {name: value for name, value in SIZES.items() if name in known}
    config: PretrainedConfig = config_class(
        **{**sizes, **OTHER_SIZES.get(kind, {}), **settings},
        id2label=dict(enumerate(labels)),
        label2id={label: number for number, label in enumerate(labels)},
    )
    torch.manual_seed(0)
    classifier = AutoModelForTokenClassification.from_config(config)
    with torch.no_grad():
        for parameter in classifier.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return classifier.eval()


def make_tokenizer(**settings: Any) -> PreTrainedTokenizerFast:
    """A WordPiece tokenizer that goes with a classifier of any kind."""
    ids = {piece: number for number, piece in enumerate(VOCABULARY)}
    raw = Tokenizer(WordPiece(ids, unk_token="[UNK]"))
    raw.normalizer, raw.pre_tokenizer = BertNormalizer(), BertPreTokenizer()
    raw.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = {name: f"[{name[:-6].upper()}]" for name in ("pad_token", "unk_token", "mask_token")}
    return PreTrainedTokenizerFast(
        tokenizer_object=raw,
        model_input_names=["input_ids", "attention_mask"],
        **{**names, "cls_token": "[CLS]", "sep_token": "[SEP]", "model_max_length": 64, **settings},
    )


def save_checkpoint(folder: Path, classifier: PreTrainedModel, **settings: Any) -> Path:
    """Save a classifier with its tokenizer. settings: For `save_pretrained` of the classifier."""
    classifier.save_pretrained(folder, **settings)
    make_tokenizer().save_pretrained(folder)
    return folder


def token_logits(folder: Path, doc: Doc) -> NDArray[np.float32]:
    """A checkpoint's logits of a doc's tokens, float32 [T, labels]: the mean over the wordpieces
    that have a character of the token. Zeros where there is none."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    classifier = AutoModelForTokenClassification.from_pretrained(folder).float().eval()
    encoding = tokenizer(doc.text, return_tensors="pt", return_offsets_mapping=True)
    offsets = encoding.pop("offset_mapping")[0].tolist()
    with torch.inference_mode():
        logits = classifier(**encoding).logits[0].numpy()
    readers: list[list[int]] = [[] for _ in doc]
    owner = {place: token.i for token in doc for place in range(token.idx, token.idx + len(token))}
    for row, (start, end) in enumerate(offsets):
        visible = [place for place in range(start, end) if not doc.text[place].isspace()]
        for token in {owner[place] for place in visible}:
            readers[token].append(row)
    zeros = np.zeros(logits.shape[1], dtype="float32")
    return np.array([logits[rows].mean(axis=0) if rows else zeros for rows in readers])
