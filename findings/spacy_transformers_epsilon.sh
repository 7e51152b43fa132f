#!/usr/bin/env bash
# spacy-transformers 1.4.0: saving and loading turns BERT's layer_norm_eps 1e-12 into 0.
#
# Expected: a saved pipeline is the pipeline. The encoder's config comes back as it was.
#
# Behaviour: the config travels as JSON that srsly 2.5.6 writes, whose numbers end at the tenth
# digit behind the point: 1e-10 comes back, 1e-11 and anything smaller is 0.0, and 1.5e-10 is
# 2e-10. Encoders of the BERT, ALBERT and ELECTRA kind have 1e-12. The vectors hardly change, but
# the guard against a division by zero is gone, and what is exported from the loaded pipeline has
# another config than what was imported. `srsly.json_dumps(..., sort_keys=True)` is right, since
# it takes the standard library's writer.
#
# Output seen:
#
#     layer_norm_eps: initialized 1e-12, saved and loaded 0.0
#     srsly: [1e-10, 1.5e-10, 1e-11, 1e-12] is written as [0.0000000001,0.0000000002,0.0,0.0]
#     srsly, sort_keys: [1e-10,1.5e-10,1e-11,1e-12]
#
# Exit status: 0 if the behaviour is still as described, otherwise not 0, with a line that says
# what changed.
set -euo pipefail
unset PYTHONPATH
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3.11 -m venv venv
venv/bin/pip install -qq --disable-pip-version-check spacy==3.8.18 spacy-transformers==1.4.0 transformers==4.53.2 srsly==2.5.6 torch==2.13.0 numpy==2.4.6
OMP_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false venv/bin/python - <<'PY'
import sys
import warnings
from pathlib import Path

warnings.simplefilter("ignore")
import spacy
import srsly
from transformers import BertConfig, BertModel, BertTokenizerFast

words = "[PAD] [UNK] [CLS] [SEP] [MASK] the patient had fever".split()
Path("vocab.txt").write_text("\n".join(words))
BertTokenizerFast("vocab.txt").save_pretrained("bert")
config = BertConfig(
    vocab_size=len(words),
    hidden_size=16,
    num_hidden_layers=1,
    num_attention_heads=2,
    intermediate_size=16,
)
BertModel(config).save_pretrained("bert")
nlp = spacy.blank("en")
model = {"@architectures": "spacy-transformers.TransformerModel.v3", "name": "bert"}
nlp.add_pipe("transformer", config={"model": model})
nlp.initialize()
nlp.to_disk("pipeline")
eps = [
    p.get_pipe("transformer").model.transformer.config.layer_norm_eps
    for p in (nlp, spacy.load("pipeline"))
]
print(f"layer_norm_eps: initialized {eps[0]}, saved and loaded {eps[1]}")
small = [1e-10, 1.5e-10, 1e-11, 1e-12]
print(f"srsly: {small} is written as {srsly.json_dumps(small)}")
print(f"srsly, sort_keys: {srsly.json_dumps(small, sort_keys=True)}")
if eps[0] != 1e-12:
    sys.exit("changed: BERT has another epsilon to begin with")
if eps[1] != 0.0:
    sys.exit("changed: the epsilon comes back")
PY
