#!/usr/bin/env bash
# torch 2.13.0: class weights act otherwise on one-hot targets than on class numbers.
#
# Expected: `cross_entropy(logits, one_hot(y), weight=w)` is `cross_entropy(logits, y, weight=w)`,
# as it is without weights. Soft targets (of distillation, mixup or smoothed labels) that happen
# to be hard should change nothing.
#
# Behaviour: the mean over class numbers is divided by the sum of the targets' weights, that over
# probabilities by the number of rows. With weights of rare classes far above 1 the loss, and with
# it the step of training, grows by the mean weight of the batch: a learning rate or a mix of
# losses that was tuned with one form is wrong for the other. Both sums are the same.
#
# Output seen:
#
#     sum, no weights: class numbers 7.8435, one-hot 7.8435, ratio 1.000
#     sum, weights: class numbers 41.7969, one-hot 41.7969, ratio 1.000
#     mean, no weights: class numbers 1.3073, one-hot 1.3073, ratio 1.000
#     mean, weights: class numbers 0.7740, one-hot 6.9661, ratio 9.000
#
# Exit status: 0 if the behaviour is still as described, otherwise not 0, with a line that says
# what changed.
set -euo pipefail
unset PYTHONPATH
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3.11 -m venv venv
venv/bin/pip install -qq --disable-pip-version-check torch==2.13.0 numpy==2.4.6
OMP_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false venv/bin/python - <<'PY'
import sys

import torch
from torch.nn.functional import cross_entropy, one_hot

torch.manual_seed(0)
logits = torch.randn(6, 3)
y = torch.tensor([0, 0, 0, 0, 1, 2])
weight = torch.tensor([1.0, 20.0, 30.0])
hard = one_hot(y, 3).float()
values = {}
for reduction in ("sum", "mean"):
    for name, w in (("no weights", None), ("weights", weight)):
        a = cross_entropy(logits, y, weight=w, reduction=reduction)
        b = cross_entropy(logits, hard, weight=w, reduction=reduction)
        values[reduction, name] = (b / a).item()
        print(f"{reduction}, {name}: class numbers {a:.4f}, one-hot {b:.4f}, ratio {b / a:.3f}")
ratio = values.pop(("mean", "weights"))
if any(abs(v - 1) > 1e-5 for v in values.values()):
    sys.exit("changed: the forms differ in their sums, or without weights")
if abs(ratio - weight[y].mean().item()) > 1e-4:
    sys.exit("changed: the means differ by another factor than the mean weight")
PY
