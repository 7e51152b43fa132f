#!/usr/bin/env bash
# openvino 2026.4.1 with transformers 4.53.2: an MPNet is all NaN in bfloat16, without padding too.
#
# Expected: `INFERENCE_PRECISION_HINT` "bf16" rounds, and costs a BERT some thousandths. It is a hint
# for speed, and on some processors the default.
#
# Behaviour: every value is NaN for an MPNet, also for a text whose mask has no 0. Its mask is
# `(1 - mask) * torch.finfo(torch.float32).min`, and the smallest float32 is beyond bfloat16: it
# becomes minus infinity, and 0 times that is no number. A BERT of the same version chooses by the
# mask, and does not multiply. Nothing is said.
#
# Output seen:
#
#     BertModel f32: no NaN
#     BertModel bf16: no NaN
#     MPNetModel f32: no NaN
#     MPNetModel bf16: NaN
#
# It needs a processor with bfloat16 arithmetic (AVX512_BF16 or AMX).
#
# Exit status: 0 if the behaviour is still as described, otherwise not 0, with a line that says
# what changed.
set -euo pipefail
unset PYTHONPATH CI
grep -qE "avx512_bf16|amx_bf16" /proc/cpuinfo || { echo "not run: no bfloat16 arithmetic here"; exit 1; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3.11 -m venv venv
venv/bin/pip install -qq --disable-pip-version-check torch==2.13.0 transformers==4.53.2 \
    openvino==2026.4.1 numpy==2.4.6
cat > masks.py <<'PY'
import sys

sys.modules["openvino_telemetry"] = None  # importing openvino would send a report
import numpy as np
import openvino as ov
import torch
from transformers import BertConfig, BertModel, MPNetConfig, MPNetModel, logging

logging.set_verbosity_error()
SIZES = {
    "vocab_size": 100,
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 128,
}


class Hidden(torch.nn.Module):
    def __init__(self, encoder):
        super().__init__()
        self.encoder = encoder

    def forward(self, input_ids, attention_mask):
        return self.encoder(input_ids, attention_mask=attention_mask).last_hidden_state


for config, kind in ((BertConfig, BertModel), (MPNetConfig, MPNetModel)):
    torch.manual_seed(0)
    encoder = kind(config(**SIZES)).eval()
    inputs = {"input_ids": torch.arange(4, 24)[None], "attention_mask": torch.ones(1, 20)}
    with torch.no_grad():
        expected = encoder(**inputs).last_hidden_state.numpy()
        model = ov.convert_model(Hidden(encoder), example_input=inputs)
    for precision in ("f32", "bf16"):
        compiled = ov.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": precision})
        found = compiled({name: value.numpy() for name, value in inputs.items()})[0]
        near = np.abs(found - expected).max() < 0.05
        said = "NaN" if np.isnan(found).all() else "no NaN" if near else "other values"
        print(f"{kind.__name__} {precision}: {said}")
PY
seen=$(OMP_NUM_THREADS=1 venv/bin/python -W ignore masks.py 2>/dev/null)
echo "$seen"
expected="BertModel f32: no NaN
BertModel bf16: no NaN
MPNetModel f32: no NaN
MPNetModel bf16: NaN"
[ "$seen" = "$expected" ] || { echo "changed: MPNet in bfloat16"; exit 1; }
