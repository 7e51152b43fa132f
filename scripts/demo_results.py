r"""Record what the README and the tutorials say of the demo's pipeline.

python scripts/demo_results.py training/demo/pipeline training/demo/.fit/corpus/dev.spacy \
    training/demo/.fit/metrics.json docs/results/demo.json
"""

from pathlib import Path

import spacy
import srsly
import typer
from spacy.tokens import Doc, DocBin

TEXT = "No fever. CRP 84 mg/L, given aspirin 300 mg orally."
MINIMA = (0.0, 0.5, 0.7, 0.8, 0.9, 0.95)


def main(model: str, dev: Path, metrics: Path, output: Path) -> None:
    """Write OUTPUT: the METRICS of `evaluate`, and what MODEL says of an example
    and of DEV."""
    nlp = spacy.load(model)
    gold = list(DocBin().from_disk(dev).get_docs(nlp.vocab))
    predicted = list(nlp.pipe(doc.text for doc in gold))
    correct = mentions(gold)
    examples = {
        "text": TEXT,
        "entities": [[ent.text, ent.label_, round(ent._.confidence, 4)] for ent in nlp(TEXT).ents],
        "dev_documents": len(gold),
        "dev_mentions": len(correct),
        "minimum_confidence": [row(mentions(predicted, m), correct, m) for m in MINIMA],
    }
    found = srsly.read_json(metrics)
    for entry, key in (("pipeline", "folder"), ("corpus", "file")):
        found[entry][key] = Path(found[entry][key]).resolve().relative_to(Path.cwd()).as_posix()
    srsly.write_json(output, {"examples": examples, "metrics": found})


def mentions(docs: list[Doc], minimum: float = 0.0) -> set[tuple[int, int, int, str]]:
    """The entities of documents, those with a confidence below the minimum left out."""
    return {
        (number, ent.start_char, ent.end_char, ent.label_)
        for number, doc in enumerate(docs)
        for ent in doc.ents
        if ent._.confidence is None or ent._.confidence >= minimum
    }


def row(
    kept: set[tuple[int, int, int, str]], correct: set[tuple[int, int, int, str]], minimum: float
) -> tuple[float, int, float, float]:
    """The minimum, the entities that are kept, their precision and recall."""
    both = len(kept & correct)
    return minimum, len(kept), both / max(len(kept), 1), both / len(correct)


if __name__ == "__main__":
    typer.run(main)
