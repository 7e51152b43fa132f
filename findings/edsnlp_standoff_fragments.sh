#!/usr/bin/env bash
# edsnlp 0.23.0: a discontinuous brat mention is read as several, and written as several.
#
# Expected: brat's "T1 Body 8 12;23 27" is one mention, of the left knee. A library whose spans are
# continuous takes its enclosing span, drops it, or says that it can do neither.
#
# Behaviour: each fragment becomes an entity of its own with the whole label, with nothing that
# joins the two but an attribute. What `write_standoff` writes has two mentions, "left" and "knee",
# in the place of one: a training on either learns that "left" is a part of the body by itself, and
# a count of mentions is too high. No error, no warning.
#
# Output seen:
#
#     read: [('left', 'Body'), ('knee', 'Body')]
#     written: ['T1\tBody 8 12\tleft', 'T2\tBody 23 27\tknee']
#
# Exit status: 0 if the behaviour is still as described, otherwise not 0, with a line that says
# what changed.
set -euo pipefail
unset PYTHONPATH
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3.11 -m venv venv
venv/bin/pip install -qq --disable-pip-version-check spacy==3.8.18 edsnlp==0.23.0 numpy==2.4.6
OMP_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false venv/bin/python -W ignore - <<'PY'
import sys
from pathlib import Path

import spacy

spacy.blank("en")  # else edsnlp hides spaCy's own pipes
import edsnlp  # noqa: E402

Path("notes").mkdir()
Path("notes/note.txt").write_text("Pain in left and right knee.\n")
Path("notes/note.ann").write_text("T1\tBody 8 12;23 27\tleft knee\n")
(doc,) = edsnlp.data.read_standoff("notes")
read = [(ent.text, ent.label_) for ent in doc.ents]
print(f"read: {read}")
edsnlp.data.write_standoff([doc], "written", span_getter=["ents"])
written = Path("written/note.ann").read_text().splitlines()
print(f"written: {written}")
if read != [("left", "Body"), ("knee", "Body")]:
    sys.exit("changed: a mention of two fragments is not read as two")
if len(written) != 2:
    sys.exit("changed: a mention of two fragments is not written as two")
PY
