#!/usr/bin/env bash
# spaCy 3.8.18: documents read into a bare Vocab have no white space, no figures and no lower
# case.
#
# Expected: `is_space`, `like_num` and `lower_` depend on the characters of a token, so a corpus
# that is read by `DocBin.get_docs(Vocab())` has them as well as one read with a language's
# vocabulary.
#
# Behaviour: these attributes are computed by functions that the language puts into its
# vocabulary. A bare Vocab has none, so every flag is False, and `lower_` and `shape_` are empty,
# "\n" included. Code that skips white space, or a Matcher on LOWER, finds nothing, and nothing
# says why. Words, offsets and entities are right.
#
# Output seen:
#
#     spacy.blank('en').vocab ['Gave', '5', 'mg', '\n', 'of', 'Aspirin']
#       white space ['\n'], figures ['5'], last word in lower case 'aspirin'
#     Vocab() ['Gave', '5', 'mg', '\n', 'of', 'Aspirin']
#       white space [], figures [], last word in lower case ''
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
from spacy.tokens import DocBin
from spacy.vocab import Vocab

nlp = spacy.blank("en")
stored = DocBin(docs=[nlp("Gave 5 mg\nof Aspirin")]).to_bytes()
seen = {}
for name, vocab in (("spacy.blank('en').vocab", nlp.vocab), ("Vocab()", Vocab())):
    [doc] = DocBin().from_bytes(stored).get_docs(vocab)
    seen[name] = (
        [t.text for t in doc if t.is_space],
        [t.text for t in doc if t.like_num],
        doc[-1].lower_,
    )
    print(name, [t.text for t in doc])
    print("  white space {0!r}, figures {1!r}, last word in lower case {2!r}".format(*seen[name]))
if seen["spacy.blank('en').vocab"] != (["\n"], ["5"], "aspirin"):
    sys.exit("changed: the attributes are wrong with a language's vocabulary")
if seen["Vocab()"] != ([], [], ""):
    sys.exit("changed: a bare Vocab has some of the attributes")
PY
