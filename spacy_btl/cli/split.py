"""`python -m spacy btl split`: divide a corpus into train, dev and test."""

from pathlib import Path

import typer
from rich.console import Console
from rich.table import Table
from wasabi import msg

from spacy_btl.cli._run import FORCE, btl, exits_on_error, refuse_to_replace


@btl.command("split")
@exits_on_error
def split_cli(
    corpus: Path = typer.Argument(..., help="The .spacy file to split"),
    out_dir: Path = typer.Argument(..., help="The folder to write to"),
    dev: float = typer.Option(0.15, help="Share of the documents for dev; with --folds, of train"),
    test: float = typer.Option(0.2, help="Share of the documents for test; not used with --folds"),
    folds: int | None = typer.Option(None, help="Number of folds; each is the test set once"),
    seed: int = typer.Option(0, min=0, help="Seed of the split"),
    force: bool = FORCE,
) -> None:
    """Split a corpus into train, dev and test, or in folds.

    All parts have similar shares of every entity type and of documents without entities. Documents
    of one patient stay in one part if `convert --patients` was given, and so do copies of one text.
    split.json lists the documents of each part.
    """
    from spacy_btl.splits.split import mentions_of_part, missing_types, split_corpus

    names = ("split.json", "train.spacy", "dev.spacy", "test.spacy")
    refuse_to_replace(*(out_dir / name for name in names), force=force)
    splits = split_corpus(corpus, out_dir, dev=dev, test=test, folds=folds, seed=seed)
    table = Table("part", "documents", "mentions", "types", box=None)
    for column in table.columns[1:]:
        column.justify = "right"
    warnings = []
    for number, parts in enumerate(splits):
        prefix = "" if folds is None else f"fold-{number}/"
        for name, docs in parts.items():
            mentions = mentions_of_part(docs)
            row = (len(docs), len(mentions), len(set(mentions)))
            table.add_row(prefix + name, *(f"{count:,}" for count in row))
        for name, types in missing_types(parts).items():
            warnings.append(f"No document of {prefix}{name} has: {', '.join(types)}")
    Console().print(table)
    for warning in warnings:
        msg.warn(warning)
    msg.good(f"Wrote {out_dir}")
