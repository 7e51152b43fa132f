#!/usr/bin/env bash
# transformers 4.53.2: a forward pass of BigBird seeds numpy's global generator.
#
# Expected: prediction in evaluation mode leaves the global random state alone. Which blocks a
# block sees at random is fixed when the model is made, or drawn from a generator of its own.
#
# Behaviour: with sparse attention the pass calls `numpy.random.seed` with the number of the
# layer. All draws from numpy's global generator behind it, in whatever code, are then the same
# each time: shuffles, masks, and augmentation repeat at each step of training, whatever seed was
# set. Short texts switch to full attention for good and hide it.
#
# Output seen:
#
#     original_full: drawn behind a pass, after the seeds 1, 2 and 3: [37, 168, 874]
#     block_sparse: drawn behind a pass, after the seeds 1, 2 and 3: [37, 37, 37]
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
import sys

import numpy as np
import torch
from transformers import BigBirdConfig, BigBirdModel, logging

logging.set_verbosity_error()
draws = {}
for attention in ("original_full", "block_sparse"):
    model = BigBirdModel(
        BigBirdConfig(
            vocab_size=100,
            hidden_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=16,
            max_position_embeddings=256,
            attention_type=attention,
            block_size=4,
            num_random_blocks=2,
        )
    ).eval()
    draws[attention] = []
    for seed in (1, 2, 3):
        np.random.seed(seed)
        with torch.no_grad():
            model(torch.arange(1, 97).reshape(1, 96))
        draws[attention].append(int(np.random.randint(1000)))
    print(f"{attention}: drawn behind a pass, after the seeds 1, 2 and 3: {draws[attention]}")
if len(set(draws["original_full"])) == 1:
    sys.exit("changed: draws repeat with full attention as well")
if len(set(draws["block_sparse"])) > 1:
    sys.exit("changed: a pass of sparse attention leaves numpy's generator alone")
PY
