"""EDS-NLP's `eds.ner_crf`, whose labels are predicted each for itself.

With one type per token it is the pipeline of the tutorial "Training a NER model" in EDS-NLP's
documentation: mode "joint", a convolution before it, gradients of a norm of 1 at most, and the
entities are `doc.ents`, of whose overlapping spans the longest is kept. Mode "joint" does not give
a token one type: all modes predict a sequence of tags for each label. The recommended learning
rates are the tutorial's. The confidence is the mean, over the tokens, of 1 - p(O).
"""

from collections.abc import Sequence

import edsnlp
import edsnlp.pipes as eds
import torch
from edsnlp.training.trainer import TrainingData, default_optim
from edsnlp.training.trainer import train as train_pipeline
from spacy.tokens import Doc

from experiments.peers.shared import (
    GOLD,
    OVERLAP,
    WARMUP,
    WINDOW,
    WORDS,
    Job,
    Places,
    Predict,
    Rates,
    read_fold,
    types_of,
    unannotated,
)

RECOMMENDED = Rates(5e-5, 3e-4)
PREDICTED = "predicted"


def train(job: Job) -> Predict:
    """`eds.ner_crf`, in its joint mode for entities, and its independent one for mentions."""
    nlp = edsnlp.blank("en")
    docs = read_fold(job, "train", nlp.vocab)
    ner = _pipe(job, types_of(docs))
    nlp.add_pipe(ner, name="ner")
    data = TrainingData(
        data=edsnlp.data.from_iterable(docs), batch_size=f"{WORDS} ner_words", shuffle="dataset"
    )
    rates = {"task_lr": job.rates.new, "transformer_lr": job.rates.encoder}
    train_pipeline(
        nlp=nlp,
        train_data=data,
        seed=0,
        max_steps=job.steps,
        validation_interval=job.steps,
        optimizer=default_optim([ner], max_steps=job.steps, warmup_rate=WARMUP, **rates),
        grad_max_norm=1.0 if job.flat else 5.0,
        cpu=True,
        mixed_precision="bf16",
        output_dir=job.folder,
        save_model=False,
        logger=["json"],
    )
    ner.compute_confidence_score = True
    nlp.train(False)

    def predict(docs: Sequence[Doc]) -> Places:
        stream = nlp.pipe(unannotated(docs, nlp.vocab))
        stream = stream.set_processing(batch_size="32 docs", autocast=torch.bfloat16)
        return [
            [
                (span.start_char, span.end_char, span.label_, span._.ner_confidence_score)
                for span in (doc.ents if job.flat else doc.spans[PREDICTED])
            ]
            for doc in stream
        ]

    return predict


def _pipe(job: Job, labels: list[str]) -> eds.ner_crf:
    window = WINDOW - 2  # without [CLS] and [SEP]
    embedding = eds.transformer(model=job.encoder, window=window, stride=window - OVERLAP)
    common = {"target_span_getter": GOLD, "labels": labels}
    if not job.flat:
        setter = {PREDICTED: True}
        return eds.ner_crf(
            embedding=embedding, span_setter=setter, mode="independent", window=20, **common
        )
    embedding = eds.text_cnn(embedding=embedding, kernel_sizes=[3])
    return eds.ner_crf(embedding=embedding, span_setter={"ents": True}, mode="joint", **common)
