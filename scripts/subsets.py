"""Cut a quarter and a half out of the training documents, for a learning curve."""

from pathlib import Path

import typer
from spacy.vocab import Vocab

from spacy_btl.corpora.docbin import read_docs, write_docs
from spacy_btl.splits.split import divide


def main(train: Path, folder: Path, seed: int = 0) -> None:
    """Write 25.spacy and 50.spacy, which holds the first, of TRAIN's documents to FOLDER."""
    docs = read_docs(train, Vocab())
    quarters = divide(docs, [0.25, 0.25, 0.5], seed=seed)
    for name, last in (("25", 0), ("50", 1)):
        kept = [doc for doc, quarter in zip(docs, quarters, strict=True) if quarter <= last]
        write_docs(folder / f"{name}.spacy", kept)
        typer.echo(f"{folder / name}.spacy: {len(kept)} of {len(docs)} documents")


if __name__ == "__main__":
    typer.run(main)
