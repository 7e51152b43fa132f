"""Train another library's pipe on a fold, and write what it predicts of the test documents.

    python experiments/peers.py spancat FOLD STEPS OUT
    python experiments/peers.py edsnlp FOLD STEPS OUT

FOLD is a folder of `python -m spacy btl split`. OUT/predicted.jsonl is what the arms of
overlap.yml read: a line per test document, its mentions as [start, end, type, confidence] with
character offsets. OUT/cost.json says what the training cost. EDS-NLP needs an environment of its
own, with edsnlp[ml]==0.23.0 and this package on its path.

The encoder, the steps, the words of a batch and bfloat16 are those of the other arms, and a
discontinuous mention is its enclosing span. spaCy's suggester proposes all spans of up to so many
tokens as cover 99% of the gold mentions, and its threshold is the best of the dev documents.
"""

import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from spacy.tokens import Doc, Span, SpanGroup
from spacy.vocab import Vocab

from spacy_btl.corpora.docbin import read_docs, write_docs
from spacy_btl.mentions import MENTIONS, read_mentions

ENCODER = "assets/minilm"
CONFIG = Path(__file__).parent / "minilm.cfg"
WORDS = 1500
WINDOW, OVERLAP = 256, 32
LEARN_RATE, OF_HEAD = 3e-4, 3e-3
COVERED = 0.99
GOLD, PREDICTED = "gold", "predicted"
LOWEST = 0.05  # threshold of the predictions that a threshold is chosen from

Mention = tuple[int, int, str, float]
Places = list[list[Mention]]


def read_fold(fold: Path, part: str, vocab: Vocab) -> list[Doc]:
    """The documents of a part with their enclosing spans, each once, in the group GOLD."""
    docs = read_docs(fold / f"{part}.spacy", vocab)
    for doc in docs:
        places = sorted(set(read_mentions(doc, MENTIONS)))
        doc.spans[GOLD] = SpanGroup(doc, spans=[Span(doc, *place) for place in places])
    return docs


def unannotated(docs: Sequence[Doc]) -> Iterable[Doc]:
    """Fresh documents of the same words."""
    for doc in docs:
        yield Doc(doc.vocab, [t.text for t in doc], [bool(t.whitespace_) for t in doc])


def train_spancat(fold: Path, steps: int, folder: Path) -> Places:
    """spaCy's `spancat` in the place of `btl_ner`."""
    import spacy
    from spacy import util

    from spacy_btl.training.subprocess import spacy_train

    vocab = Vocab()
    parts = {part: read_fold(fold, part, vocab) for part in ("train", "dev")}
    for part, docs in parts.items():
        write_docs(folder / f"{part}.spacy", docs)
    lengths = [len(span) for doc in parts["train"] for span in doc.spans[GOLD]]
    longest = int(np.quantile(lengths, COVERED, method="higher"))
    config = util.load_config(
        CONFIG,
        overrides={
            "paths.encoder": ENCODER,
            "components.transformer.model.masking": 0.15,
            "components.transformer.model.random_windows": True,
            "components.ner": _spancat(longest),
            "corpora.dev.limit": 1,  # before the first step it would predict millions of spans
            "training.max_steps": steps,
            "training.eval_frequency": steps,
        },
    )
    config.to_disk(folder / "train.cfg")
    paths = {part: folder / f"{part}.spacy" for part in parts}
    log = folder / "train.log"
    if not spacy_train(folder / "train.cfg", folder, log, paths=paths, threads=1)[0]:
        sys.exit(log.read_text())
    nlp = spacy.load(folder / "model-last", config={"components.ner.threshold": LOWEST})
    predicted = [_scored(doc) for doc in nlp.pipe(unannotated(parts["dev"]))]
    threshold = _best_threshold(predicted, parts["dev"])
    sys.stdout.write(f"spans of up to {longest} tokens, threshold {threshold:.2f}\n")
    test = nlp.pipe(unannotated(read_fold(fold, "test", nlp.vocab)))
    return [[mention for mention in _scored(doc) if mention[3] >= threshold] for doc in test]


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
            "tok2vec": {
                "@architectures": "spacy-transformers.TransformerListener.v1",
                "grad_factor": 1.0,
                "pooling": {"@layers": "reduce_mean.v1"},
                "upstream": "*",
            },
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
    scores, correct = np.array(sorted(found, reverse=True)).T
    f1 = 2 * correct.cumsum() / (np.arange(len(scores)) + 1 + sum(map(len, gold)))
    return float(scores[f1.argmax()])


def train_edsnlp(fold: Path, steps: int, folder: Path) -> Places:
    """`eds.ner_crf` in its independent mode."""
    import edsnlp
    import edsnlp.pipes as eds
    from edsnlp.training.trainer import TrainingData, default_optim, train

    nlp = edsnlp.blank("en")
    docs = read_fold(fold, "train", nlp.vocab)
    window = WINDOW - 2  # without [CLS] and [SEP]
    transformer = eds.transformer(model=ENCODER, window=window, stride=window - OVERLAP)
    ner = eds.ner_crf(
        embedding=transformer,
        target_span_getter=GOLD,
        span_setter={PREDICTED: True},
        labels=sorted({span.label_ for doc in docs for span in doc.spans[GOLD]}),
        mode="independent",
        window=20,
    )
    nlp.add_pipe(ner, name="ner")
    rates = {"task_lr": OF_HEAD, "transformer_lr": LEARN_RATE}
    data = TrainingData(
        data=edsnlp.data.from_iterable(docs), batch_size=f"{WORDS} ner_words", shuffle="dataset"
    )
    train(
        nlp=nlp,
        train_data=data,
        seed=0,
        max_steps=steps,
        optimizer=default_optim([ner], max_steps=steps, **rates),
        cpu=True,
        mixed_precision="bf16",
        output_dir=folder,
        save_model=False,
        logger=["json"],
    )
    ner.compute_confidence_score = True
    nlp.train(False)
    test = unannotated(read_fold(fold, "test", nlp.vocab))
    stream = nlp.pipe(test).set_processing(batch_size="32 docs", autocast=torch.bfloat16)
    return [
        [
            (span.start_char, span.end_char, span.label_, span._.ner_confidence_score)
            for span in doc.spans[PREDICTED]
        ]
        for doc in stream
    ]


def main(train: Callable[[Path, int, Path], Places], fold: Path, steps: int, out: Path) -> None:
    """Write OUT/predicted.jsonl and OUT/cost.json."""
    torch.set_num_threads(1)
    begin = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        predicted = train(fold, steps, Path(folder))
    peak = max(resource.getrusage(who).ru_maxrss for who in (-1, 0))  # of its processes, its own
    cost = {
        "optimizer_steps": steps,
        "encoder_passes": steps,
        "seconds": round(time.monotonic() - begin, 1),
        "peak_memory_mb": round(peak / 1024),
        "precision": "bfloat16",
        "threads": 1,
        "gpu": False,
    }
    out.mkdir(parents=True, exist_ok=True)
    lines = "".join(json.dumps(mentions) + "\n" for mentions in predicted)
    (out / "predicted.jsonl").write_text(lines, encoding="utf-8")
    (out / "cost.json").write_text(json.dumps(cost, indent=2), encoding="utf-8")


if __name__ == "__main__":
    name, fold, steps, out = sys.argv[1:]
    trained = {"spancat": train_spancat, "edsnlp": train_edsnlp}[name]
    main(trained, Path(fold), int(steps), Path(out))
