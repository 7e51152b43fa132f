"""`python -m spacy btl evaluate`: score a pipeline on held-out documents, type by type."""

import json
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.table import Table
from wasabi import msg

from spacy_btl.cli import btl
from spacy_btl.cli._run import exits_on_error


@btl.command("evaluate")
@exits_on_error
def evaluate_cli(
    model: str = typer.Argument(..., help="A pipeline: a package name or a folder"),
    corpus: Path = typer.Argument(..., help="The .spacy file of held-out documents"),
    output: Path | None = typer.Option(None, help="A JSON file to write the figures to"),
) -> None:
    """Score a pipeline on held-out documents.

    Type by type, the rarest first. An entity counts as found if its boundaries and its type are
    both right. In the token figures every class counts the same, O included.
    """
    from spacy_btl.corpora.docbin import write_file
    from spacy_btl.evaluation.scores import evaluate

    msg.info(f"Scoring {model} on {corpus}")
    scores = evaluate(model, corpus)
    print_scores(scores)
    if output is not None:
        write_file(output, json.dumps(scores, indent=2).encode("utf-8"))
        msg.good(f"Wrote {output}")


def print_scores(scores: dict[str, Any]) -> None:
    """Print a row per entity type, then the figures over all of them."""
    from spacy_btl.evaluation.scores import HEADLINE

    table = Table("type", "mentions", "precision", "recall", "F1", box=None)
    summary = Table("", "", show_header=False, box=None)
    for column in [*table.columns[1:], summary.columns[1]]:
        column.justify = "right"
    for label, row in scores["ents_per_type"].items():
        figures = (f"{row[key]:.1%}" for key in ("p", "r", "f"))
        table.add_row(label, f"{row['support']:,}", *figures)
    for key, meaning in HEADLINE.items():
        if scores.get(key) is not None:  # a pipe other than btl_ner has fewer figures
            summary.add_row(meaning, f"{scores[key]:.1%}")
    console = Console(markup=False)  # a type in brackets is no markup of rich
    console.print(table)
    console.print(f"\n {scores['mentions']:,} mentions in {scores['documents']:,} documents")
    console.print(summary)
