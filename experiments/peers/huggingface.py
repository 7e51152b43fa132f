"""transformers' `AutoModelForTokenClassification`, `Trainer` and token-classification pipeline.

As in the guide "Token classification" of its documentation, the first wordpiece of each word has
the BIO tag of the word, and the others have none; its learning rate is the recommended one, and its
weight decay is used. Words are the tokenizer's, which the pipeline joins again: it gives each the
tag of its first wordpiece (`aggregation_strategy="first"`), and merges the entities of overlapping
windows. The confidence of an entity is the mean softmax of its words.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from spacy import blank
from spacy.tokens import Doc
from transformers import (
    AutoModelForTokenClassification,
    AutoTokenizer,
    DataCollatorForTokenClassification,
    Trainer,
    TrainingArguments,
    pipeline,
)
from transformers.tokenization_utils_fast import PreTrainedTokenizerFast

from experiments.peers.shared import (
    OVERLAP,
    WARMUP,
    WINDOW,
    WORDS,
    Job,
    Places,
    Predict,
    Rates,
    bio_tags,
    read_fold,
    without_overlaps,
)

RECOMMENDED = Rates(2e-5, 2e-5)
WEIGHT_DECAY = 0.01
IGNORED = -100  # by the loss
WINDOWS_AT_ONCE = 16  # in prediction


def train(job: Job) -> Predict:
    """A linear layer with one learning rate for all weights."""
    docs = read_fold(job, "train", blank("en").vocab)
    ids = {tag: number for number, tag in enumerate(bio_tags(docs))}
    tokenizer = AutoTokenizer.from_pretrained(job.encoder, model_max_length=WINDOW)
    model = AutoModelForTokenClassification.from_pretrained(
        job.encoder, label2id=ids, id2label={number: tag for tag, number in ids.items()}
    )
    windows = [window for doc in docs for window in read_windows(doc, tokenizer, ids)]
    arguments = TrainingArguments(
        output_dir=str(job.folder),
        max_steps=job.steps,
        per_device_train_batch_size=round(WORDS * len(windows) / sum(map(len, docs))),
        learning_rate=job.rates.encoder,
        warmup_ratio=WARMUP,
        weight_decay=WEIGHT_DECAY,
        bf16=True,
        use_cpu=True,
        seed=0,
        save_strategy="no",
        report_to="none",
    )
    collator = DataCollatorForTokenClassification(tokenizer)
    trainer: Any = Trainer(
        model=model, args=arguments, train_dataset=windows, data_collator=collator
    )
    trainer.train()
    tagger: Any = pipeline(
        "token-classification",
        model=model,
        tokenizer=tokenizer,
        stride=OVERLAP,
        aggregation_strategy="first",
        device="cpu",
    )

    def predict(docs: Sequence[Doc]) -> Places:
        with torch.autocast("cpu", torch.bfloat16):
            found = tagger([doc.text for doc in docs], batch_size=WINDOWS_AT_ONCE)
        return [
            without_overlaps(
                doc,
                [(e["start"], e["end"], e["entity_group"], float(e["score"])) for e in entities],
            )
            for doc, entities in zip(docs, found, strict=True)
        ]

    return predict


def read_windows(
    doc: Doc, tokenizer: PreTrainedTokenizerFast, ids: dict[str, int]
) -> list[dict[str, list[int]]]:
    """The overlapping windows of a document: `input_ids`, `attention_mask` and `labels`, the number
    of its tag for the first wordpiece of each word.

    A word that begins in an entity, and not with it, is inside: `I-`. The wordpieces of tokens
    without annotation have no label.
    """
    ents, text = doc.ents, doc.text
    which = np.zeros(len(text), dtype=int)  # the entity of each character, from 1
    for number, ent in enumerate(ents, 1):
        which[ent.start_char : ent.end_char] = number
    for token in doc:
        if not token.ent_iob:
            which[token.idx : token.idx + len(token)] = IGNORED

    def label(start: int) -> int:
        number = which[start]
        if number <= 0:
            return IGNORED if number else ids["O"]
        ent = ents[number - 1]
        return ids[f"{'B' if start == ent.start_char else 'I'}-{ent.label_}"]

    encoded = tokenizer(text, truncation=True, stride=OVERLAP, return_overflowing_tokens=True)
    windows = []
    for window in encoded.encodings:
        words = [-1 if word is None else word for word in window.word_ids]
        first = np.diff(words, prepend=-1) != 0
        labels = [
            label(start) if is_first and word >= 0 else IGNORED
            for (start, _), word, is_first in zip(window.offsets, words, first, strict=True)
        ]
        windows.append(
            {
                "input_ids": window.ids,
                "attention_mask": window.attention_mask,
                "labels": labels,
            }
        )
    return windows
