#!/usr/bin/env bash
# edsnlp 0.23.0: a training of fewer than ten steps fails at its first step.
#
# Expected: `train(max_steps=5)` takes five steps, as a first try of a new config does.
#
# Behaviour: the interval between evaluations is a tenth of the steps, rounded down. It is 0 for
# fewer than ten steps, and the loop divides by it: ZeroDivisionError. Ten steps train. A
# `validation_interval` that is given is used, so giving one avoids it.
#
# Output seen:
#
#     5 steps: ZeroDivisionError
#     5 steps, validation_interval 5: trained
#     10 steps: trained
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
    transformers==5.24.0 spacy==3.8.18
venv/bin/python - <<'PY'
import io
import sys
import warnings
from contextlib import redirect_stderr, redirect_stdout

import edsnlp
import edsnlp.pipes as eds
from edsnlp.training.trainer import TrainingData, train
from transformers import BertConfig, BertModel, BertTokenizerFast

words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "no", "fever", "cough"]
with open("vocab.txt", "w") as file:
    file.write("\n".join(words))
BertTokenizerFast(vocab_file="vocab.txt").save_pretrained("encoder")
sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
BertModel(BertConfig(vocab_size=len(words), intermediate_size=16, **sizes)).save_pretrained("encoder")


def run(steps: int, **settings: int) -> str:
    nlp = edsnlp.blank("en")
    ner = eds.ner_crf(
        embedding=eds.transformer(model="encoder", window=32, stride=24),
        target_span_getter="gold",
        span_setter={"found": True},
        labels=["Sign"],
        mode="independent",
    )
    nlp.add_pipe(ner, name="ner")
    docs = []
    for _ in range(8):
        doc = nlp.make_doc("no fever no cough")
        doc.spans["gold"] = [doc.char_span(3, 8, label="Sign")]
        docs.append(doc)
    data = TrainingData(data=edsnlp.data.from_iterable(docs), batch_size="2 docs", shuffle=False)
    try:
        train(nlp=nlp, train_data=data, max_steps=steps, cpu=True, save_model=False, logger=False,
              output_dir="out", **settings)
    except ZeroDivisionError as error:
        return type(error).__name__
    return "trained"


warnings.simplefilter("ignore")
with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
    found = run(5), run(5, validation_interval=5), run(10)
for name, result in zip(("5 steps", "5 steps, validation_interval 5", "10 steps"), found):
    print(f"{name}: {result}")
if found[1:] != ("trained", "trained"):
    sys.exit("changed: what trained before does not train")
if found[0] != "ZeroDivisionError":
    sys.exit("changed: five steps are trained")
PY
