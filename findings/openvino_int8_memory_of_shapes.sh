#!/usr/bin/env bash
# openvino 2026.4.1 with nncf 3.4.0: an int8 network of dynamic shape keeps megabytes for every shape.
#
# Expected: a network whose batch and length are dynamic takes inputs of many shapes, and its memory
# settles after a few of them, as that of the same network in float32 nearly does. int8 is chosen to
# take less memory.
#
# Behaviour: what the CPU plugin prepared for a shape is kept for up to 5,000 of them, layer by layer
# (`CPU_RUNTIME_CACHE_CAPACITY`). For the products of a network quantized by `nncf.quantize` that is
# some ten times as much as in float32: 12 layers of 384 x 384, 1.7 MiB of int8 weights, take more
# than a gigabyte after 600 shapes. Nothing says so. `compile_model` with the capacity set to 16
# stops it.
#
# Output seen (the megabytes vary by some):
#
#     MiB that 600 shapes leave behind
#     float32: 138
#     int8: 1291
#     int8, capacity 16: 252
#
# Exit status: 0 if the behaviour is still as described, otherwise not 0, with a line that says
# what changed.
set -euo pipefail
unset PYTHONPATH CI
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3.11 -m venv venv
venv/bin/pip install -qq --disable-pip-version-check openvino==2026.4.1 nncf==3.4.0 numpy==2.4.6
cat > shapes.py <<'PY'
import sys

sys.modules["openvino_telemetry"] = None  # importing openvino would send a report
import nncf
import numpy as np
import openvino as ov
from openvino import opset13 as ops

nncf.set_log_level(40)
WIDTH, LAYERS = 384, 12


def made():
    rng = np.random.default_rng(0)
    x = first = ops.parameter([-1, -1, WIDTH], np.float32)
    for _ in range(LAYERS):
        weights = ops.constant((rng.normal(size=(WIDTH, WIDTH)) / 20).astype("float32"))
        x = ops.tanh(ops.matmul(x, weights, False, False))
    return ov.Model([x], [first])


def quantized(model):
    data = np.random.default_rng(1).normal(size=(1, 20, WIDTH)).astype("float32")
    return nncf.quantize(model, nncf.Dataset([data] * 4), model_type=nncf.ModelType.TRANSFORMER)


def resident():
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


def grown(model, **settings):
    """MiB that 600 inputs of different shapes leave behind."""
    settings = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, **settings}
    request = ov.Core().compile_model(model, "CPU", settings).create_infer_request()
    shapes = [(rows, width) for rows in range(1, 21) for width in range(1, 31)]
    request.infer([np.ones((20, 30, WIDTH), "float32")])
    before = resident()
    for shape in shapes:
        request.infer([np.ones((*shape, WIDTH), "float32")])
    return round(resident() - before)


if __name__ == "__main__":
    model = made() if sys.argv[1] == "float32" else quantized(made())
    settings = {"CPU_RUNTIME_CACHE_CAPACITY": int(sys.argv[2])} if len(sys.argv) > 2 else {}
    print(grown(model, **settings))
PY

grown() { venv/bin/python -W ignore shapes.py "$@" 2>/dev/null | tail -1; }
float32=$(grown float32)
int8=$(grown int8)
bounded=$(grown int8 16)
echo "MiB that 600 shapes leave behind"
echo "float32: $float32"
echo "int8: $int8"
echo "int8, capacity 16: $bounded"
[ "$int8" -gt $((4 * float32)) ] || { echo "changed: int8 keeps little more than float32"; exit 1; }
[ "$int8" -gt $((2 * bounded)) ] || { echo "changed: the capacity bounds nothing"; exit 1; }
