#!/usr/bin/env bash
# safetensors 0.8.0: numpy arrays in column order are saved with their values in another order.
#
# Expected: `safetensors.numpy.save` either writes an array's values, or refuses an array that
# does not lie in memory row by row, as `safetensors.torch.save` does.
#
# Behaviour: the bytes are written as they lie in memory, beside the shape, and the file is read
# row by row. A matrix in Fortran order or a transposed one comes back with other values at most
# places. There is no error and no warning, and `numpy.array_equal` of the array and its ordered
# copy is true before saving. Transposed weights and the columns of a table are often in that
# order.
#
# Output seen:
#
#     row order: saved [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]], read [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]
#     column order: saved [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]], read [[0.0, 3.0, 1.0], [4.0, 2.0, 5.0]]
#     transposed: saved [[0.0, 2.0, 4.0], [1.0, 3.0, 5.0]], read [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]
#
# Exit status: 0 if the behaviour is still as described, otherwise not 0, with a line that says
# what changed.
set -euo pipefail
unset PYTHONPATH
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3.11 -m venv venv
venv/bin/pip install -qq --disable-pip-version-check safetensors==0.8.0 numpy==2.4.6
OMP_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false venv/bin/python - <<'PY'
import sys

import numpy as np
from safetensors.numpy import load, save

rows = np.arange(6, dtype="float32").reshape(2, 3)
arrays = {
    "row order": rows,
    "column order": np.asfortranarray(rows),
    "transposed": rows.reshape(3, 2).T,
}
same = {}
for name, array in arrays.items():
    back = load(save({"x": array}))["x"]
    same[name] = np.array_equal(array, back)
    print(f"{name}: saved {array.tolist()}, read {back.tolist()}")
if not same.pop("row order"):
    sys.exit("changed: an array in row order does not come back")
if any(same.values()):
    sys.exit(f"changed: these come back as they were: {[k for k, v in same.items() if v]}")
PY
