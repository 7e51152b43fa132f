"""Run `spacy train` in a process of its own."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

# The training that this process waits for; it must end with this process.
RUNNING: list[subprocess.Popen[bytes]] = []


def spacy_train(
    config: Path,
    output: Path,
    log: Path,
    *,
    paths: Mapping[str, Path],
    gpu: int = -1,
    threads: int | None = None,
) -> tuple[bool, int]:
    """Run `spacy train`, and wait for it.

    output (Path): The folder of its pipelines, `model-last` among them.
    log (Path): The file for what it prints.
    paths (Mapping[str, Path]): Replacements for `paths` of the config, as "train".
    gpu (int): As for `spacy train`; -1 is the CPU.
    threads (Optional[int]): CPU threads.
    RETURNS (Tuple[bool, int]): Whether it succeeded, and its peak memory in MiB; 0 on Windows,
        which does not report it.
    """
    command = [sys.executable, "-m", "spacy", "train", str(config)]
    command += ["--output", str(output), "--gpu-id", str(gpu)]
    command += [word for name, path in paths.items() for word in (f"--paths.{name}", str(path))]
    environment = {**os.environ, **({"OMP_NUM_THREADS": str(threads)} if threads else {})}
    with log.open("wb") as stream:
        process = subprocess.Popen(command, stdout=stream, stderr=stream, env=environment)
        RUNNING[:] = [process]
        try:
            peak = _wait(process)
        except BaseException:  # an interrupt, of this process alone
            process.kill()
            raise
        finally:
            RUNNING.clear()
    return process.returncode == 0, peak


def _wait(process: subprocess.Popen[bytes]) -> int:
    """Wait for the end of a process. RETURNS (int): Its peak memory in MiB, or 0."""
    if not hasattr(os, "wait4"):
        process.wait()
        return 0
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return round(usage.ru_maxrss / (1024**2 if sys.platform == "darwin" else 1024))
