#!/usr/bin/env bash
# spaCy 3.8.18: an entity_linker without context links by chance, and asks for sentences.
#
# Expected: with `incl_context` off nothing but the prior probabilities of a name decides. The same
# text gets the same code each time, and no sentence is read.
#
# Behaviour: the candidates are shuffled by Python's global random state before the best one is
# taken. Where two codes of a name have the same prior, as in a table of codes without counts, the
# code of the same words in the same process changes from call to call. Sentence boundaries are
# asked for although nothing reads them (E030), and an entity ruler alone sets none.
#
# Output seen:
#
#     without sentences: E030
#     codes of 40 times the same text: C1 C2
#     with unequal priors: C1
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
OMP_NUM_THREADS=1 venv/bin/python - <<'PY'
import sys

import spacy
from spacy.kb import InMemoryLookupKB


def codes(priors, *, sentences=True):
    nlp = spacy.blank("en")
    nlp.add_pipe("entity_ruler").add_patterns([{"label": "SIGN", "pattern": "cold"}])
    if sentences:
        nlp.add_pipe("sentencizer")
    config = {"incl_context": False, "entity_vector_length": 1}
    linker = nlp.add_pipe("entity_linker", config=config)

    def make_kb(vocab):
        kb = InMemoryLookupKB(vocab, entity_vector_length=1)
        for code in ("C1", "C2"):
            kb.add_entity(entity=code, freq=1, entity_vector=[0.0])
        kb.add_alias(alias="cold", entities=["C1", "C2"], probabilities=priors)
        return kb

    linker.set_kb(make_kb)
    return sorted({ent.kb_id_ for doc in nlp.pipe(["a cold"] * 40) for ent in doc.ents})


try:
    codes([0.5, 0.5], sentences=False)
except ValueError as error:
    code = str(error)[1:5]
    print(f"without sentences: {code}")
    if code != "E030":
        sys.exit(f"changed: without sentences the error is {code}")
else:
    sys.exit("changed: it works without sentences")
same = codes([0.5, 0.5])
print("codes of 40 times the same text:", *same)
if same != ["C1", "C2"]:
    sys.exit(f"changed: equal priors give {same}")
unequal = codes([0.6, 0.4])
print("with unequal priors:", *unequal)
if unequal != ["C1"]:
    sys.exit(f"changed: unequal priors give {unequal}")
PY
