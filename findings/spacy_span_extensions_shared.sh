#!/usr/bin/env bash
# spaCy 3.8.18: spans of the same place share their extension values, whatever their labels.
#
# Expected: `span._.score` belongs to the span. Two answers to the same words, one a Drug and one
# a Dosage, each have a score of their own; `==` says that the spans differ, and spaCy keeps both
# in one span group.
#
# Behaviour: the value is kept on the doc under the offsets alone. The score written last is the
# score of both, in any group and in `doc.ents`, and a span that was relabelled, or made anew long
# after, has the value of the one that was there. It shows where hypotheses of a span categorizer
# are scored, or where one pipe relabels what another found.
#
# Output seen:
#
#     the spans are equal: False
#     written Drug 0.9, then Dosage 0.2; read {'Drug': 0.2, 'Dosage': 0.2}
#     a new span there, with the label Frequency: 0.2
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
import sys

import spacy
from spacy.tokens import Span

Span.set_extension("score", default=None)
doc = spacy.blank("en")("aspirin 100 mg daily")
drug, dosage = (Span(doc, 0, 3, label=label) for label in ("Drug", "Dosage"))
doc.spans["hypotheses"] = [drug, dosage]
drug._.score = 0.9
dosage._.score = 0.2
scores = {span.label_: span._.score for span in doc.spans["hypotheses"]}
fresh = Span(doc, 0, 3, label="Frequency")._.score
print(f"the spans are equal: {drug == dosage}")
print(f"written Drug 0.9, then Dosage 0.2; read {scores}")
print(f"a new span there, with the label Frequency: {fresh}")
if drug == dosage:
    sys.exit("changed: spans of different labels are equal")
if scores != {"Drug": 0.2, "Dosage": 0.2} or fresh != 0.2:
    sys.exit("changed: each span has a value of its own")
PY
