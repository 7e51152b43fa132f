#!/usr/bin/env bash
# spaCy 3.8.18: a pipeline that `spacy train` made cannot be updated if its optimizer's block
# holds a variable.
#
# Expected: `total_steps = ${training.max_steps}` in the schedule of the learning rate is an
# ordinary use of variables: `spacy train` reads it, so does everything else that reads the config
# of the trained pipeline.
#
# Behaviour: `spacy train` fills the variables in before it makes the optimizer. The pipeline is
# saved with the variable, and loaded it makes its optimizer from the block alone, where the
# variable is a string: `nlp.resume_training()` and `nlp.create_optimizer()` fail with a
# ConfigValidationError that says the string is not an int. It comes months later, where someone
# wants to train on.
#
# Output seen:
#
#     total_steps = 4: trained and loaded, resume_training: works
#     total_steps = ${training.max_steps}: trained and loaded, resume_training: ConfigValidationError
#
# Exit status: 0 if the behaviour is still as described, otherwise not 0, with a line that says
# what changed.
set -euo pipefail
unset PYTHONPATH
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3.11 -m venv venv
venv/bin/pip install -qq --disable-pip-version-check spacy==3.8.18 numpy==2.4.6
OMP_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false venv/bin/python - <<'PY'
import io
import sys
from contextlib import redirect_stdout
from pathlib import Path

import spacy
from confection import ConfigValidationError
from spacy.cli.init_config import fill_config
from spacy.cli.train import train
from spacy.tokens import DocBin

config = """
[paths]
train = "docs.spacy"
dev = "docs.spacy"
[nlp]
lang = "en"
pipeline = ["ner"]
[components]
[components.ner]
factory = "ner"
[corpora]
[corpora.train]
@readers = "spacy.Corpus.v1"
path = ${paths.train}
[corpora.dev]
@readers = "spacy.Corpus.v1"
path = ${paths.dev}
[training]
max_steps = 4
eval_frequency = 2
[training.optimizer]
@optimizers = "Adam.v1"
[training.optimizer.learn_rate]
@schedules = "warmup_linear.v1"
warmup_steps = 2
total_steps = %s
initial_rate = 0.001
"""
doc = spacy.blank("en")("the patient had fever")
doc.ents = [doc.char_span(16, 21, label="PROBLEM")]
DocBin(docs=[doc] * 4).to_disk("docs.spacy")
seen = {}
for value in ("4", "${training.max_steps}"):
    Path("base.cfg").write_text(config % value)
    with redirect_stdout(io.StringIO()):
        fill_config(Path("config.cfg"), Path("base.cfg"))
        train("config.cfg", "trained")
    nlp = spacy.load("trained/model-last")
    try:
        nlp.resume_training()
        seen[value] = "works"
    except ConfigValidationError:
        seen[value] = "ConfigValidationError"
    print(f"total_steps = {value}: trained and loaded, resume_training: {seen[value]}")
if list(seen.values()) != ["works", "ConfigValidationError"]:
    sys.exit("changed: a variable no longer decides whether training can be resumed")
PY
