#!/usr/bin/env bash
# negspacy 1.1.0: a negation right behind a pseudo-negation is overlooked.
#
# Expected: "gram negative" and "no change" look like negations and are none (pseudo-negations).
# They cancel what they cover, and "without" behind them negates as it does elsewhere.
#
# Behaviour: a term is dropped if it starts within a pseudo-negation or at the token behind it,
# since the end of the match, which is exclusive, is taken as inclusive. "Gram negative without
# fever" leaves fever affirmed; one word between the two, and it is negated. In notes without
# commas, as lists of findings are, a negated finding turns into a present one.
#
# Output seen:
#
#     Culture without fever. negated: True
#     Culture gram negative and without fever. negated: True
#     Culture gram negative without fever. negated: False
#     Chest film no change and denies fever. negated: True
#     Chest film no change denies fever. negated: False
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
nlp.add_pipe("entity_ruler").add_patterns([{"label": "PROBLEM", "pattern": "fever"}])
nlp.add_pipe("negex")
texts = {
    "Culture without fever.": True,
    "Culture gram negative and without fever.": True,
    "Culture gram negative without fever.": False,
    "Chest film no change and denies fever.": True,
    "Chest film no change denies fever.": False,
}
for text, seen in texts.items():
    [fever] = nlp(text).ents
    print(f"{text} negated: {fever._.negex}")
    if fever._.negex != seen:
        sys.exit(f"changed: fever in {text!r} is negated: {fever._.negex}")
PY
