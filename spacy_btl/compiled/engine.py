"""The inference engine, OpenVINO: a network as bytes, and how it is run."""

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from threading import Lock
from types import ModuleType
from typing import Any, Literal, get_args
from weakref import WeakSet

import numpy as np
from numpy.typing import NDArray

from spacy_btl.about import how_to_install
from spacy_btl.errors import PipelineError

Precision = Literal["int8", "int8-weights", "bf16", "fp32"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
# What the engine computes in, save the products of an int8 network.
ARITHMETIC: Mapping[Precision, str] = {
    "int8": "bf16",
    "int8-weights": "bf16",
    "bf16": "bf16",
    "fp32": "f32",
}
# Wordpieces, int64 [W, L]; their mask, float32; token types, int64, if the encoder reads them.
Inputs = Mapping[str, NDArray[Any]]
TELEMETRY = "openvino_telemetry"
# What the engine prepared for shapes of inputs, and keeps, is at most for so many. It would keep
# 5,000, by which an encoder in int8 takes twice the memory after 2,000 short notes.
PREPARED = 64
# What the wheel of a compiled pipeline asks for, as the extra `runtime` does.
REQUIREMENT = "openvino>=2026.4"


def load_library(name: str, extra: str) -> ModuleType:
    """Import the engine, or what belongs to it, without its telemetry.

    `import openvino` sends a report over the network, if there is one, unless the package that
    sends it cannot be imported.

    extra (str): The extra that installs it.
    RAISES: PipelineError, if it is not installed.
    """
    try:
        with _without_telemetry():
            return import_module(name)
    except ImportError as error:
        raise PipelineError(
            f"The package {name} is not installed, or cannot be loaded here "
            f"({type(error).__name__}): install it {how_to_install(extra)}."
        ) from error


@contextmanager
def _without_telemetry() -> Iterator[None]:
    missing = object()
    before: Any = sys.modules.get(TELEMETRY, missing)
    sys.modules[TELEMETRY] = None  # type: ignore[assignment]  # an import of it then fails
    try:
        yield
    finally:
        del sys.modules[TELEMETRY]
        if before is not missing:
            sys.modules[TELEMETRY] = before


def make_inputs(
    ids: NDArray[np.int64], mask: NDArray[np.float32], types: NDArray[np.int64] | None
) -> Inputs:
    """The inputs of a network, each [W, L]; token types for encoders that read them."""
    inputs: dict[str, NDArray[Any]] = {"input_ids": ids, "attention_mask": mask}
    return inputs if types is None else {**inputs, "token_type_ids": types}


def threads() -> int:
    """How many threads the engine uses: OMP_NUM_THREADS, else the processors that this process may
    use."""
    asked = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    if asked.isdecimal() and int(asked) > 0:
        return int(asked)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


# All that there are. The engine's threads do not survive a fork, and a child that finds it without
# them is killed: so each network lets go of it for the time of a fork.
NETWORKS: "WeakSet[Network]" = WeakSet()
PAUSED: "list[Network]" = []
FORKING = Lock()  # threads may fork at once


def _before_fork() -> None:
    FORKING.acquire()
    for network in list(NETWORKS):
        network.pause()
        PAUSED.append(network)


def _after_fork() -> None:
    while PAUSED:
        PAUSED.pop().resume()
    FORKING.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork
    )


class Network:
    """An encoder in OpenVINO's intermediate representation.

    It is compiled for the processor at its first run.

    graph (bytes): The XML.
    weights (bytearray): What the graph refers to. The engine reads it in place.
    width (int): That of its vectors, D.
    RAISES: ValueError, for a precision that is none.
    """

    def __init__(self, graph: bytes, weights: bytearray, precision: Precision, width: int) -> None:
        if precision not in PRECISIONS:
            raise ValueError(f"no precision: {precision}")
        self.graph, self.weights, self.precision, self.width = graph, weights, precision, width
        self._lock = Lock()
        self._request: Any = None
        NETWORKS.add(self)

    def run(self, inputs: Inputs) -> NDArray[np.float32]:
        """Run one forward pass: float32 [W, L, D]."""
        with self._lock:  # the engine divides the work of a pass among threads
            if self._request is None:
                self._request = self._compile()
            (hidden,) = self._request.infer(inputs, share_inputs=True).values()
        return hidden

    def pause(self) -> None:
        """Wait for the running pass, and let go of the engine, until `resume`."""
        self._lock.acquire()
        self._request = None

    def resume(self) -> None:
        """Compile it again when it is next run."""
        self._lock.release()

    def _compile(self) -> Any:
        openvino = load_library("openvino", "runtime")
        settings = {
            "INFERENCE_PRECISION_HINT": ARITHMETIC[self.precision],
            "INFERENCE_NUM_THREADS": threads(),
            "NUM_STREAMS": 1,
            "PERFORMANCE_HINT": "LATENCY",
            # Processes that run side by side would all be bound to the same processors.
            "ENABLE_CPU_PINNING": False,
            "CPU_RUNTIME_CACHE_CAPACITY": PREPARED,
        }
        core = openvino.Core()
        weights = openvino.Tensor(np.frombuffer(self.weights, dtype="uint8"), shared_memory=True)
        model = core.read_model(self.graph, weights)
        return core.compile_model(model, "CPU", settings).create_infer_request()

    def __getstate__(self) -> dict[str, Any]:
        names = ("graph", "weights", "precision", "width")
        return {name: getattr(self, name) for name in names}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]
