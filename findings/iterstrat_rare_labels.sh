#!/usr/bin/env bash
# iterative-stratification 0.1.9: rare labels leave a held-out part with no labelled row at all.
#
# Expected: a stratified split with test_size 0.2 puts about a fifth of the rows that have a label
# into the test part. Of 66 labelled and 34 unlabelled rows, about 13 of 20 are labelled.
#
# Behaviour: each label is divided by itself: a label of two rows wants 1.6 of them in the larger
# part and 0.4 in the other, so both rows go to the larger. Where most labels are that rare, as
# the entity types of a small corpus are, none is tested, and the test part is filled up with rows
# without a label. The folds of `MultilabelStratifiedKFold`, which are of equal size, are right
# for the same rows, so trying it with folds does not show it.
#
# Output seen:
#
#     ShuffleSplit, labelled of 20 rows, five seeds: [0, 0, 0, 0, 0]
#     KFold, labelled of 20 rows, five folds: [13, 14, 13, 13, 13]
#
# Exit status: 0 if the behaviour is still as described, otherwise not 0, with a line that says
# what changed.
set -euo pipefail
unset PYTHONPATH
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3.11 -m venv venv
venv/bin/pip install -qq --disable-pip-version-check iterative-stratification==0.1.9 scikit-learn==1.9.1 numpy==2.4.6
OMP_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false venv/bin/python - <<'PY'
import sys

import numpy as np
from iterstrat.ml_stratifiers import MultilabelStratifiedKFold, MultilabelStratifiedShuffleSplit

y = np.zeros((100, 33), dtype=int)
y[np.arange(66), np.arange(66) // 2] = 1
labelled = y.any(axis=1)
seeds = range(5)
tests = [
    next(MultilabelStratifiedShuffleSplit(1, test_size=0.2, random_state=s).split(y, y))[1]
    for s in seeds
]
held_out = [int(labelled[test].sum()) for test in tests]
print(f"ShuffleSplit, labelled of {len(tests[0])} rows, five seeds: {held_out}")
folds = MultilabelStratifiedKFold(5, shuffle=True, random_state=0).split(y, y)
in_folds = [int(labelled[test].sum()) for _, test in folds]
print(f"KFold, labelled of 20 rows, five folds: {in_folds}")
if any(held_out):
    sys.exit("changed: the held-out part has rows with labels")
if min(in_folds) < 10:
    sys.exit("changed: folds are uneven as well")
PY
