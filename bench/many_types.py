"""Cost of the losses and of decoding with many entity types, on a made-up batch of 1,500 tokens.

Nothing may be quadratic in the number of types: ten times the types, ten times the cost. The
ratios to the cost with 10 types say so on any machine; seconds and megabytes are of the machine
that ran it.

    OMP_NUM_THREADS=1 python -m bench.many_types --output bench/results/many_types.json
"""

import json
import platform
import statistics
import time
import tracemalloc
from collections.abc import Callable
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import spacy
import typer
from scipy.special import softmax
from spacy.tokens import Doc
from spacy.training import Example

from spacy_btl.calibration.calibrator import Calibrator
from spacy_btl.calibration.candidates import (
    Words,
    border_log_odds,
    choose,
    describe,
    find_candidates,
    type_log_odds,
)
from spacy_btl.calibration.datastore import Datastore
from spacy_btl.corpora.docbin import write_docs
from spacy_btl.corpora.stats import corpus_stats
from spacy_btl.files import write_file
from spacy_btl.lines import read_lines
from spacy_btl.losses.overlapping import OverlappingTokenLabels
from spacy_btl.mentions import MENTIONS, OverlappingScheme, encode_mentions
from spacy_btl.metrics.scorer import score_ner
from spacy_btl.pipeline.annotations import set_spans
from spacy_btl.pipeline.decoding import decode
from spacy_btl.tags import TagScheme

TOKENS = 1500
TYPES = (10, 100, 1000)
OUTSIDE = 0.55  # the share of `O` in MACCROBAT
NEIGHBORS = 17

Case = Callable[[], object]


def loss_configs() -> dict[str, dict[str, Any]]:
    """Every registered loss, and BTL with all its options that change what is computed."""
    names = ("AllTokenLabels", "FocalLoss", "DiceLoss", "LogitAdjustedLoss")
    configs: dict[str, dict[str, Any]] = {
        name: {"@losses": f"spacy_btl.{name}.v1"} for name in names
    }
    for competition, non_target in product(("pair", "all"), ("outside", "ignore")):
        configs[f"BinaryTokenLabels {competition} {non_target}"] = {
            "@losses": "spacy_btl.BinaryTokenLabels.v1",
            "competition": competition,
            "non_target": non_target,
        }
    return configs


def made_up_doc(tags: np.ndarray, types: tuple[str, ...]) -> Doc:
    """A doc of one word per tag; every entity is a word."""
    ents = ["O" if tag == 0 else f"B-{types[tag - 1]}" for tag in tags]
    return Doc(spacy.blank("en").vocab, words=[f"w{i}" for i in range(len(tags))], ents=ents)


class Found:
    """A search that has found its rows."""

    def __init__(self, rows: np.ndarray) -> None:
        self.rows = rows

    def fit(self, rows: np.ndarray) -> None:
        """Do nothing."""

    def query(self, rows: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """As `Search.query`."""
        return np.zeros(self.rows.shape, "float32"), self.rows


def cases(n_types: int, folder: Path) -> dict[str, Case]:
    """What is measured, by name. All scheme IO: one tag per type."""
    rng = np.random.default_rng(0)
    scheme = TagScheme([f"T{i:04}" for i in range(n_types)])
    logits = rng.normal(0, 3, (TOKENS, len(scheme))).astype("float32")
    tags = np.where(rng.random(TOKENS) < OUTSIDE, 0, rng.integers(1, len(scheme), TOKENS))
    settings = {
        "tag_types": scheme.tag_types,
        "tag_counts": np.bincount(tags, minlength=len(scheme)),
    }
    gold = made_up_doc(tags, scheme.types)
    predicted = made_up_doc(rng.permutation(tags), scheme.types)
    examples = [Example(predicted, gold)]
    corpus = folder / f"{n_types}.spacy"
    write_docs(corpus, [gold])
    p = softmax(logits.astype("float64"), axis=1)
    numbers = np.arange(TOKENS, dtype="int32")
    datastore = Datastore(
        logits=logits,
        tags=tags.astype("int16"),
        documents=np.zeros(TOKENS, "int32"),
        starts=numbers,
        ends=numbers + 1,
        prior=np.full(len(scheme), 1 / len(scheme)),
        labels=scheme.types,
        scheme="IO",
    )
    search = Found(rng.integers(0, TOKENS, (TOKENS, NEIGHBORS)))
    tau = dict.fromkeys(scheme.types, 0.5)

    def calibrator(transition_weight: float) -> Calibrator:
        settings = {"n_neighbors": NEIGHBORS, "transition_weight": transition_weight}
        return Calibrator(search, tau=tau, **settings).fit(datastore)

    by_token, by_note = calibrator(0.0), calibrator(0.5)

    found: dict[str, Case] = {}
    for name, config in loss_configs().items():
        loss = spacy.registry.resolve({"loss": config})["loss"]
        found[name] = lambda loss=loss: loss(logits, tags, **settings)  # type: ignore[misc]
    found |= overlapping_cases(scheme, tags, logits, examples)
    found["arg-max and spans"] = lambda: scheme.decode(
        gold, logits.argmax(axis=1), read_lines(gold)
    )
    found["decode with tau per type and confidence"] = lambda: decode([gold], [p], by_token)
    found["the same for the whole note, by transitions"] = lambda: decode([gold], [p], by_note)
    found["probabilities by 17 neighbours"] = lambda: by_token.neighbor_probabilities(logits)
    found["scores"] = lambda: score_ner(examples)
    found["corpus statistics"] = lambda: corpus_stats(corpus)
    return found


def overlapping_cases(
    scheme: TagScheme, tags: np.ndarray, logits: np.ndarray, examples: list[Example]
) -> dict[str, Case]:
    """The same batch with `spans_key`. As many mentions are predicted, whatever the types."""
    of_types = (tags[:, None] == 1 + np.arange(len(scheme.types))).astype("int8")
    targets = np.tile(of_types, 3)  # each mention is a token, its start and its end
    margins = logits - 40
    margins[np.arange(TOKENS), tags] += 80
    margins[:, 0] = 0
    doc, own = made_up_doc(np.zeros_like(tags), scheme.types), OverlappingScheme(scheme.types)
    loss, counts = OverlappingTokenLabels("fourth_root_odds"), targets.sum(axis=0)
    of_all = np.hstack([margins, margins[:, 1:], margins[:, 1:]])

    def decode_all() -> None:
        lines, decisions = read_lines(doc), margins[:, own.columns]
        runs = own.runs(decisions.argmax(axis=-1), lines.breaks, lines.short)
        confidences = own.run_probabilities(runs, softmax(decisions, axis=-1)).tolist()
        set_spans(doc, "btl", own.spans(doc, runs, lines), confidences, labels=scheme.types)

    def choose_all() -> None:
        lines = read_lines(doc)
        words = Words(np.zeros(TOKENS, "int64"), lines.breaks, lines.short)
        p = softmax(of_all[:, own.columns].astype("float64"), axis=-1)
        p = own.add_borders(p, of_all)
        of_types = type_log_odds(p, own)
        found = find_candidates(of_types, (of_types > 0).astype("int8"), words, own)
        choose(found, describe(found, of_types, border_log_odds(p), words)[:, 0])

    return {
        "spans_key: loss": lambda: loss(of_all, targets, counts=counts, n_tokens=TOKENS),
        "spans_key: targets": lambda: encode_mentions(examples[0], scheme, MENTIONS),
        "spans_key: spans, confidence and entities": decode_all,
        "spans_key: choice among candidates": choose_all,
    }


def seconds(case: Case, repeats: int) -> float:
    """The median CPU seconds of a call, after one that is not counted."""
    case()
    times = []
    for _ in range(repeats):
        start = time.process_time()
        case()
        times.append(time.process_time() - start)
    return statistics.median(times)


def peak_bytes(case: Case) -> int:
    """The most memory that a call holds, its result included, arrays and Python objects alike."""
    tracemalloc.start()
    try:
        case()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def main(
    output: Path = typer.Option(..., help="The JSON file to write"),
    repeats: int = typer.Option(15, min=1, help="How often each case is timed"),
) -> None:
    """Measure seconds and peak memory of every loss and of decoding at 10, 100 and 1,000 types."""
    results: dict[str, dict[str, Any]] = {}
    with TemporaryDirectory() as folder:
        for n_types in TYPES:
            for name, case in cases(n_types, Path(folder)).items():
                row = results.setdefault(name, {})
                figures = {"seconds": seconds(case, repeats), "peak_mb": peak_bytes(case) / 1e6}
                first = row.get(str(TYPES[0]), figures)
                ratios = {f"{key}_ratio": figures[key] / first[key] for key in figures}
                both = {**figures, **ratios}
                row[str(n_types)] = {key: float(f"{value:.3g}") for key, value in both.items()}
    setup = {"tokens": TOKENS, "types": TYPES, "repeats": repeats, "numpy": np.__version__}
    machine = {"machine": platform.machine(), "python": platform.python_version()}
    table = {**setup, **machine, "results": results}
    write_file(output, (json.dumps(table, indent=2) + "\n").encode("utf-8"))


if __name__ == "__main__":
    typer.run(main)
