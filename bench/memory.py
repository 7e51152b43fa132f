"""What a stream of notes leaves behind: the peak of a process that annotates and forgets them.

    python -m bench memory_growth

Each count of notes has a process of its own (this module, as a command). torch keeps what it
prepared for each shape of a batch, up to a thousand of them; here it keeps a few, as in
bench/soak.py, so that what grows is ours. Without that bound is reported beside it.
"""

import json
import os
import random
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from spacy.tokens import Doc

from bench.material import Setup
from bench.ratios import Ratio, UnavailableError

FEW = 1_000
FEW_SHAPES = {"ONEDNN_PRIMITIVE_CACHE_CAPACITY": "16", "LRU_CACHE_CAPACITY": "16"}
FITTED = 5  # notes: the store's size is not the question here
STATUS = Path("/proc/self/status")


def growth(setup: Setup) -> Ratio:
    """Peak memory after many notes over that after a thousand."""
    if not STATUS.exists():
        raise UnavailableError("the peak of a process's memory: it is read from /proc, on Linux")
    model, clauses = setup.work / "tiny-model", setup.work / "clauses.json"
    setup.calibrated(setup.tiny, fitted_to=FITTED, rows=0).to_disk(model)
    clauses.write_text(json.dumps(clauses_of(setup.docs)), encoding="utf-8")

    def peak(count: int, **variables: str) -> float:
        command = [
            sys.executable,
            "-m",
            "bench.memory",
            *map(str, (model, clauses, count, setup.gpu_id)),
        ]
        environment = {**os.environ, **variables}
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
        return int(done.stdout) / 1024

    few, many = peak(FEW, **FEW_SHAPES), peak(setup.stream, **FEW_SHAPES)
    unbounded = {count: peak(count) for count in (FEW, setup.stream)}
    sides = {
        f"{FEW:,} notes": {"peak_mib": few, "unbounded_peak_mib": unbounded[FEW]},
        f"{setup.stream:,} notes": {
            "peak_mib": many,
            "unbounded_peak_mib": unbounded[setup.stream],
        },
    }
    return Ratio(
        [many / few],
        f"tiny encoder, {setup.stream:,} notes of one to three clauses; torch keeps what it "
        "prepared for 16 shapes (unbounded: for 1,024)",
        {side: {key: round(value, 1) for key, value in row.items()} for side, row in sides.items()},
    )


def clauses_of(docs: Sequence[Doc]) -> list[str]:
    """The clauses of notes."""
    return [part for doc in docs for part in re.split(r"[.,;:]\s", doc.text)]


def notes(clauses: list[str], count: int) -> Iterator[str]:
    """Short notes of real clauses."""
    choice = random.Random(0)
    for _ in range(count):
        yield ", ".join(choice.choices(clauses, k=choice.randint(1, 3)))


def main(model: str, clauses: str, count: str, gpu_id: str) -> None:
    """Stream the notes through the pipeline and print the peak in kB."""
    import spacy

    if int(gpu_id) >= 0:
        spacy.require_gpu(int(gpu_id))
    nlp = spacy.load(model)
    texts = json.loads(Path(clauses).read_text(encoding="utf-8"))
    for _ in nlp.pipe(notes(texts, int(count))):
        pass
    lines = STATUS.read_text(encoding="ascii").splitlines()
    print(next(int(line.split()[1]) for line in lines if "VmHWM" in line))  # noqa: T201


RATIOS: dict[str, Callable[..., Ratio]] = {"memory_growth": growth}

if __name__ == "__main__":
    main(*sys.argv[1:])
