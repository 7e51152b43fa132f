#!/usr/bin/env bash
# spaCy 3.8.18 with spacy-transformers 1.4.0: `nlp.update(examples, sgd=optimizer)` trains the
# encoder one step late.
#
# Expected: `nlp.update` with an optimizer is one step of all pipes, as `nlp.update(examples,
# sgd=False)` followed by `finish_update` of each pipe is.
#
# Behaviour: spaCy steps each pipe right behind its own update. The transformer comes first, and
# its gradient arrives when the pipes behind it, which listen to it, have computed theirs. So its
# first step moves nothing, each later one applies the gradient of the batch before, and that of
# the last batch is never applied. A loop written by hand with few updates, such as fine-tuning on
# a handful of examples, is another training than that of `spacy train`, which is right.
#
# Output seen:
#
#     update(sgd=optimizer), whether the encoder moved in each step: [False, True, True]
#     update(sgd=False), then finish_update: [True, True, True]
#
# Exit status: 0 if the behaviour is still as described, otherwise not 0, with a line that says
# what changed.
set -euo pipefail
unset PYTHONPATH
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3.11 -m venv venv
venv/bin/pip install -qq --disable-pip-version-check spacy==3.8.18 spacy-transformers==1.4.0 thinc==8.3.14 transformers==4.53.2 torch==2.13.0 numpy==2.4.6
OMP_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false venv/bin/python - <<'PY'
import sys
import warnings
from pathlib import Path

warnings.simplefilter("ignore")
import spacy
from spacy.training import Example
from thinc.api import Adam
from transformers import BertConfig, BertModel, BertTokenizerFast

words = "[PAD] [UNK] [CLS] [SEP] [MASK] the patient had severe fever".split()
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


def steps(one_call):
    nlp = spacy.blank("en")
    encoder = {"@architectures": "spacy-transformers.TransformerModel.v3", "name": "bert"}
    nlp.add_pipe("transformer", config={"model": encoder})
    listener = {
        "@architectures": "spacy-transformers.TransformerListener.v1",
        "grad_factor": 1.0,
        "pooling": {"@layers": "reduce_mean.v1"},
    }
    parser = {
        "@architectures": "spacy.TransitionBasedParser.v2",
        "state_type": "ner",
        "extra_state_tokens": False,
        "hidden_width": 16,
        "maxout_pieces": 2,
        "use_upper": False,
        "tok2vec": listener,
    }
    nlp.add_pipe("ner", config={"model": parser})
    doc = nlp.make_doc("the patient had severe fever")
    examples = [Example.from_dict(doc, {"entities": [(16, 28, "PROBLEM")]})]
    nlp.initialize(lambda: examples)
    network = nlp.get_pipe("transformer").model.transformer
    optimizer = Adam(0.01)
    moved = []
    for _ in range(3):
        before = [p.detach().clone() for p in network.parameters()]
        if one_call:
            nlp.update(examples, sgd=optimizer)
        else:
            nlp.update(examples, sgd=False)
            for _, pipe in nlp.pipeline:
                pipe.finish_update(optimizer)
        after = list(network.parameters())
        moved.append(any((a != b).any().item() for a, b in zip(before, after, strict=True)))
    return moved


at_once, apart = steps(True), steps(False)
print("update(sgd=optimizer), whether the encoder moved in each step:", at_once)
print("update(sgd=False), then finish_update:", apart)
if not all(apart):
    sys.exit("changed: the two calls do not move the encoder in each step either")
if at_once != [False, True, True]:
    sys.exit("changed: update with an optimizer no longer leaves the first gradient for the next step")
PY
