#!/usr/bin/env bash
# openvino 2026.4.1: importing it for inference reports to a web analytics service, unasked.
#
# Expected: `import openvino` loads a library. Nothing leaves the machine, or the user is asked
# before.
#
# Behaviour: the wheel depends on openvino-telemetry. With that installed, the import writes a
# client id and usage counts to the folder `intel` of the home directory, and starts a child process
# that posts an event to www.google-analytics.com. No question is asked and nothing is printed. It
# is silent without a network too; the import waits for the child, three seconds at most. A test that
# forbids the process itself its sockets does not see it. Without the package openvino-telemetry
# the import does neither, and the engine works.
#
# Output seen:
#
#     as installed: 1 report to www.google-analytics.com, files: openvino_ga_cid stats
#     without openvino-telemetry: 0 reports, files: none; sum of a model: 3.0
#
# Exit status: 0 if the behaviour is still as described, otherwise not 0, with a line that says
# what changed. The script lets no report leave: it stops the child process before it starts.
set -euo pipefail
unset PYTHONPATH CI
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3.11 -m venv venv
venv/bin/pip install -qq --disable-pip-version-check openvino==2026.4.1 numpy==2.4.6
cat > imported.py <<'PY'
import multiprocessing
from pathlib import Path
from urllib.parse import urlparse

hosts = []


class Process(multiprocessing.Process):
    """A child that is noted and not started."""

    def start(self):
        (request,) = self._args
        hosts.append(urlparse(request.full_url).hostname)

    def join(self, timeout=None):
        pass

    def is_alive(self):
        return False


multiprocessing.Process = Process
import numpy as np
import openvino as ov

files = sorted(path.name for path in (Path.home() / "intel").glob("*"))
if hosts or files:
    to = f" to {hosts[0]}" if hosts else ""
    print(f"{len(hosts)} report{'' if len(hosts) == 1 else 's'}{to}, files: {' '.join(files)}")
else:
    x = ov.opset13.parameter([2], np.float32)
    model = ov.Model([ov.opset13.reduce_sum(x, np.array([0]))], [x])
    (result,) = ov.compile_model(model, "CPU")([np.array([1, 2], np.float32)]).values()
    print(f"0 reports, files: none; sum of a model: {float(result):.1f}")
PY
mkdir home
installed=$(HOME="$work/home" venv/bin/python imported.py)
echo "as installed: $installed"
venv/bin/pip uninstall -qq -y openvino-telemetry
rm -r home && mkdir home
without=$(HOME="$work/home" venv/bin/python imported.py)
echo "without openvino-telemetry: $without"
[ "$installed" = "1 report to www.google-analytics.com, files: openvino_ga_cid stats" ] ||
    { echo "changed: the import reports otherwise, or not at all"; exit 1; }
[ "$without" = "0 reports, files: none; sum of a model: 3.0" ] ||
    { echo "changed: without the package it reports, or the engine does not work"; exit 1; }
