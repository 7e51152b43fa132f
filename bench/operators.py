"""Where the time of a training step goes, in float32 and in mixed precision."""

import re
import time
from collections import defaultdict
from functools import partial
from typing import Any

from torch.profiler import ProfilerActivity, profile

from bench.material import Setup
from bench.training import WORDS, Batch, Trainer, batches

NAME = "train_operators"
REPEATS = 3
# The first pattern that is found in an operator's name says what it counts as.
KINDS = {
    "matrix products": r"(mm|linear|matmul)($|_)|mkldnn",
    "attention": "scaled_dot_product",
    "copies and conversions": r"::(copy_|_to_copy|clone|contiguous|cat)$",
    "other operators": "",
}
OPTIMIZER = "optimizer"
REST = "windows, alignment, the loss, Python"


def measure(setup: Setup) -> list[dict[str, Any]]:
    """Milliseconds of a step by what they are spent on; steps as of `train_fp32_over_fast`."""
    key = "components.transformer.model.mixed_precision"
    spent = {}
    for name, mixed in (("float32", False), ("mixed", True)):
        nlp = setup.untrained(setup.minilm, **{key: mixed})
        trainer = Trainer(nlp)
        found = batches(setup, nlp, WORDS)
        for batch in found:
            trainer.step(batch)
        runs = [_profiled(trainer, batch) for _ in range(REPEATS) for batch in found]
        spent[name] = {part: sum(run[part] for run in runs) / len(runs) for part in runs[0]}
    return [
        {"part": part, **{name: round(1000 * parts[part], 1) for name, parts in spent.items()}}
        for part in (*KINDS, OPTIMIZER, REST)
    ]


def _profiled(trainer: Trainer, batch: Batch) -> dict[str, float]:
    """Seconds of one step."""
    spent: dict[str, float] = defaultdict(float, dict.fromkeys(KINDS, 0.0))
    begin = time.perf_counter()
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        trainer.forward(batch)
        spent[REST] = time.perf_counter() - begin
        middle = time.perf_counter()
        trainer.optimize()
        spent[OPTIMIZER] = time.perf_counter() - middle
    for event in profiled.key_averages():
        kind = next(filter(partial(_is, event.key), KINDS))
        spent[kind] += event.self_cpu_time_total / 1e6
    spent[REST] -= sum(spent[kind] for kind in KINDS)
    return dict(spent)


def _is(operator: str, kind: str) -> bool:
    return re.search(KINDS[kind], operator) is not None
