#!/usr/bin/env bash
# edsnlp 0.23.0: no setting of the encoder can be given to `eds.transformer`.
#
# Expected: the pipe takes further keywords (`**kwargs` of its signature) and hands them to
# transformers' `AutoModel.from_pretrained`, so that `hidden_dropout_prob=0.2` is the dropout that
# the encoder is trained with.
#
# Behaviour: they arrive in one keyword called "kwargs", which no encoder has: a TypeError that
# names a keyword that nobody wrote. It is so for any encoder and setting, by `config=` or by
# `edsnlp.pipes.transformer(...)`. Without further keywords the pipe is made.
#
# Output seen:
#
#     no further keyword: dropout 0.1
#     hidden_dropout_prob=0.2: BertModel.__init__() got an unexpected keyword argument 'kwargs'
#     by transformers alone: dropout 0.2
#
# Exit status: 0 if the behaviour is still as described, otherwise not 0, with a line that says
# what changed.
set -euo pipefail
unset PYTHONPATH
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3.11 -m venv venv
venv/bin/pip install -qq --disable-pip-version-check torch==2.13.0 "edsnlp[ml]==0.23.0" \
  spacy==3.8.18 confit==0.13.0.dev1 transformers==5.24.0 numpy==2.4.6
OMP_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false venv/bin/python -W ignore - 2> log <<'PY' || { cat log; exit 1; }
import sys
from pathlib import Path

import spacy

spacy.blank("en")  # else edsnlp hides spaCy's own pipes
import edsnlp  # noqa: E402
from transformers import AutoModel, BertConfig, BertModel, BertTokenizerFast  # noqa: E402

Path("vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a"]))
BertTokenizerFast("vocab.txt").save_pretrained("bert")
sizes = {"hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 32}
BertModel(BertConfig(vocab_size=6, num_hidden_layers=1, **sizes)).save_pretrained("bert")


def made(**settings):
    nlp = edsnlp.blank("eds")
    nlp.add_pipe("eds.transformer", config={"model": "bert", "window": 16, "stride": 8, **settings})
    ((_, pipe),) = nlp.pipeline
    return pipe.transformer.config.hidden_dropout_prob


print(f"no further keyword: dropout {made()}")
error = None
try:
    print(f"hidden_dropout_prob=0.2: dropout {made(hidden_dropout_prob=0.2)}")
except TypeError as raised:
    error = str(raised)
    print(f"hidden_dropout_prob=0.2: {error}")
alone = AutoModel.from_pretrained("bert", hidden_dropout_prob=0.2).config.hidden_dropout_prob
print(f"by transformers alone: dropout {alone}")
if error is None or "'kwargs'" not in error:
    sys.exit("changed: the setting reaches the encoder, or the error is another one")
if alone != 0.2:
    sys.exit("changed: transformers does not take the setting either")
PY
