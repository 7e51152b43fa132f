"""Put the documents of one specialty apart, for experiments/shift.yml.

    python experiments/specialty.py corpus/maccrobat/all.spacy training/cardiology

MACCROBAT does not name specialties. Cardiology is told by its words: the documents that have more
of them than one word in a hundred. Of the others, 20 are development documents and 20 are tested,
drawn at random.
"""

import re
import sys
from pathlib import Path

import numpy as np
from spacy.tokens import Doc
from spacy.vocab import Vocab

from spacy_btl.corpora.docbin import read_docs, write_docs

WORDS = re.compile(
    r"\b(?:cardiac|echocardiogra\w*|ventric\w*|atrial|electrocardiogra\w*|ecg|coronary|myocard\w*"
    r"|aortic|mitral|tachycardia|arrhythmi\w*)\b",
    re.IGNORECASE,
)
LEAST = 0.01  # of the tokens
TESTED = 20


def is_cardiology(doc: Doc) -> bool:
    """Whether enough of its tokens are words of cardiology."""
    return len(WORDS.findall(doc.text)) > LEAST * len(doc)


def main(corpus: Path, output: Path) -> None:
    """Write train, dev, test and cardiology."""
    docs = read_docs(corpus, Vocab())
    others = [doc for doc in docs if not is_cardiology(doc)]
    order = np.random.default_rng(0).permutation(len(others)).tolist()
    dev, test, train = np.split(order, [TESTED, 2 * TESTED])
    parts = {
        name: [others[i] for i in part]
        for name, part in zip(("dev", "test", "train"), (dev, test, train), strict=True)
    }
    parts["cardiology"] = [doc for doc in docs if is_cardiology(doc)]
    output.mkdir(parents=True, exist_ok=True)
    for name, part in parts.items():
        write_docs(output / f"{name}.spacy", part)
        sys.stdout.write(f"{name}: {len(part)} documents\n")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
