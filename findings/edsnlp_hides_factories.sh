#!/usr/bin/env bash
# edsnlp 0.23.0: after `import edsnlp`, spaCy 3.8.18 does not find its own pipes.
#
# Expected: `import edsnlp` adds pipes to spaCy, and `spacy.blank("en").add_pipe("sentencizer")`
# works as before.
#
# Behaviour: EDS-NLP puts a constructor of its own in the place of `Language.__init__`. spaCy 3.8
# registers its factories in the one that was replaced, at the first pipeline. Where edsnlp is
# imported before any pipeline was made, "sentencizer", "ner" or "doc_cleaner" are unknown (E002),
# and saved pipelines that have them do not load; "merge_entities" is known. It makes no
# difference whether spacy or edsnlp is imported first, only whether a pipeline was made in
# between: a notebook that did so works, and the script that is made from it does not.
#
# Output seen:
#
#     with nothing before import edsnlp, spaCy knows ['merge_entities']
#     with spacy.blank("en") before import edsnlp, spaCy knows ['sentencizer', 'ner', 'doc_cleaner', 'merge_entities']
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
OMP_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false venv/bin/python - <<'PY'
import subprocess
import sys

code = """
import spacy
%s
import edsnlp
nlp = spacy.blank("en")
known = []
for name in ("sentencizer", "ner", "doc_cleaner", "merge_entities"):
    try:
        nlp.add_pipe(name)
        known.append(name)
    except ValueError as error:
        assert "[E002]" in str(error)
print(*known)
"""
known = {}
for between in ("", 'spacy.blank("en")'):
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code % between],
        check=True, capture_output=True, text=True,
    )
    known[between] = done.stdout.splitlines()[-1].split()
    print(f"with {between or 'nothing'} before import edsnlp, spaCy knows {known[between]}")
if len(known['spacy.blank("en")']) != 4:
    sys.exit("changed: a pipeline made before no longer helps")
if "sentencizer" in known[""]:
    sys.exit("changed: spaCy's own pipes are found after import edsnlp")
PY
