#!/usr/bin/env bash
# seqeval 1.2.2: `mode="strict"` without `scheme` is the lenient mode.
#
# Expected: strict scoring counts an entity that starts with I- as wrong, or asks for the tagging
# scheme if it needs one.
#
# Behaviour: `mode="strict"` takes effect only beside `scheme=`. Alone it changes nothing and says
# nothing, so figures that are reported as strict are those of conlleval, which takes I- behind O
# as the start of an entity. `scheme=` alone changes nothing either.
#
# Output seen:
#
#     no setting: F1 1.0
#     mode='strict': F1 1.0
#     scheme=IOB2: F1 1.0
#     mode='strict', scheme=IOB2: F1 0.0
#
# Exit status: 0 if the behaviour is still as described, otherwise not 0, with a line that says
# what changed.
set -euo pipefail
unset PYTHONPATH
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3.11 -m venv venv
venv/bin/pip install -qq --disable-pip-version-check seqeval==1.2.2 numpy==2.4.6 scikit-learn==1.9.1
OMP_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false venv/bin/python - <<'PY'
import sys

from seqeval.metrics import f1_score
from seqeval.scheme import IOB2

gold = [["O", "B-Problem", "I-Problem", "O"]]
found = [["O", "I-Problem", "I-Problem", "O"]]
f = {
    "no setting": f1_score(gold, found),
    "mode='strict'": f1_score(gold, found, mode="strict"),
    "scheme=IOB2": f1_score(gold, found, scheme=IOB2),
    "mode='strict', scheme=IOB2": f1_score(gold, found, mode="strict", scheme=IOB2),
}
for name, value in f.items():
    print(f"{name}: F1 {value}")
if list(f.values()) != [1.0, 1.0, 1.0, 0.0]:
    sys.exit("changed: strict mode without a scheme is no longer the lenient one")
PY
