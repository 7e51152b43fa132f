#!/usr/bin/env bash
# thinc 8.3.14: averaged weights never reach a wrapped torch network.
#
# Expected: with `use_averages` (on by default in `Adam.v1` and `SGD.v1`),
# `model.use_params(optimizer.averages)` evaluates any layer with the averages that the optimizer
# keeps of it. spaCy's training does that at each evaluation and when it saves the best model.
#
# Behaviour: the optimizer keeps averages of the torch parameters under the key (number, name);
# the wrapper looks for keys that are strings with a prefix of its own, finds none and leaves the
# weights. A pipeline of a transformer and a head is then evaluated, and saved, with an averaged
# head on an encoder that was not averaged: a pair that never trained together.
#
# Output seen:
#
#     thinc's Linear: 2 averages kept, predicts 1.00, with the averages 0.88
#     torch's Linear: 2 averages kept, predicts 1.00, with the averages 1.00
#
# Exit status: 0 if the behaviour is still as described, otherwise not 0, with a line that says
# what changed.
set -euo pipefail
unset PYTHONPATH
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3.11 -m venv venv
venv/bin/pip install -qq --disable-pip-version-check thinc==8.3.14 torch==2.13.0 numpy==2.4.6
OMP_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false venv/bin/python - <<'PY'
import sys

import numpy as np
import torch
from thinc.api import Adam, Linear, PyTorchWrapper

row = np.ones((1, 1), dtype="float32")
native = Linear(1, 1).initialize(row, row)
native.set_param("W", np.zeros((1, 1), dtype="float32"))
network = torch.nn.Linear(1, 1)
torch.nn.init.zeros_(network.weight)
torch.nn.init.zeros_(network.bias)
moved = {}
for name, model in (("thinc's Linear", native), ("torch's Linear", PyTorchWrapper(network))):
    optimizer = Adam(0.1, use_averages=True)
    for _ in range(5):
        _, backprop = model.begin_update(row)
        backprop(-row)
        model.finish_update(optimizer)
    last = model.predict(row).item()
    with model.use_params(optimizer.averages):
        averaged = model.predict(row).item()
    moved[name] = abs(last - averaged) > 0.01
    print(
        f"{name}: {len(optimizer.averages)} averages kept, "
        f"predicts {last:.2f}, with the averages {averaged:.2f}"
    )
if not moved["thinc's Linear"]:
    sys.exit("changed: averages do not reach thinc's own layer either")
if moved["torch's Linear"]:
    sys.exit("changed: averages reach the torch network")
PY
