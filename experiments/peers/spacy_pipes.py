"""spaCy's pipes in the place of `btl_ner`, over the same transformer and by `spacy train`.

The heads are those of spaCy's quickstart (`spacy init config --gpu`), and so is the recommended
learning rate. `spancat` has another suggester: it proposes all spans of up to so many tokens as
cover 99% of the gold mentions, and its threshold is the best of the dev documents. spaCy's `ner`
states no confidence.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import spacy
from spacy import util
from spacy.language import Language
from spacy.tokens import Doc
from spacy.vocab import Vocab

from experiments.peers.shared import (
    GOLD,
    Job,
    Mention,
    Places,
    Predict,
    Rates,
    read_fold,
    unannotated,
    without_overlaps,
)
from spacy_btl.corpora.docbin import write_docs
from spacy_btl.training.subprocess import spacy_train

RECOMMENDED = Rates(5e-5, 5e-5)
CONFIG = Path(__file__).parent.parent / "minilm.cfg"
COVERED = 0.99
LOWEST = 0.05  # threshold of the predictions that a threshold is chosen from
AUGMENTED = {
    "components.transformer.model.masking": 0.15,
    "components.transformer.model.random_windows": True,
}
LISTENER = {
    "@architectures": "spacy-transformers.TransformerListener.v1",
    "grad_factor": 1.0,
    "pooling": {"@layers": "reduce_mean.v1"},
    "upstream": "*",
}


def train_spancat(job: Job) -> Predict:
    """`spancat`."""
    vocab = Vocab()
    parts = {part: read_fold(job, part, vocab) for part in ("train", "dev")}
    lengths = [len(span) for doc in parts["train"] for span in doc.spans[GOLD]]
    longest = int(np.quantile(lengths, COVERED, method="higher"))
    overrides = {
        **AUGMENTED,
        "components.ner": _spancat(longest),
        "corpora.dev.limit": 1,  # before the first step it would predict millions of spans
    }
    _train(job, parts, overrides)
    nlp = _load(job, {"components.ner.threshold": LOWEST})

    def scored(docs: Sequence[Doc]) -> Places:
        found = [(doc, _scored(doc)) for doc in nlp.pipe(unannotated(docs, nlp.vocab))]
        return [without_overlaps(*one) if job.flat else one[1] for one in found]

    threshold = _best_threshold(scored(parts["dev"]), parts["dev"])
    sys.stdout.write(f"spans of up to {longest} tokens, threshold {threshold:.2f}\n")

    def predict(docs: Sequence[Doc]) -> Places:
        return [[one for one in found if (one[3] or 0) >= threshold] for found in scored(docs)]

    return predict


def train_ner(job: Job) -> Predict:
    """`ner`."""
    pipe = {
        "factory": "ner",
        "model": {
            "@architectures": "spacy.TransitionBasedParser.v2",
            "state_type": "ner",
            "extra_state_tokens": False,
            "hidden_width": 64,
            "maxout_pieces": 2,
            "use_upper": False,
            "nO": None,
            "tok2vec": LISTENER,
        },
    }
    return _entities(job, {**AUGMENTED, "components.ner": pipe})


def train_atl(job: Job) -> Predict:
    """`btl_ner` with cross-entropy, its arg-max, without confidence."""
    return _entities(job, {"components.ner.loss": {"@losses": "spacy_btl.AllTokenLabels.v1"}})


def _entities(job: Job, overrides: dict[str, Any]) -> Predict:
    vocab = Vocab()
    _train(job, {part: read_fold(job, part, vocab) for part in ("train", "dev")}, overrides)
    nlp = _load(job)

    def predict(docs: Sequence[Doc]) -> Places:
        return [
            [(ent.start_char, ent.end_char, ent.label_, None) for ent in doc.ents]
            for doc in nlp.pipe(unannotated(docs, nlp.vocab))
        ]

    return predict


def _train(job: Job, parts: dict[str, list[Doc]], overrides: dict[str, Any]) -> None:
    paths = {part: job.folder / f"{part}.spacy" for part in parts}
    for part, docs in parts.items():
        write_docs(paths[part], docs)
    config = util.load_config(
        CONFIG,
        overrides={
            "paths.encoder": job.encoder,
            "training.max_steps": job.steps,
            "training.eval_frequency": job.steps,
            "training.optimizer.learn_rate.initial_rate": job.rates.encoder,
            **overrides,
        },
    )
    config.to_disk(job.folder / "train.cfg")
    log = job.folder / "train.log"
    if not spacy_train(job.folder / "train.cfg", job.folder, log, paths=paths, threads=1)[0]:
        sys.exit(log.read_text(encoding="utf-8"))


def _load(job: Job, settings: dict[str, Any] | None = None) -> Language:
    return spacy.load(job.folder / "model-last", config=settings or {})


def _spancat(longest: int) -> dict[str, Any]:
    return {
        "factory": "spancat",
        "spans_key": GOLD,
        "threshold": 0.5,
        "suggester": {
            "@misc": "spacy.ngram_range_suggester.v1",
            "min_size": 1,
            "max_size": longest,
        },
        "model": {
            "@architectures": "spacy.SpanCategorizer.v1",
            "reducer": {"@layers": "spacy.mean_max_reducer.v1", "hidden_size": 128},
            "scorer": {"@layers": "spacy.LinearLogistic.v1", "nO": None, "nI": None},
            "tok2vec": LISTENER,
        },
    }


def _scored(doc: Doc) -> list[Mention]:
    group = doc.spans[GOLD]
    return [
        (span.start_char, span.end_char, span.label_, float(score))
        for span, score in zip(group, group.attrs["scores"], strict=True)
    ]


def _best_threshold(predicted: Places, references: Sequence[Doc]) -> float:
    gold = [{(s.start_char, s.end_char, s.label_) for s in doc.spans[GOLD]} for doc in references]
    found = [
        (mention[3], mention[:3] in places)
        for mentions, places in zip(predicted, gold, strict=True)
        for mention in mentions
    ]
    if not found:
        return LOWEST
    scores, correct = np.array(sorted(found, reverse=True)).T
    f1 = 2 * correct.cumsum() / (np.arange(len(scores)) + 1 + sum(map(len, gold)))
    return float(scores[f1.argmax()])
