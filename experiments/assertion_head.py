"""Whether a learned head tells assertions better than the terms of `btl_context`.

    python experiments/assertion_head.py assets/minilm

trains a logistic regression for each assertion over the encoder's vectors, on one half of the demo
notes, counts it on the other half, and writes the counts beside those of experiments/assertions.py.
A mention has the mean vector of its words, and that of the words before it in its sentence. Classes
are balanced, as the losses of networks are here.
"""

import json
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

import numpy as np
import spacy
import srsly
import torch
from assertions import HALVES, RESULTS, SENTENCES, gold
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from spacy.tokens import Doc, Span
from transformers import AutoModel, AutoTokenizer

from spacy_btl.context.assertions import KINDS, assertions
from spacy_btl.mentions import MENTIONS

STRENGTH = 0.01  # C of scikit-learn: of 0.001, 0.01, 0.1 and 1 the best on both halves


class Encoder:
    """An encoder that reads sentence by sentence."""

    def __init__(self, name: str) -> None:
        self.tokenizer = AutoTokenizer.from_pretrained(name)
        self.model = AutoModel.from_pretrained(name).eval()

    def vectors(self, doc: Doc) -> NDArray[np.float32]:
        """Of the mentions of a doc with sentences, float32 [M, 2 H]."""
        rows = []
        read: dict[int, tuple[NDArray[np.float32], NDArray[np.int64]]] = {}
        for span in doc.spans[MENTIONS]:
            sentence = span[0].sent
            if sentence.start not in read:
                read[sentence.start] = self.read(sentence)
            hidden, places = read[sentence.start]
            start = span.start_char - sentence.start_char
            own = (places[:, 0] < start + len(span.text)) & (places[:, 1] > start)
            before = places[:, 1] <= start
            before[0] = True  # the token before the sentence, so that there always is one
            rows.append(np.concatenate([hidden[own].mean(axis=0), hidden[before].mean(axis=0)]))
        return np.array(rows).reshape(len(rows), 2 * self.model.config.hidden_size)

    def read(self, sentence: Span) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """The vectors of its wordpieces, float32 [W, H], and their characters, int [W, 2]."""
        pieces = self.tokenizer(
            sentence.text, return_offsets_mapping=True, return_tensors="pt", truncation=True
        )
        places = pieces.pop("offset_mapping")[0].numpy()
        with torch.inference_mode():
            return self.model(**pieces).last_hidden_state[0].numpy(), places


def main(name: str) -> None:
    """Count the head on both halves."""
    encoder, sentences = Encoder(name), spacy.blank("en")
    sentences.add_pipe("sentencizer", config=SENTENCES)
    with tempfile.TemporaryDirectory() as folder:
        docs = gold(Path(folder))
    halves = np.array([i % 2 for i, doc in enumerate(docs) for _ in doc.spans[MENTIONS]])
    x = np.concatenate([encoder.vectors(sentences.get_pipe("sentencizer")(doc)) for doc in docs])
    said = [assertions(span) for doc in docs for span in doc.spans[MENTIONS]]
    counts: dict[str, dict[str, list[int]]] = {half: {} for half in HALVES}
    for kind in KINDS:
        y = np.array([one is not None and kind in one.kinds for one in said])
        for place, half in enumerate(HALVES):
            test = halves == place
            head = LogisticRegression(C=STRENGTH, class_weight="balanced", max_iter=2000)
            found = make_pipeline(StandardScaler(), head).fit(x[~test], y[~test]).predict(x[test])
            true = y[test]
            pairs = (true & found, found & ~true, true & ~found)
            counts[half][kind] = [int(pair.sum()) for pair in pairs]
    results = srsly.read_json(RESULTS)
    results["libraries"]["learned"] = {
        "package": "scikit-learn",
        "version": version("scikit-learn"),
        "counts": counts,
    }
    RESULTS.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
