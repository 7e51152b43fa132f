#!/usr/bin/env bash
# spaCy 3.8.18: merging tokens leaves the spans of `doc.spans` at their old token numbers.
#
# Expected: `doc.retokenize` moves the annotation of a doc with its tokens. It does so with
# `doc.ents`, heads and sentence starts, and a span of a group is tied to its doc as an entity is.
#
# Behaviour: the spans of a group keep their numbers, so behind the merged tokens each of them is of
# other words. There is no error and no warning, unless a span's number is now behind the last
# token. The pipes `merge_entities` and `merge_noun_chunks` merge in this way.
#
# Output seen:
#
#     before: entities ['chest pain', 'aspirin'], group ['chest pain', 'aspirin']
#     merged: entities ['chest pain', 'aspirin'], group ['chest pain given', 'daily']
#
# Exit status: 0 if the behaviour is still as described, otherwise not 0, with a line that says
# what changed.
set -euo pipefail
unset PYTHONPATH
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3.11 -m venv venv
venv/bin/pip install -qq --disable-pip-version-check spacy==3.8.18
venv/bin/python - <<'PY'
import sys

import spacy
from spacy.tokens import Span

doc = spacy.blank("en")("chest pain given aspirin daily")
spans = [Span(doc, 0, 2, "Sign"), Span(doc, 3, 4, "Drug")]
doc.spans["mentions"] = doc.ents = spans


def seen() -> tuple[list[str], list[str]]:
    return [ent.text for ent in doc.ents], [span.text for span in doc.spans["mentions"]]


print("before: entities {}, group {}".format(*seen()))
with doc.retokenize() as retokenizer:
    retokenizer.merge(doc[0:2])
entities, group = seen()
print(f"merged: entities {entities}, group {group}")
if entities != ["chest pain", "aspirin"]:
    sys.exit("changed: entities do not move with their tokens")
if group == ["chest pain", "aspirin"]:
    sys.exit("changed: the spans of a group move with their tokens")
PY
