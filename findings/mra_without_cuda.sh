#!/usr/bin/env bash
# transformers 4.53.2: MRA reads each token by itself on a machine without CUDA, and does not say
# so.
#
# Expected: a model whose attention needs a CUDA kernel raises an error where there is none, or
# has a slower way to compute the same. Vectors of a token depend on the tokens around it.
#
# Behaviour: without the kernel the attention's output is a tensor of zeros. The forward pass goes
# on with what the residual connection carries: shapes, gradients and a falling training loss look
# right, no warning is given, and the vector of a token is the same in any text (at the same
# place).
#
# Output seen:
#
#     BERT: the first token's vector changes with the text behind it: True, warnings: 0
#     MRA: the first token's vector changes with the text behind it: False, warnings: 0
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
import contextlib
import io
import sys
import warnings

import torch
from transformers import BertConfig, BertModel, MraConfig, MraModel

sizes = {
    "vocab_size": 100,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 32,
    "max_position_embeddings": 64,
    "initializer_range": 0.3,
}
if torch.cuda.is_available():
    sys.exit("not applicable: this machine has CUDA")
torch.manual_seed(0)
first = torch.randint(5, 100, (1, 32))
second = torch.randint(5, 100, (1, 32))
second[0, 0] = first[0, 0]
change = {}
for name, config, kind in (("BERT", BertConfig, BertModel), ("MRA", MraConfig, MraModel)):
    model = kind(config(**sizes)).eval()
    said = io.StringIO()
    with warnings.catch_warnings(record=True) as warned, contextlib.redirect_stderr(said):
        warnings.simplefilter("always")
        with torch.no_grad():
            a, b = (model(ids).last_hidden_state[0, 0] for ids in (first, second))
    change[name] = (a - b).abs().max().item()
    print(
        f"{name}: the first token's vector changes with the text behind it: {change[name] > 0}, "
        f"warnings: {len(warned) + len(said.getvalue().splitlines())}"
    )
if change["BERT"] == 0:
    sys.exit("changed: BERT does not read its context either")
if change["MRA"] != 0:
    sys.exit("changed: MRA reads its context on a CPU")
PY
