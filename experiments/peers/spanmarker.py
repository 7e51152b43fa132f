"""SpanMarker: a `Trainer` and a model that classify all spans of up to eight words of a sentence.

The lengths of inputs, markers and entities are those of the author's training scripts
(huggingface.co/tomaarsen), the learning rate, weight decay and warm-up too. Eight words cover 99%
of MACCROBAT's entities. Sentences are those of spaCy's `sentencizer`; as in SpanMarker's own pipe
for spaCy, white space is an empty word. A sentence with many spans is read several times, with some
of them at each, so a step has as many of such samples as 1,500 words need. Prediction is in float32
since its own code takes the softmax in the precision of the network. The confidence is its `score`,
the softmax of the span.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from datasets import Dataset
from spacy import blank
from spacy.tokens import Doc, Span
from span_marker import SpanMarkerModel, Trainer
from transformers import TrainingArguments

from experiments.peers.shared import (
    WARMUP,
    WORDS,
    Job,
    Mention,
    Places,
    Predict,
    Rates,
    bio_tags,
    read_fold,
    unannotated,
)

RECOMMENDED = Rates(5e-5, 5e-5)
WEIGHT_DECAY = 0.01
LONGEST = {"model_max_length": 256, "marker_max_length": 128}
LONGEST_ENTITY = 8
SAMPLES_AT_ONCE = 8  # in a pass: each is padded to 512 positions


def train(job: Job) -> Predict:
    """All weights have one learning rate."""
    nlp = blank("en")
    sentencizer = nlp.add_pipe("sentencizer")
    docs = [sentencizer(doc) for doc in read_fold(job, "train", nlp.vocab)]
    tags = bio_tags(docs)
    ids = {tag: number for number, tag in enumerate(tags)}
    rows: list[dict[str, list[Any]]] = [
        {"tokens": _words(sentence), "ner_tags": [ids[tag] for tag in _tags(sentence)]}
        for sentence in _sentences(docs)
    ]
    model = SpanMarkerModel.from_pretrained(
        job.encoder, labels=tags, entity_max_length=LONGEST_ENTITY, **LONGEST
    )
    # Otherwise `Trainer` takes the loss for a sum over the passes of a step, and adds up means.
    model.accepts_loss_kwargs = False
    samples = _count_samples(model, [row["tokens"] for row in rows])
    per_step = WORDS * samples / sum(map(len, docs))
    arguments = TrainingArguments(
        output_dir=str(job.folder),
        max_steps=job.steps,
        per_device_train_batch_size=SAMPLES_AT_ONCE,
        gradient_accumulation_steps=max(1, round(per_step / SAMPLES_AT_ONCE)),
        learning_rate=job.rates.encoder,
        warmup_ratio=WARMUP,
        weight_decay=WEIGHT_DECAY,
        bf16=True,
        use_cpu=True,
        seed=0,
        save_strategy="no",
        report_to="none",
    )
    Trainer(model=model, args=arguments, train_dataset=Dataset.from_list(rows)).train()

    def predict(docs: Sequence[Doc]) -> Places:
        fresh = [sentencizer(doc) for doc in unannotated(docs, nlp.vocab)]
        sentences = list(_sentences(fresh))
        found = model.predict([_words(one) for one in sentences], batch_size=SAMPLES_AT_ONCE)
        places: dict[Doc, list[Mention]] = {doc: [] for doc in fresh}
        for sentence, entities in zip(sentences, found, strict=True):
            for entity in entities:
                span = sentence[entity["word_start_index"] : entity["word_end_index"]]
                place = (span.start_char, span.end_char, entity["label"], entity["score"])
                places[sentence.doc].append(place)
        return list(places.values())

    return predict


def _sentences(docs: Iterable[Doc]) -> Iterable[Span]:
    """The sentences with a word: SpanMarker refuses others."""
    for doc in docs:
        yield from (sentence for sentence in doc.sents if sentence.text.strip())


def _words(sentence: Span) -> list[str]:
    return ["" if token.is_space else token.text for token in sentence]


def _tags(sentence: Span) -> list[str]:
    """The BIO tag of each token; `O` where annotation is missing, since none can be left out."""
    return [f"{token.ent_iob_}-{token.ent_type_}" if token.ent_type_ else "O" for token in sentence]


def _count_samples(model: SpanMarkerModel, sentences: list[list[str]]) -> int:
    """The number of samples that the trainer makes of sentences."""
    encoded = model.tokenizer({"tokens": sentences})
    return len(Trainer.spread_sample(encoded, **LONGEST)["num_spans"])
