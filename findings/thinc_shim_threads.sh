#!/usr/bin/env bash
# thinc 8.3.14: predictions of a wrapped torch network are wrong at times if two threads make
# them.
#
# Expected: `PyTorchWrapper(...).predict` runs in evaluation mode, so dropout is off and a text
# has one prediction. Threads that only predict do not change the network.
#
# Behaviour: `predict` turns evaluation mode on before the forward pass and training mode on after
# it. The mode is the network's and not the call's: the end of one thread's call switches dropout
# on in the middle of another's. spaCy pipelines over a transformer, served by a pool of threads,
# share such a network. Nothing is raised; in a notebook, with one thread, all is well. What
# follows stages the meeting: the second thread predicts while the first is between two layers.
#
# Output seen:
#
#     one thread, twice the same: True
#     second thread the same: True
#     first thread the same: False
#     first thread has values that dropout set to 0: True
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
import threading

import numpy as np
import torch
from thinc.api import PyTorchWrapper

half_way, go_on = threading.Event(), threading.Event()


class Network(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(4, 8)
        self.dropout = torch.nn.Dropout(0.5)

    def forward(self, rows):
        hidden = self.linear(rows)
        if threading.current_thread().name == "slow":
            half_way.set()
            go_on.wait(30)
        return self.dropout(hidden)


torch.manual_seed(0)
model = PyTorchWrapper(Network())
model.initialize()
rows = np.ones((3, 4), dtype="float32")
right = model.predict(rows)
print("one thread, twice the same:", np.array_equal(model.predict(rows), right))

found = []
slow = threading.Thread(target=lambda: found.append(model.predict(rows)), name="slow")
slow.start()
half_way.wait(30)
other = model.predict(rows)
go_on.set()
slow.join()
zeros = int((found[0] == 0).sum())
print("second thread the same:", np.array_equal(other, right))
print("first thread the same:", np.array_equal(found[0], right))
print("first thread has values that dropout set to 0:", zeros > 0)
if zeros == 0:
    sys.exit("changed: the other thread's prediction no longer turns dropout on")
PY
