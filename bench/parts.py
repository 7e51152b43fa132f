"""Where the time of `nlp.pipe` goes: pipe by pipe, and how much of it is the bare encoder."""

import json
import os
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from spacy.language import Language
from spacy.tokens import Doc
from spacy.util import minibatch

from bench.material import Setup, with_repeats
from bench.pipelines import encoder_of, read_by, run, store_of, words_of
from bench.ratios import Ratio, UnavailableError, figures, finish_cuda, pairwise

NAME = "pipe_parts"
ENCODER = "transformer: forward passes"
AROUND = "transformer: windows, wordpieces, alignment"
# The Python of an environment that has an earlier build, to compare with.
BEFORE = "BENCH_BEFORE"
# The same pipeline in a form that it reads, where it does not read that of today.
BEFORE_MODEL = "BENCH_BEFORE_MODEL"
PROCESSES = 5  # of each of the two builds


def measure(setup: Setup) -> list[dict[str, Any]]:
    """Milliseconds of each part over the notes, the median of several runs; and its share."""
    nlp = setup.pipeline()
    runs = [_run(nlp, setup.texts) for _ in range(1 + setup.repeats)][1:]
    order = ["tokenizer", ENCODER, AROUND, *runs[0]]
    ms = {part: 1000 * statistics.median(run[part] for run in runs) for part in order}
    whole = sum(ms.values())
    return [{"part": part, "ms": round(ms[part], 1), "share": ms[part] / whole} for part in ms]


def _run(nlp: Language, texts: Sequence[str]) -> dict[str, float]:
    """Seconds of each part. Batch by batch as in `nlp.pipe`, so that a batch is dropped whole."""
    spent: dict[str, float] = defaultdict(float)
    with _forward_passes(nlp, spent):
        for batch in minibatch(texts, nlp.batch_size):
            docs: list[Doc] = []
            with _added(spent, "tokenizer"):
                docs = [nlp.make_doc(text) for text in batch]
            for name, pipe in nlp.pipeline:
                with _added(spent, name):
                    docs = list(pipe.pipe(docs)) if hasattr(pipe, "pipe") else list(map(pipe, docs))
    spent[AROUND] = spent.pop("transformer") - spent[ENCODER]
    return dict(spent)


@contextmanager
def _added(spent: dict[str, float], part: str) -> Iterator[None]:
    begin = time.perf_counter()
    yield
    finish_cuda()
    spent[part] += time.perf_counter() - begin


@contextmanager
def _forward_passes(nlp: Language, spent: dict[str, float]) -> Iterator[None]:
    """Count the time inside of the encoder's own module."""
    encoder = encoder_of(nlp)
    begun: list[float] = []

    def after(*_: object) -> None:
        finish_cuda()
        spent[ENCODER] += time.perf_counter() - begun.pop()

    hooks = [
        encoder.register_forward_pre_hook(lambda *_: begun.append(time.perf_counter())),
        encoder.register_forward_hook(after),
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def around_encoder(setup: Setup) -> Ratio:
    """Everything but the encoder's passes: an earlier build over this one, in processes in turn."""
    if BEFORE not in os.environ:
        raise UnavailableError(f"no earlier build: set {BEFORE} to the Python that has one")
    setup = with_repeats(setup, PROCESSES)
    notes = setup.work / "around.json"
    notes.write_text(json.dumps(setup.texts), encoding="utf-8")

    def seconds(python: str, model: Path) -> float:
        return spent(Path(python), model, notes)["around"]

    before_model = Path(os.environ.get(BEFORE_MODEL, setup.model_path))
    pairs = [
        (seconds(os.environ[BEFORE], before_model), seconds(sys.executable, setup.model_path))
        for _ in range(setup.repeats)
    ]
    before, now = zip(*pairs, strict=True)
    words = words_of(setup.texts)
    nlp = setup.trained()
    per_1000 = [
        f"{build}: {1e6 * statistics.median(taken) / words:,.0f} ms per 1,000 words"
        for build, taken in (("before", before), ("now", now))
    ]
    return Ratio(
        pairwise(before, now),
        f"{read_by(nlp, setup.texts)}, {store_of(nlp)}; {', '.join(per_1000)}",
        {"before": figures(before, words), "now": figures(now, words)},
    )


def spent(python: Path, model: Path, notes: Path, times: int = 2) -> dict[str, float]:
    """What a fresh process of a Python takes to read notes: see bench/spent.py."""
    script = Path(__file__).with_name("spent.py").resolve()
    command = [str(python), str(script), str(model.resolve()), str(notes), str(times)]
    away = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        command, stdout=subprocess.PIPE, check=True, cwd=notes.parent, env=away, text=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def knn_share(setup: Setup, nlp: Language) -> Ratio:
    """The share of the time of `nlp.pipe` that is spent on neighbours and their votes."""
    run(nlp, setup.texts)
    shares, whole, parts = [], [], []
    for _ in range(setup.repeats):
        with timed(nlp.get_pipe("knn_calibrator").calibrator, "neighbor_probabilities") as spent:
            begin = time.perf_counter()
            run(nlp, setup.texts)
            whole.append(time.perf_counter() - begin)
        if not spent:
            raise UnavailableError(
                f"{setup.model_path}: its calibrator asks no neighbours (knn_weight = 0)"
            )
        parts.append(sum(spent))
        shares.append(parts[-1] / whole[-1])
    words = words_of(setup.texts)
    return Ratio(
        shares,
        f"{read_by(nlp, setup.texts)}, {store_of(nlp)}; search, votes and "
        "smoothing, of all of nlp.pipe",
        {"kNN": figures(parts, words), "nlp.pipe": figures(whole, words)},
    )


@contextmanager
def timed(holder: object, name: str) -> Iterator[list[float]]:
    """The seconds of each call of a method, meanwhile."""
    spent: list[float] = []
    method = getattr(holder, name)

    def call(*args: object, **kwargs: object) -> object:
        begin = time.perf_counter()
        try:
            return method(*args, **kwargs)
        finally:
            spent.append(time.perf_counter() - begin)

    setattr(holder, name, call)
    try:
        yield spent
    finally:
        delattr(holder, name)


RATIOS: dict[str, Callable[[Setup], Ratio]] = {
    "around_encoder": around_encoder,
    "knn_share": lambda setup: knn_share(setup, setup.pipeline()),
    "knn_share_base": lambda setup: knn_share(*setup.base_pipeline()),
}
