#!/usr/bin/env bash
# nervaluate 1.2.1: an entity that was found exactly counts as not found if a part of it is listed
# first.
#
# Expected: strict scoring compares sets. The order in which predictions are listed has no
# influence, and a prediction with the gold span and the gold type is correct.
#
# Behaviour: predictions are taken one by one, and each takes a gold entity out of the game that
# it merely overlaps. Of nested or overlapping predictions (a span categorizer's, or those of two
# systems together) the first one uses the gold entity up as "incorrect"; the exact one behind it
# is spurious. Sorted by their starts, as lists of spans mostly are, "left lung" before "left lung
# nodule" gives strict F1 0; in the other order it is 0.67.
#
# Output seen:
#
#     exact, then part: correct 1, incorrect 0, spurious 1, F1 0.67
#     part, then exact: correct 0, incorrect 1, spurious 1, F1 0
#
# Exit status: 0 if the behaviour is still as described, otherwise not 0, with a line that says
# what changed.
set -euo pipefail
unset PYTHONPATH
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3.11 -m venv venv
venv/bin/pip install -qq --disable-pip-version-check nervaluate==1.2.1
OMP_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false venv/bin/python - <<'PY'
import sys

from nervaluate import Evaluator

gold = [{"label": "Problem", "start": 0, "end": 15}]
part = {"label": "Problem", "start": 0, "end": 8}
f = {}
for name, found in (("exact, then part", [*gold, part]), ("part, then exact", [part, *gold])):
    results = Evaluator([gold], [found], tags=["Problem"], loader="dict").evaluate()
    strict = results["overall"]["strict"]
    f[name] = round(strict.f1, 2)
    print(
        f"{name}: correct {strict.correct}, incorrect {strict.incorrect}, "
        f"spurious {strict.spurious}, F1 {f[name]}"
    )
if list(f.values()) != [0.67, 0]:
    sys.exit("changed: the order of the predictions no longer decides")
PY
