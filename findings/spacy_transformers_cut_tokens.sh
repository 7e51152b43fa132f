#!/usr/bin/env bash
# spacy-transformers 1.4.0: tokens behind the encoder's limit get no vector, although windows are
# set.
#
# Expected: `strided_spans.v1` cuts a note into windows that the encoder can hold, so all tokens
# are read.
#
# Behaviour: windows count tokens, the encoder's limit counts wordpieces. A window with codes,
# tables of figures or other words of many pieces is longer than the limit and is cut there. Its
# last tokens are aligned to nothing and get a vector of zeros, so a tagger gives all of them the
# tag that its bias likes best, ordinary words among them. The only message is one of the
# tokenizer, once, which says that running the sequence "will result in indexing errors": it does
# not, and names no token.
#
# Output seen:
#
#     16 tokens, ten of them '1': without a wordpiece []
#     16 tokens, ten of them '1231123': without a wordpiece ['1231123', '1231123', '1231123', '1231123', '1231123', '1231123', 'fever', 'and', 'cough']
#
# Exit status: 0 if the behaviour is still as described, otherwise not 0, with a line that says
# what changed.
set -euo pipefail
unset PYTHONPATH
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3.11 -m venv venv
venv/bin/pip install -qq --disable-pip-version-check spacy==3.8.18 spacy-transformers==1.4.0 transformers==4.53.2 torch==2.13.0 numpy==2.4.6
OMP_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false venv/bin/python - <<'PY'
import sys
import warnings
from pathlib import Path

warnings.simplefilter("ignore")
import spacy
from transformers import BertConfig, BertModel, BertTokenizerFast

limit = 32
words = "[PAD] [UNK] [CLS] [SEP] [MASK] the patient had fever and cough 1 ##1 ##2 ##3".split()
Path("vocab.txt").write_text("\n".join(words))
BertTokenizerFast("vocab.txt", model_max_length=limit).save_pretrained("bert")
config = BertConfig(
    vocab_size=len(words),
    hidden_size=16,
    num_hidden_layers=1,
    num_attention_heads=2,
    intermediate_size=16,
    max_position_embeddings=limit,
)
BertModel(config).save_pretrained("bert")
nlp = spacy.blank("en")
spans = {"@span_getters": "spacy-transformers.strided_spans.v1", "window": 16, "stride": 12}
model = {
    "@architectures": "spacy-transformers.TransformerModel.v3",
    "name": "bert",
    "get_spans": spans,
}
nlp.add_pipe("transformer", config={"model": model})
nlp.initialize()
unread = {}
for code in ("1", "1231123"):
    doc = nlp("the patient had " + f"{code} " * 10 + "fever and cough")
    lengths = doc._.trf_data.align.lengths
    unread[code] = [token.text for token in doc if lengths[token.i] == 0]
    print(f"{len(doc)} tokens, ten of them {code!r}: without a wordpiece {unread[code]}")
if unread["1"]:
    sys.exit("changed: tokens of short words have no wordpiece either")
if unread["1231123"][-3:] != ["fever", "and", "cough"]:
    sys.exit("changed: the words at the end of a long window are read")
PY
