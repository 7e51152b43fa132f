#!/usr/bin/env bash
# transformers 4.53.2: ConvBERT reads the padding that the attention mask hides.
#
# Expected: with `attention_mask`, the vectors of a text are the same alone and padded to the
# length of a longer one, but for the last digits. So it is for BERT.
#
# Behaviour: the mask reaches the attention only. The convolution beside it slides over padding as
# over text, so the vectors of a text depend on which other texts are in its batch. Scores change
# with the batch size, and sorting by length, which should only save time, changes the
# predictions.
#
# Output seen:
#
#     BERT: largest difference over largest value 0.000
#     ConvBERT: largest difference over largest value 0.056
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

import torch
from transformers import BertConfig, BertModel, ConvBertConfig, ConvBertModel

sizes = {
    "vocab_size": 100,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 32,
    "max_position_embeddings": 64,
    "initializer_range": 0.1,
}
kinds = {
    "BERT": (BertModel, BertConfig(**sizes)),
    "ConvBERT": (ConvBertModel, ConvBertConfig(**sizes, embedding_size=32, head_ratio=1)),
}
n, padding = 9, 7
share = {}
for name, (kind, config) in kinds.items():
    torch.manual_seed(0)
    model = kind(config).eval()
    ids = torch.randint(5, 100, (1, n))
    pad = torch.full((1, padding), model.config.pad_token_id or 0)
    mask = torch.tensor([[1] * n + [0] * padding])
    with torch.no_grad():
        alone = model(ids, attention_mask=torch.ones_like(ids)).last_hidden_state[0]
        padded = model(torch.cat([ids, pad], 1), attention_mask=mask).last_hidden_state[0, :n]
    share[name] = ((alone - padded).abs().max() / alone.abs().max()).item()
    print(f"{name}: largest difference over largest value {share[name]:.3f}")
if share["BERT"] > 1e-4:
    sys.exit("changed: BERT depends on padding as well")
if share["ConvBERT"] < 1e-3:
    sys.exit("changed: ConvBERT no longer depends on padding")
PY
