#!/usr/bin/env bash
# bioc 2.1: a PubTator mention without a concept is read as a relation.
#
# Expected: a line of six tab-separated columns is a mention, also if the last one, the concept,
# is empty, as it is where mentions were found and not yet normalized. bioc writes such a line
# itself.
#
# Behaviour: lines are stripped before they are split, so the line has five columns and becomes a
# relation between "3" and "8". No error, no warning: the mention is gone. Reading what
# `pubtator.dumps` has just written loses it as well.
#
# Output seen:
#
#     concept given: 1 mentions, 0 relations
#     concept empty: 0 mentions, 1 relations
#     written and read again: 0 mentions
#
# Exit status: 0 if the behaviour is still as described, otherwise not 0, with a line that says
# what changed.
set -euo pipefail
unset PYTHONPATH
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3.11 -m venv venv
venv/bin/pip install -qq --disable-pip-version-check bioc==2.1
venv/bin/python - <<'PY'
import sys

from bioc import pubtator

found = {}
for name, concept in (("given", "D005334"), ("empty", "")):
    text = f"1|t|No fever\n1|a|\n1\t3\t8\tfever\tDisease\t{concept}\n"
    (document,) = pubtator.loads(text)
    found[name] = len(document.annotations), len(document.relations)
    mentions, relations = found[name]
    print(f"concept {name}: {mentions} mentions, {relations} relations")
document = pubtator.PubTator("1", "No fever", "")
document.add_annotation(pubtator.PubTatorAnn("1", 3, 8, "fever", "Disease", ""))
(again,) = pubtator.loads(pubtator.dumps([document]))
print(f"written and read again: {len(again.annotations)} mentions")
if found["given"] != (1, 0):
    sys.exit("changed: a mention with a concept is not read as one")
if found["empty"] != (0, 1) or again.annotations:
    sys.exit("changed: a mention without a concept is no longer read as a relation")
PY
