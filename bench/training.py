"""What a training step costs, as `spacy train` takes it, and where its time goes."""

import random
import re
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from spacy import registry
from spacy.language import Language
from spacy.training import Example
from torch.profiler import ProfilerActivity, profile

from bench.material import Setup, with_repeats
from bench.pipelines import count_words, encoder_name, encoder_of, seen_precision, window_of
from bench.plain_torch import make_batch, make_step
from bench.ratios import Ratio, figures, in_turn, pairwise
from spacy_btl.tags import MISSING

LOSS = "components.ner.loss"
ATL = {"@losses": "spacy_btl.AllTokenLabels.v1"}
OVERLAPPING = {
    "components.ner.spans_key": "btl",
    f"{LOSS}.competition": "pair",
    f"{LOSS}.class_weights": "fourth_root_odds",
}
WORDS = 1500  # of a batch, as in configs/minilm.cfg
BASE_WORDS = 500  # of a batch for the encoder of BioBERT's size, which has eight times the work
SLOW_REPEATS = 3
NAME = "train_operators"
PROFILED_REPEATS = 3
# The first pattern that is found in an operator's name says what it counts as.
KINDS = {
    "matrix products": r"(mm|linear|matmul)($|_)|mkldnn",
    "attention": "scaled_dot_product",
    "copies and conversions": r"::(copy_|_to_copy|clone|contiguous|cat)$",
    "other operators": "",
}
OPTIMIZER = "optimizer"
REST = "windows, alignment, the loss, Python"

Batch = list[Example]


class Trainer:
    """A pipeline, its optimizer and the step that `spacy train` takes with them."""

    def __init__(self, nlp: Language) -> None:
        self.nlp = nlp
        training = registry.resolve({"training": nlp.config["training"]})["training"]
        self.optimizer = training["optimizer"]
        self.dropout = training["dropout"]

    def step(self, batch: Batch) -> None:
        """As in spacy.training.loop: a sub-batch, then every pipe is updated."""
        self.forward(batch)
        self.optimize()

    def forward(self, batch: Batch) -> None:
        """Losses and gradients."""
        self.nlp.update(batch, drop=self.dropout, sgd=False, losses={})

    def optimize(self) -> None:
        """What the gradients change."""
        for _, pipe in self.nlp.pipeline:
            if getattr(pipe, "is_trainable", False):
                pipe.finish_update(self.optimizer)
        self.optimizer.step_schedules()


def batches(setup: Setup, nlp: Language, words: int, n_batches: int = 2) -> list[Batch]:
    """The first batches of the notes, of about so many words."""
    batcher = registry.batchers.get("spacy.batch_by_words.v1")(
        size=words, tolerance=0.2, discard_oversize=False
    )
    found = islice(batcher(setup.examples(nlp)), n_batches)
    return [list(batch) for batch in found]


def words_in(found: Sequence[Batch]) -> int:
    """The number of words in batches."""
    return sum(count_words([example.reference for example in batch]) for batch in found)


def _over(found: Sequence[Any], step: Callable[[Any], None]) -> Callable[[], None]:
    def case() -> None:
        for batch in found:
            step(batch)

    return case


def _compare(
    setup: Setup, encoder: Path, words: int, first: dict[str, Any], second: dict[str, Any]
) -> tuple[dict[str, list[float]], int, str]:
    """The seconds of two configs over the same batches, the words in these, and the encoder."""
    cases = {}
    for side, overrides in (("first", first), ("second", second)):
        nlp = setup.untrained(encoder, **overrides)
        found = batches(setup, nlp, words)
        cases[side] = _over(found, Trainer(nlp).step)
    return in_turn(cases, setup.repeats), words_in(found), encoder_name(nlp)


def fused_over_atl(setup: Setup) -> Ratio:
    """Binary Token Labels in closed form, and the usual cross-entropy."""
    taken, words, name = _compare(setup, setup.minilm, WORDS, {}, _replaced(ATL))
    return Ratio(
        pairwise(taken["first"], taken["second"]),
        f"{name}, batches of about {WORDS:,} words, configs/minilm.cfg; the loss is all that "
        "differs",
        {"fused": figures(taken["first"], words), "ATL": figures(taken["second"], words)},
    )


def overlapping_over_flat(setup: Setup) -> Ratio:
    """A binary decision of every token and type, and one label per token."""
    taken, words, name = _compare(setup, setup.minilm, WORDS, OVERLAPPING, {})
    return Ratio(
        pairwise(taken["first"], taken["second"]),
        f"{name}, batches of about {WORDS:,} words, configs/minilm.cfg with and without spans_key",
        {"spans_key": figures(taken["first"], words), "flat": figures(taken["second"], words)},
    )


def _replaced(loss: dict[str, Any]) -> dict[str, Any]:
    return {LOSS: loss}


def fp32_over_fast(setup: Setup, encoder: Path, words: int) -> Ratio:
    """float32, and the precision that `mixed_precision = true` takes on this machine."""
    key = "components.transformer.model.mixed_precision"
    taken, read, name = _compare(setup, encoder, words, {key: False}, {key: True})
    return Ratio(
        pairwise(taken["first"], taken["second"]),
        f"{name}, batches of about {words:,} words; mixed_precision false and true",
        {"float32": figures(taken["first"], read), "mixed": figures(taken["second"], read)},
    )


def sequential_over_fused(setup: Setup) -> Ratio:
    """A step for each type that is present, and one fused step, on the same batch."""
    setup = with_repeats(setup, SLOW_REPEATS)
    nlp = setup.untrained(setup.minilm)
    trainer = Trainer(nlp)
    (batch,) = batches(setup, nlp, BASE_WORDS, 1)
    random.seed(0)
    batcher = registry.batchers.get("spacy_btl.BinaryCopies.v1")(iter, "ignore")
    copies = list(batcher([batch]))
    trainer.step(batch)
    cases = {"sequential": _over(copies, trainer.step), "fused": _over([batch], trainer.step)}
    taken = in_turn(cases, setup.repeats, warm_up=0)
    words = words_in([batch])
    return Ratio(
        pairwise(taken["sequential"], taken["fused"]),
        f"{encoder_name(nlp)}, one batch of {words:,} words with {len(copies)} types present",
        {side: figures(seconds, words) for side, seconds in taken.items()},
    )


def ours_over_torch(setup: Setup, encoder: Path, words: int) -> Ratio:
    """Our step, text to optimizer, and a plain torch loop that finds its tensors ready."""
    same = {
        f"components.transformer.model.{name}": value
        for name, value in (("masking", 0.0), ("overlap", 0), ("random_windows", False))
    }
    nlp = setup.untrained(encoder, **_replaced(ATL), **same)
    trainer = Trainer(nlp)
    found = batches(setup, nlp, words)
    with seen_precision(nlp) as precision:
        trainer.step(found[0])
    tokenizer = nlp.get_pipe("transformer").model.tokenizer
    scheme = nlp.get_pipe("ner").tag_scheme

    def as_torch(example: Example) -> tuple[str, list[int], Any]:
        tags = scheme.encode(example)
        tags[tags == MISSING] = -100
        return example.text, [token.idx for token in example.predicted], tags

    ready = [make_batch(list(map(as_torch, batch)), tokenizer, window_of(nlp)) for batch in found]
    config = nlp.config["components"]["transformer"]["model"]["transformer_config"]
    device = next(encoder_of(nlp).parameters()).device
    step = make_step(str(encoder), len(scheme), precision(), device, config)
    cases = {"ours": _over(found, trainer.step), "torch": _over(ready, step)}
    taken = in_turn(cases, setup.repeats)
    read = words_in(found)
    return Ratio(
        pairwise(taken["ours"], taken["torch"]),
        f"{encoder_name(nlp)}, batches of about {words:,} words, {_name(precision())}; torch: "
        f"windows of {window_of(nlp)} without overlap, ready as tensors",
        {side: figures(seconds, read) for side, seconds in taken.items()},
    )


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


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
        runs = [_profiled(trainer, batch) for _ in range(PROFILED_REPEATS) for batch in found]
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
        kind = next(filter(partial(_is_kind, event.key), KINDS))
        spent[kind] += event.self_cpu_time_total / 1e6
    spent[REST] -= sum(spent[kind] for kind in KINDS)
    return dict(spent)


def _is_kind(operator: str, kind: str) -> bool:
    return re.search(KINDS[kind], operator) is not None


RATIOS: dict[str, Callable[[Setup], Ratio]] = {
    "train_fused_over_atl": fused_over_atl,
    "train_overlapping_over_flat": overlapping_over_flat,
    "train_sequential_over_fused": sequential_over_fused,
    "train_ours_over_torch": lambda setup: ours_over_torch(setup, setup.minilm, WORDS),
    "train_ours_over_torch_base": lambda setup: ours_over_torch(setup, setup.base, BASE_WORDS),
    "train_fp32_over_fast": lambda setup: fp32_over_fast(setup, setup.minilm, WORDS),
    "train_fp32_over_fast_base": lambda setup: fp32_over_fast(setup, setup.base, BASE_WORDS),
}
