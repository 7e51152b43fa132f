#!/usr/bin/env bash
# spacy-transformers 1.4.0: with a SentencePiece tokenizer a token is aligned to the next word's
# piece too.
#
# Expected: a token is aligned to the pieces that hold its characters. "patient" that is one piece
# has one.
#
# Behaviour: a tokenizer with a Metaspace pre-tokenizer, as transformers makes it of a
# SentencePiece model, counts the blank before a word to its first piece: offsets (3, 11) for "
# patient". The alignment counts the blank behind a token to the token. Both hold the same blank,
# so every token but the last before a line's end has the first piece of the next word among its
# own, and mean pooling mixes the two vectors half and half. Nothing fails; a tagger loses a
# little at the borders of entities.
#
# Output seen:
#
#     offsets of the pieces: [(0, 3), (3, 11), (11, 15), (15, 21)]
#     the is aligned to ▁the ▁patient
#     patient is aligned to ▁patient ▁had
#     had is aligned to ▁had ▁fever
#     fever is aligned to ▁fever
#
# Exit status: 0 if the behaviour is still as described, otherwise not 0, with a line that says
# what changed.
set -euo pipefail
unset PYTHONPATH
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3.11 -m venv venv
venv/bin/pip install -qq --disable-pip-version-check spacy==3.8.18 spacy-transformers==1.4.0 transformers==4.53.2 tokenizers==0.21.4 torch==2.13.0 numpy==2.4.6
OMP_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false venv/bin/python - <<'PY'
import sys
import warnings

warnings.simplefilter("ignore")
import spacy
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, XLMRobertaConfig, XLMRobertaModel

text = "the patient had fever"
pieces = ["<s>", "<pad>", "</s>", "<unk>", *("\u2581" + word for word in text.split())]
tokenizer = Tokenizer(models.Unigram([(piece, -1.0) for piece in pieces], unk_id=3))
tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", pad_token="<pad>")
fast.save_pretrained("encoder")
config = XLMRobertaConfig(
    vocab_size=len(pieces),
    hidden_size=16,
    num_hidden_layers=1,
    num_attention_heads=2,
    intermediate_size=16,
    max_position_embeddings=64,
)
XLMRobertaModel(config).save_pretrained("encoder")
nlp = spacy.blank("en")
model = {"@architectures": "spacy-transformers.TransformerModel.v3", "name": "encoder"}
nlp.add_pipe("transformer", config={"model": model})
nlp.initialize()
doc = nlp(text)
data = doc._.trf_data
[strings] = data.wordpieces.strings
print("offsets of the pieces:", fast(text, return_offsets_mapping=True)["offset_mapping"])
aligned = [[strings[i] for i in data.align[token.i].data.ravel()] for token in doc]
for token, own in zip(doc, aligned, strict=True):
    print(token.text, "is aligned to", " ".join(own))
if [len(own) for own in aligned] != [2, 2, 2, 1]:
    sys.exit("changed: tokens are no longer aligned to the first piece of the next word")
PY
