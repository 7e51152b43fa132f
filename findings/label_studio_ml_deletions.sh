#!/usr/bin/env bash
# label-studio-ml 1.0.9 beside label-studio 1.23.2: a backend never learns of deleted annotations.
#
# Expected: the backend's list of events that train it, TRAIN_EVENTS, names events as Label Studio
# sends them, so that `fit` is called after an annotation is deleted as it is after one is made.
#
# Behaviour: the list has ANNOTATION_DELETED; Label Studio sends ANNOTATIONS_DELETED, and knows no
# event of the other name. So the event is taken, answered and ignored: a backend that keeps the
# annotations that it was sent goes on training on those that were deleted. Several annotations
# that are made at once come as ANNOTATIONS_CREATED, which is not in the list either. The two
# classes agree on the names of the other events.
#
# Output seen:
#
#     in the list, and never sent: ['ANNOTATION_DELETED']
#     sent of annotations, and no training: ['ANNOTATIONS_CREATED', 'ANNOTATIONS_DELETED']
#
# Exit status: 0 if the behaviour is still as described, otherwise not 0, with a line that says
# what changed.
set -euo pipefail
unset PYTHONPATH
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3.11 -m venv venv
# Of Label Studio one file is read, which names the events: its dependencies are not needed, and
# pip's remarks that they are missing are no errors.
venv/bin/pip install -qq --disable-pip-version-check --no-deps label-studio==1.23.2
venv/bin/pip install -qq --disable-pip-version-check --no-deps label-studio-ml==1.0.9
venv/bin/pip install -qq --disable-pip-version-check redis==5.0.8 rq==1.16.2 colorama==0.4.6 \
  attrs==24.2.0 Pillow==10.4.0 lxml==5.3.0 requests==2.32.3 label-studio-tools==0.0.4 2> pip.log
venv/bin/python -W ignore - <<'PY'
import ast
import sys
from importlib.util import find_spec
from pathlib import Path

from label_studio_ml.model import LabelStudioMLBase

source = Path(find_spec("label_studio").origin).parent / "webhooks" / "models.py"
(actions,) = (
    node
    for node in ast.parse(source.read_text("utf-8")).body
    if isinstance(node, ast.ClassDef) and node.name == "WebhookAction"
)
sent = {
    node.value.value
    for node in actions.body
    if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
}


class Backend(LabelStudioMLBase):
    def predict(self, tasks, **kwargs):
        return []

    def fit(self, tasks, event=None, **kwargs):
        return {"trained after": event}


backend = Backend()
unknown = sorted(set(Backend.TRAIN_EVENTS) - sent)
ignored = sorted(
    event
    for event in sent
    if event.startswith("ANNOTATION") and not backend.process_event(event, {}, "1", {})
)
print(f"in the list, and never sent: {unknown}")
print(f"sent of annotations, and no training: {ignored}")
if "ANNOTATION_DELETED" not in unknown:
    sys.exit("changed: the list has no such name, or Label Studio sends it")
if "ANNOTATIONS_DELETED" not in ignored:
    sys.exit("changed: a deletion starts a training")
PY
