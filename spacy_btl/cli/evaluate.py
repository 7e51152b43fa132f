"""`python -m spacy btl evaluate`: score a pipeline on held-out documents, type by type."""

import json
from pathlib import Path

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
    """Score a pipeline on held-out documents, type by type, the rarest first.

    ents_* count entities whose boundaries and type are both right; tag_uar is the mean recall and
    tag_macro_f the mean F1 of the tokens' classes, every class counting the same.
    """
    from spacy_btl.corpora.docbin import write_file
    from spacy_btl.evaluation.scores import HEADLINE, evaluate

    scores = evaluate(model, corpus)
    table = Table("type", "mentions", "precision", "recall", "F1", box=None)
    for column in table.columns[1:]:
        column.justify = "right"
    for label, row in scores["ents_per_type"].items():
        figures = (f"{row[key]:.1%}" for key in ("p", "r", "f"))
        table.add_row(label, f"{row['support']:,}", *figures)
    console = Console(markup=False)
    console.print(table)
    summary = Table("", "", show_header=False, box=None)
    summary.columns[1].justify = "right"
    for key, meaning in HEADLINE.items():
        summary.add_row(meaning, f"{scores[key]:.1%}")
    console.print(summary)
    if output is not None:
        write_file(output, json.dumps(scores, indent=2).encode("utf-8"))
        msg.good(f"Wrote {output}")
