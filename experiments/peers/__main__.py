"""Train another library on a fold, and write what it predicts of the test documents.

    python -m experiments.peers NAME FOLD STEPS OUT [--recommended-rates]

It runs in the root of the repository. FOLD is a folder of `python -m spacy btl split`.
OUT/predicted.jsonl is what the arms with `predicted` read (overlap.yml, peers.yml): a line per test
document, its mentions as [start, end, type, confidence] with character offsets. OUT/cost.json says
what training and prediction cost.

NAME          library                              a token is of  environment
spancat       spaCy's spancat                      any types      ours
edsnlp        EDS-NLP's eds.ner_crf, independent   any types      ours and edsnlp[ml]==0.23.0
spancat-flat  spaCy's spancat, without overlaps    one type       ours
edsnlp-flat   EDS-NLP's eds.ner_crf, doc.ents      one type       ours and edsnlp[ml]==0.23.0
ner           spaCy's ner                          one type       ours
hf            transformers' Trainer and pipeline   one type       ours and accelerate
spanmarker    SpanMarker                           one type       ours and span_marker==1.8.1
atl           btl_ner, as the baseline of peers.yml  one type     ours

SpanMarker needs an environment of its own, since `datasets` wants an older fsspec than
constraints.txt has: pip install torch==2.13.0 transformers==4.53.2 span_marker==1.8.1 -e .

The encoder, the steps, the words of a batch, bfloat16 and one thread are those of the other arms.
The head, the windows of its own and the form of the optimizer are what each library recommends; the
modules say where. So are the learning rates, with --recommended-rates: otherwise they are those
that the other arms have for this encoder. `atl` is the same training as an arm of ours; its
predictions show that the two ways agree, and what its prediction costs in this way.
"""

import json
import resource
import tempfile
import time
from collections.abc import Callable
from enum import Enum
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

import torch
import typer
from spacy import blank

from experiments.peers.shared import OURS, Job, Predict, read_fold
from spacy_btl.experiments.networks import SPEED


class Peer(NamedTuple):
    """Where a training is, and whether a token is of one type in it."""

    module: str
    function: str
    flat: bool


PEERS = {
    "spancat": Peer("spacy_pipes", "train_spancat", flat=False),
    "edsnlp": Peer("eds", "train", flat=False),
    "spancat-flat": Peer("spacy_pipes", "train_spancat", flat=True),
    "edsnlp-flat": Peer("eds", "train", flat=True),
    "ner": Peer("spacy_pipes", "train_ner", flat=True),
    "hf": Peer("huggingface", "train", flat=True),
    "spanmarker": Peer("spanmarker", "train", flat=True),
    "atl": Peer("spacy_pipes", "train_atl", flat=True),
}
Name = Enum("Name", {name: name for name in PEERS})  # type: ignore[misc]


def run(train: Callable[[Job], Predict], job: Job, out: Path) -> None:
    """Write OUT/predicted.jsonl and OUT/cost.json."""
    torch.set_num_threads(1)
    docs = read_fold(job, "test", blank("en").vocab)
    begin = time.monotonic()
    predict = train(job)
    seconds = time.monotonic() - begin
    peak = max(resource.getrusage(who).ru_maxrss for who in (-1, 0))  # of its processes, its own
    begin = time.monotonic()
    predicted = predict(docs)
    speed = sum(map(len, docs)) / (time.monotonic() - begin)
    cost = {
        "optimizer_steps": job.steps,
        "encoder_passes": job.steps,
        "seconds": round(seconds, 1),
        "peak_memory_mb": round(peak / 1024),
        SPEED: round(speed, 1),
        "precision": "bfloat16",
        "threads": 1,
        "gpu": False,
    }
    out.mkdir(parents=True, exist_ok=True)
    lines = "".join(json.dumps(mentions) + "\n" for mentions in predicted)
    (out / "predicted.jsonl").write_text(lines, encoding="utf-8")
    (out / "cost.json").write_text(json.dumps(cost, indent=2), encoding="utf-8")


def main(name: Name, fold: Path, steps: int, out: Path, recommended_rates: bool = False) -> None:
    """Train a library on FOLD for STEPS, and write to OUT."""
    peer = PEERS[name.value]
    module = import_module(f"experiments.peers.{peer.module}")
    rates = module.RECOMMENDED if recommended_rates else OURS
    with tempfile.TemporaryDirectory() as folder:
        job = Job(fold, steps, Path(folder), peer.flat, rates)
        run(getattr(module, peer.function), job, out)


if __name__ == "__main__":
    typer.run(main)
