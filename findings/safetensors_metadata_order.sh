#!/usr/bin/env bash
# safetensors 0.8.0: the same tensors and metadata give files with different bytes.
#
# Expected: a format without time stamps writes the same content as the same bytes, so that a
# checksum of the file tells whether a model changed.
#
# Behaviour: the keys of `metadata` are written in an order drawn at each call, in one process
# too. With four keys there are up to 24 files of one content. With one key, or none, the bytes
# are always the same, so a test with one key does not show it.
#
# Output seen:
#
#     0 keys: more than one checksum in 100 saves: False
#     1 keys: more than one checksum in 100 saves: False
#     4 keys: more than one checksum in 100 saves: True
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
from hashlib import sha256

import numpy as np
from safetensors.numpy import save

tensors = {"x": np.zeros(3, dtype="float32")}
counts = {}
for n in (0, 1, 4):
    metadata = {f"key{i}": str(i) for i in range(n)}
    counts[n] = len({sha256(save(tensors, metadata=metadata)).hexdigest() for _ in range(100)})
    print(f"{n} keys: more than one checksum in 100 saves: {counts[n] > 1}")
if counts[0] > 1 or counts[1] > 1:
    sys.exit("changed: files without metadata, or with one key, differ as well")
if counts[4] == 1:
    sys.exit("changed: files with four keys of metadata are all the same")
PY
