#!/usr/bin/env bash
# thinc 8.3.14, confection 1.3.4: a key of a config block that holds ':' or '=' is saved as another
# key with another value, and one that begins with '#' is lost, with no error and no warning.
#
# Expected: a dict that a config takes comes back from `to_str` and `from_str` as it was, or is
# refused. Values are JSON, so they are quoted; keys look as if they were.
#
# Behaviour: keys are written as they are into the format of configparser, which splits a line at
# the first ':' or '=' and takes '#' for a comment. A setting by entity type, such as a threshold
# each, meets it with types such as "T047: Disease". In spaCy that is `config.cfg` of a saved
# pipeline, which loads, with the setting of a type "T047" that there is not.
#
# Output seen:
#
#     {'T047: Disease': 0.5} -> {'T047': 'Disease = 0.5'}
#     {'a=b': 0.5} -> {'a': 'b = 0.5'}
#     {'#1': 0.5} -> {}
#     {'Sign symptom': 0.5} -> {'Sign symptom': 0.5}
#
# Exit status: 0 if the behaviour is still as described, otherwise not 0, with a line that says
# what changed.
set -euo pipefail
unset PYTHONPATH
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3.11 -m venv venv
venv/bin/pip install -qq --disable-pip-version-check thinc==8.3.14 confection==1.3.4
OMP_NUM_THREADS=1 venv/bin/python - <<'PY'
import sys

from thinc.api import Config

expected = {
    "T047: Disease": {"T047": "Disease = 0.5"},
    "a=b": {"a": "b = 0.5"},
    "#1": {},
    "Sign symptom": {"Sign symptom": 0.5},
}
for key, seen in expected.items():
    kept = Config().from_str(Config({"limits": {key: 0.5}}).to_str())["limits"]
    print(f"{ {key: 0.5} } -> {dict(kept)}")
    if kept != seen:
        sys.exit(f"changed: {key!r} comes back as {dict(kept)}")
PY
