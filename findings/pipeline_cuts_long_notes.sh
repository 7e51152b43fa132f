#!/usr/bin/env bash
# transformers 4.53.2: the token-classification pipeline drops the entities behind the encoder's
# limit.
#
# Expected: a note longer than the encoder's limit is an error, as for the model itself, or a
# warning, or is read in windows.
#
# Behaviour: the text is cut at the tokenizer's model_max_length and the entities of what was read
# are returned. Nothing tells that the rest, most of a discharge summary, was not read: no
# warning, no flag in the output. `stride` reads windows, but is off by default and is refused
# with `aggregation_strategy="none"`, the default.
#
# Output seen:
#
#     words 120, found 30, warnings 0
#     of 640 characters, read up to 159, with stride up to 629
#
# Exit status: 0 if the behaviour is still as described, otherwise not 0, with a line that says
# what changed.
set -euo pipefail
unset PYTHONPATH
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3.11 -m venv venv
venv/bin/pip install -qq --disable-pip-version-check transformers==4.53.2 torch==2.13.0 numpy==2.4.6
OMP_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false venv/bin/python - <<'PY'
import sys
import warnings
from pathlib import Path

import torch
from transformers import BertConfig, BertForTokenClassification, BertTokenizerFast, pipeline

limit = 32
words = "[PAD] [UNK] [CLS] [SEP] [MASK] the patient had fever and cough".split()
Path("vocab.txt").write_text("\n".join(words))
tokenizer = BertTokenizerFast("vocab.txt", model_max_length=limit)
config = BertConfig(
    vocab_size=len(words),
    hidden_size=16,
    num_hidden_layers=1,
    num_attention_heads=2,
    intermediate_size=16,
    max_position_embeddings=limit,
    id2label={0: "O", 1: "WORD"},
    label2id={"O": 0, "WORD": 1},
)
model = BertForTokenClassification(config).eval()
with torch.no_grad():  # a classifier that finds every word
    model.classifier.weight.zero_()
    model.classifier.bias.copy_(torch.tensor([0.0, 5.0]))
text = "the patient had fever and cough " * 20
with warnings.catch_warnings(record=True) as warned:
    warnings.simplefilter("always")
    classify = pipeline("token-classification", model=model, tokenizer=tokenizer)
    found = classify(text)
print(f"words {len(text.split())}, found {len(found)}, warnings {len(warned)}")
windows = pipeline(
    "token-classification",
    model=model,
    tokenizer=tokenizer,
    aggregation_strategy="simple",
    stride=8,
)
reached = max(entity["end"] for entity in windows(text))
print(f"of {len(text)} characters, read up to {found[-1]['end']}, with stride up to {reached}")
if warned or len(found) != limit - 2:
    sys.exit("changed: a long text is warned of, or read to its end")
PY
