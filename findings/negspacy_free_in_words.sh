#!/usr/bin/env bash
# negspacy 1.1.0: a word that ends in "-free" negates the findings before it.
#
# Expected: "pain-free" says that there is no pain. It says nothing of what stands before it.
#
# Behaviour: "free" is a term that acts backwards ("the culture was free"), and spaCy's tokenizer
# divides words at hyphens. So in "treated for pneumonia, now symptom-free" pneumonia is negated. A
# note that says how a disease ended well turns the disease into one that the patient never had.
#
# Output seen:
#
#     Treated for pneumonia. negated: False
#     Treated for pneumonia, now well. negated: False
#     Treated for pneumonia, now symptom-free. negated: True
#     Pneumonia was treated and he left pain-free. negated: True
#
# Exit status: 0 if the behaviour is still as described, otherwise not 0, with a line that says
# what changed.
set -euo pipefail
unset PYTHONPATH
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3.11 -m venv venv
venv/bin/pip install -qq --disable-pip-version-check negspacy==1.1.0 spacy==3.8.18 numpy==2.4.6
OMP_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false venv/bin/python - <<'PY'
import sys

import spacy
from negspacy.negation import Negex  # noqa: F401

nlp = spacy.blank("en")
nlp.add_pipe("sentencizer")
nlp.add_pipe("entity_ruler").add_patterns([{"label": "PROBLEM", "pattern": [{"LOWER": "pneumonia"}]}])
nlp.add_pipe("negex")
texts = {
    "Treated for pneumonia.": False,
    "Treated for pneumonia, now well.": False,
    "Treated for pneumonia, now symptom-free.": True,
    "Pneumonia was treated and he left pain-free.": True,
}
for text, seen in texts.items():
    [pneumonia] = nlp(text).ents
    print(f"{text} negated: {pneumonia._.negex}")
    if pneumonia._.negex != seen:
        sys.exit(f"changed: pneumonia in {text!r} is negated: {pneumonia._.negex}")
PY
