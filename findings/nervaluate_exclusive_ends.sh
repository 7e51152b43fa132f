#!/usr/bin/env bash
# nervaluate 1.2.1: spans whose ends are exclusive earn credit for touching a gold span.
#
# Expected: a prediction that shares no character with a gold entity is spurious, and the gold
# entity is missed. Offsets are as in spaCy, Prodigy and the JSON that most tools write: the end
# is the first character behind.
#
# Behaviour: the end of a span counts as its last character. Two spans that meet, as [0, 5) and
# [5, 9) do, overlap by one: "partial" gives half a hit, "type" a whole one. Between characters of
# text the words of an entity are parted by a blank, so it takes tokens or numbers and units ("5"
# and "mg" in "5mg") for this to appear. The exact figures of "strict" are right but for their
# counts: the prediction is incorrect, and neither spurious nor is the entity missed.
#
# Output seen:
#
#     gold '100', found 'mg'
#     strict: F1 0, incorrect 1, missed 0, spurious 0
#     partial: F1 0.5, incorrect 0, missed 0, spurious 0
#     ent_type: F1 1.0, incorrect 0, missed 0, spurious 0
#
# Exit status: 0 if the behaviour is still as described, otherwise not 0, with a line that says
# what changed.
set -euo pipefail
unset PYTHONPATH
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3.11 -m venv venv
venv/bin/pip install -qq --disable-pip-version-check nervaluate==1.2.1
OMP_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false venv/bin/python - <<'PY'
import sys

from nervaluate import Evaluator

text = "aspirin 100mg"
number = {"label": "Dosage", "start": 8, "end": 11}
unit = {"label": "Dosage", "start": 11, "end": 13}
print(f"gold {text[8:11]!r}, found {text[11:13]!r}")
scores = Evaluator([[number]], [[unit]], tags=["Dosage"], loader="dict").evaluate()["overall"]
for name in ("strict", "partial", "ent_type"):
    s = scores[name]
    print(f"{name}: F1 {s.f1}, incorrect {s.incorrect}, missed {s.missed}, spurious {s.spurious}")
if (scores["partial"].f1, scores["ent_type"].f1, scores["strict"].missed) != (0.5, 1.0, 0):
    sys.exit("changed: spans that only touch are no longer counted as overlapping")
PY
