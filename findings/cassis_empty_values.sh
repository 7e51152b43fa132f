#!/usr/bin/env bash
# dkpro-cassis 0.12.0: of a feature with several values, XMI loses an empty value, JSON an empty list.
#
# Expected: a CAS that is saved and loaded has the values that it had, whichever format it was
# saved in: those of a multi-value feature (a StringArray, as INCEpTION has them) are strings, and
# there may be none.
#
# Behaviour: each format changes another value. From XMI "" among others comes back as None; from
# JSON an array without elements comes back with `elements` None, so that a loop over it raises a
# TypeError. The other format keeps it in both cases. No warning.
#
# Output seen:
#
#     XMI:  ['mild', None, 'late'] and []
#     JSON: ['mild', '', 'late'] and None
#
# Exit status: 0 if the behaviour is still as described, otherwise not 0, with a line that says
# what changed.
set -euo pipefail
unset PYTHONPATH
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3.11 -m venv venv
venv/bin/pip install -qq --disable-pip-version-check dkpro-cassis==0.12.0
venv/bin/python -W ignore - <<'PY'
import sys

from cassis import Cas, TypeSystem, load_cas_from_json, load_cas_from_xmi

types = TypeSystem()
mention = types.create_type("custom.Mention", supertypeName="uima.tcas.Annotation")
types.create_feature(mention, "qualities", "uima.cas.StringArray")
array = types.get_type("uima.cas.StringArray")
cas = Cas(types)
cas.sofa_string = "Fever and cough."
cas.add(mention(begin=0, end=5, qualities=array(elements=["mild", "", "late"])))
cas.add(mention(begin=10, end=15, qualities=array(elements=[])))
loaded = {
    "XMI": load_cas_from_xmi(cas.to_xmi(), types),
    "JSON": load_cas_from_json(cas.to_json()),
}
found = {}
for name, again in loaded.items():
    found[name] = [one.qualities.elements for one in again.select("custom.Mention")]
    print(f"{name + ':':5}", *found[name][:1], "and", found[name][1])
if found["XMI"][0] != ["mild", None, "late"]:
    sys.exit("changed: XMI keeps an empty value")
if found["JSON"][1] is not None:
    sys.exit("changed: JSON keeps an empty array")
if found["XMI"][1] != [] or found["JSON"][0] != ["mild", "", "late"]:
    sys.exit("changed: the other format loses it, too")
PY
