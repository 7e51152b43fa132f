"""A process that reads notes, and prints what that took.

    python bench/spent.py MODEL NOTES.json [TIMES]

It reads the notes TIMES times (2) and prints, as JSON, the seconds that `nlp.pipe` took in the
median of all but the first; the same without the passes of the encoder, where that is a torch
module; and the peak of the memory of the process in MiB. It imports nothing of this project by
name, so that the Python of another build can run it. As many threads are used as OMP_NUM_THREADS
says.
"""

import json
import statistics
import sys
import time
from pathlib import Path

STATUS = Path("/proc/self/status")


def main(model: str, notes: str, times: str = "2") -> None:
    """Read the notes some times, and print what that took."""
    import spacy

    nlp = spacy.load(model)
    texts = json.loads(Path(notes).read_text(encoding="utf-8"))
    passes: list[float] = []
    encoder = getattr(nlp.get_pipe("transformer").model, "transformer", None)
    if encoder is not None:
        encoder.register_forward_pre_hook(lambda *_: passes.append(-time.perf_counter()))
        encoder.register_forward_hook(lambda *_: passes.append(time.perf_counter()))
    seconds, around = [], []
    for _ in range(int(times)):
        passes.clear()
        begin = time.perf_counter()
        for _ in nlp.pipe(texts):
            pass
        seconds.append(time.perf_counter() - begin)
        around.append(seconds[-1] - sum(passes))
    warm = slice(1, None) if len(seconds) > 1 else slice(None)
    found = {
        "seconds": statistics.median(seconds[warm]),
        "around": statistics.median(around[warm]),
    }
    if STATUS.exists():
        lines = STATUS.read_text(encoding="ascii").splitlines()
        found["peak_mib"] = next(int(line.split()[1]) for line in lines if "VmHWM" in line) / 1024
    print(json.dumps(found))  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:])
