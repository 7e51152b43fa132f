#!/usr/bin/env bash
# edsnlp 0.23.0: brat annotation of a note with CRLF line ends lands on other characters.
#
# Expected: brat's offsets are read on the text as the file has it. Where the mention's own text,
# the last column of the .ann file, is another one than the text at its offsets, something says so.
#
# Behaviour: the .txt file is opened in text mode, in which Python turns "\r\n" into "\n", and the
# offsets are applied to that shorter text. Each mention is one character too late for each line
# before it, and widened to whole tokens: with a part of the next line, or on it. No error, no
# warning, unless a mention ends up behind the end of the note: an AttributeError of None. Notes
# with "\n" are read as they should be.
#
# Output seen:
#
#     line ends '\n': ['fever', 'cough', 'knee', 'ankle']
#     line ends '\r\n': ['fever', 'cough.', 'knee.\n', 'ankle.\nSeen']
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

MENTIONS = ["fever", "cough", "knee", "ankle"]
found = {}
for end in ("\n", "\r\n"):
    text = end.join(["No fever.", "A cough.", "Pain in the knee.", "None in the ankle.", "Seen on Monday.", ""])
    folder = Path("lf" if end == "\n" else "crlf")
    folder.mkdir()
    (folder / "note.txt").write_bytes(text.encode())
    lines = [
        f"T{i}\tSign {text.index(one)} {text.index(one) + len(one)}\t{one}\n"
        for i, one in enumerate(MENTIONS, start=1)
    ]
    (folder / "note.ann").write_bytes("".join(lines).encode())
    (doc,) = edsnlp.data.read_standoff(folder)
    found[end] = [ent.text for ent in doc.ents]
    print(f"line ends {end!r}: {found[end]}")
if found["\n"] != MENTIONS:
    sys.exit("changed: a note with \\n is no longer read as annotated")
if found["\r\n"] == MENTIONS:
    sys.exit("changed: a note with \\r\\n is read as annotated")
PY
