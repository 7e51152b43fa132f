#!/usr/bin/env bash
# spacy-transformers 1.4.0: an encoder in mixed precision has no gradient scaling if one without was
# made before it.
#
# Expected: a new `TransformerModel(..., mixed_precision=True)` scales its gradients, since its
# `grad_scaler_config` is an empty dict by default and thinc's scaler is then to follow
# `mixed_precision`.
#
# Behaviour: that default is one dict for all encoders of a process. The first encoder writes
# whether it is in mixed precision into it, as "enabled", and later ones find the key there and take
# it for a setting of the user. So it depends on which encoder is made first: a float16 training
# behind a float32 encoder runs without scaling, where small gradients become zero, and without a
# word. An explicit `grad_scaler_config = {}` in the config is another dict, and safe.
#
# Output seen:
#
#     first, without mixed precision: scaling False
#     second, with mixed precision: scaling False
#     third, the same with a dict of its own: scaling True
#
# Exit status: 0 if the behaviour is still as described, otherwise not 0, with a line that says
# what changed.
set -euo pipefail
unset PYTHONPATH
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3.11 -m venv venv
venv/bin/pip install -qq --disable-pip-version-check spacy==3.8.18 spacy-transformers==1.4.0 \
    thinc==8.3.14 transformers==4.53.2 torch==2.13.0 numpy==2.4.6
OMP_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false venv/bin/python - <<'PY'
import sys

from spacy_transformers.layers.transformer_model import TransformerModel


def whole_docs(docs):
    return [[doc[:]] for doc in docs]


def scales(**settings) -> bool:
    """Whether the gradient scaler of a new encoder is enabled. No weights are loaded."""
    shim = TransformerModel("none", whole_docs, **settings).layers[0].shims[0]
    return shim._grad_scaler._enabled


first = scales()
second = scales(mixed_precision=True)
third = scales(mixed_precision=True, grad_scaler_config={})
print(f"first, without mixed precision: scaling {first}")
print(f"second, with mixed precision: scaling {second}")
print(f"third, the same with a dict of its own: scaling {third}")
if (first, second, third) != (False, False, True):
    sys.exit("Changed: gradient scaling no longer depends on the encoder that was made before.")
PY
