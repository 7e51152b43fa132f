"""A process that prints the seconds of `nlp.pipe` over notes, without the passes of the encoder.

    python bench/spent.py MODEL NOTES.json THREADS

It imports nothing of this project by name, so that the Python of another build can run it.
"""

import json
import sys
import time
from pathlib import Path


def main(model: str, notes: str, threads: str) -> None:
    """Read the notes twice, and print what the second time took."""
    import spacy
    import torch

    torch.set_num_threads(int(threads))
    nlp = spacy.load(model)
    texts = json.loads(Path(notes).read_text(encoding="utf-8"))
    passes: list[float] = []
    encoder = nlp.get_pipe("transformer").model.transformer
    encoder.register_forward_pre_hook(lambda *_: passes.append(-time.perf_counter()))
    encoder.register_forward_hook(lambda *_: passes.append(time.perf_counter()))
    for _ in range(2):
        passes.clear()
        begin = time.perf_counter()
        for _ in nlp.pipe(texts):
            pass
        spent = time.perf_counter() - begin - sum(passes)
    print(spent)  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:])
