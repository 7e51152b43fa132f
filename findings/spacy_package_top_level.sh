#!/usr/bin/env bash
# spaCy 3.8.18: `spacy package` overlooks the library of a pipe if its wheel has no top_level.txt.
#
# Expected: the wheel of a pipeline requires the libraries whose pipes it has, so that `pip install`
# brings them. `spacy package` looks for them for that purpose.
#
# Behaviour: spaCy looks a pipe's module up in a table of its own, which it makes from the file
# top_level.txt of each installed distribution. setuptools writes that file. Hatchling, with which
# this library is built, does not, so the library is not in the table. Its pipe is left out of the
# requirements without a word: the wheel installs anywhere, and cannot be loaded there. Python's own
# table has the library.
#
# Output seen:
#
#     the pipe's module: negspacy.negation
#     Python's table: ['negspacy']
#     spaCy's table: None
#     the wheel requires: ['spacy']
#
# Exit status: 0 if the behaviour is still as described, otherwise not 0, with a line that says
# what changed.
set -euo pipefail
unset PYTHONPATH
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3.11 -m venv venv
venv/bin/pip install -qq --disable-pip-version-check spacy==3.8.18 negspacy==1.1.0 \
    build==1.5.1 setuptools==83.0.0 wheel==0.47.0
venv/bin/python - <<'PY'
import re
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path
from zipfile import ZipFile

import negspacy.negation  # noqa: F401 - registers the pipe
import spacy
from spacy import util

nlp = spacy.blank("en")
nlp.add_pipe("sentencizer")
nlp.add_pipe("negex", config={"ent_types": ["SIGN"]})
nlp.meta["name"] = "notes"
nlp.to_disk("saved")
module = util.registry.find("factories", "negex")["module"]
ours, theirs = packages_distributions().get("negspacy"), util.packages_distributions().get("negspacy")
print("the pipe's module:", module)
print("Python's table:", ours)
print("spaCy's table:", theirs)

Path("code.py").write_text("import negspacy.negation\n")
Path("packages").mkdir()
command = [sys.executable, "-m", "spacy", "package", "saved", "packages", "--build", "wheel"]
subprocess.run([*command, "--code", "code.py"], check=True, capture_output=True)
(path,) = Path("packages").glob("*/dist/*.whl")
with ZipFile(path) as archive:
    (metadata,) = (name for name in archive.namelist() if name.endswith("METADATA"))
    text = archive.read(metadata).decode()
required = re.findall(r"^Requires-Dist: ([\w-]+)", text, re.MULTILINE)
print("the wheel requires:", required)

assert module == "negspacy.negation", "changed: the module of the pipe"
assert ours == ["negspacy"], "changed: Python's table"
assert theirs is None, "changed: spaCy's table"
assert required == ["spacy"], "changed: what the wheel requires"
PY
