"""Processes: how long a fresh one takes until it has a pipeline, and two that read notes.

    python -m bench load_over_imports pipe_two_processes

Two processes that read are compared with one of two threads. Threads are set when a process begins,
so each side has a process of its own (this module, as a command) that times `nlp.pipe` alone, the
start of its workers included.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from bench.material import Setup, with_repeats
from bench.pipelines import read_by, run, words_of
from bench.ratios import Case, Ratio, figures, in_turn, pairwise

PROCESSES = 2
READ_TIMES = 4  # each note, so that starting the workers is a small part of the time
REPEATS = 3
IMPORTS = "import torch, transformers, spacy"
# transformers imports its parts when they are first asked for: these are the least that any
# pipeline with a BERT of spacy-transformers asks for.
PARTS = f"{IMPORTS}, spacy_transformers\nfrom transformers import AutoTokenizer, BertModel"


def load_over_imports(setup: Setup) -> Ratio:
    """`spacy.load` in a process, and a process that imports the libraries and ends."""
    gpu = f"\nspacy.require_gpu({setup.gpu_id})" if setup.gpu_id >= 0 else ""
    load = f"{IMPORTS}{gpu}\nspacy.load({str(setup.model_path.resolve())!r})"
    cases = {"load": process(load), "imports": process(IMPORTS), "parts": process(PARTS)}
    taken = in_turn(cases, setup.repeats)
    sides = {"spacy.load": "load", IMPORTS: "imports", "the same and spacy-transformers": "parts"}
    return Ratio(
        pairwise(taken["load"], taken["imports"]),
        f"MiniLM pipeline from a folder; a fresh process each time, `{IMPORTS}` in both",
        {side: figures(taken[name]) for side, name in sides.items()},
    )


def process(code: str, python: Path = Path(sys.executable)) -> Case:
    """Run code in a fresh process of a Python, which imports what it has, and nothing from here."""
    return lambda: subprocess.run([str(python), "-P", "-c", code], check=True)


def two_processes(setup: Setup) -> Ratio:
    """Words a second: two processes of one thread over one process of two threads."""
    setup = with_repeats(setup, REPEATS)
    notes = setup.work / "notes.json"
    texts = setup.texts * READ_TIMES
    notes.write_text(json.dumps(texts), encoding="utf-8")

    def seconds(processes: int, threads: int) -> float:
        numbers = (str(processes), str(threads))
        command = [sys.executable, "-m", "bench.processes", str(setup.model_path), str(notes)]
        done = subprocess.run([*command, *numbers], stdout=subprocess.PIPE, check=True)
        return float(done.stdout)

    pairs = [(seconds(1, PROCESSES), seconds(PROCESSES, 1)) for _ in range(setup.repeats)]
    one, two = zip(*pairs, strict=True)
    words = words_of(texts)
    return Ratio(
        [a / b for a, b in pairs],
        read_by(setup.trained(), texts),
        {
            f"one process, {PROCESSES} threads": figures(one, words),
            f"{PROCESSES} processes, a thread each": figures(two, words),
        },
    )


def main(model: str, notes: str, processes: str, threads: str) -> None:
    """Print the seconds of `nlp.pipe`."""
    import spacy
    import torch

    torch.set_num_threads(int(threads))
    nlp = spacy.load(model)
    texts = json.loads(Path(notes).read_text(encoding="utf-8"))
    if int(threads) > 1:
        run(nlp, texts[:1])  # not before a fork, which can hang after torch has used threads
    begin = time.perf_counter()
    run(nlp, texts, n_process=int(processes))
    print(time.perf_counter() - begin)  # noqa: T201


RATIOS: dict[str, Callable[[Setup], Ratio]] = {
    "load_over_imports": load_over_imports,
    "pipe_two_processes": two_processes,
}

if __name__ == "__main__":
    main(*sys.argv[1:])
