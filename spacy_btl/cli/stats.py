"""`python -m spacy btl stats`: what a corpus holds, type by type."""

import dataclasses
import json
from pathlib import Path

import typer
from rich.console import Console
from rich.table import Table
from wasabi import msg

from spacy_btl.cli._run import FORCE, btl, exits_on_error, refuse_to_replace


@btl.command("stats")
@exits_on_error
def stats_cli(
    corpus: Path = typer.Argument(..., help="The .spacy file to describe"),
    output: Path | None = typer.Option(None, help="A JSON file to write the figures to"),
    force: bool = FORCE,
) -> None:
    """Count what a corpus holds, type by type.

    Mentions, documents and tokens of every entity type, the rarest first. The weight of a
    type is 1 - (its share of the tokens), as the Binary Token Labels loss has it.
    """
    from spacy_btl.corpora.stats import MIN_DOCUMENTS, corpus_stats
    from spacy_btl.files import write_file

    if output is not None:
        refuse_to_replace(output, force=force)
    stats = corpus_stats(corpus)
    table = Table("type", "mentions", "documents", "tokens", "share", "weight", box=None)
    for column in table.columns[1:]:
        column.justify = "right"
    for row in [*stats.types, stats.outside]:
        counts = (f"{count:,}" for count in (row.mentions, row.documents, row.tokens))
        table.add_row(row.type, *counts, f"{row.share:.3%}", f"{row.weight:.4f}")
    # A type in brackets is no markup of rich.
    Console(markup=False).print(table)
    msg.info(
        f"{stats.documents:,} documents, {stats.tokens:,} tokens, {stats.mentions:,} mentions, "
        f"{len(stats.types)} types"
    )
    if stats.missing:
        msg.info(f"{stats.missing:,} more tokens have no annotation and are not counted")
    if stats.over_line_ends:
        msg.info(
            f"{stats.over_line_ends:,} mentions run over a line end, {stats.cut:,} of them where "
            "the tag scheme IO ends an entity: over an empty line, or behind one that is not full"
        )
    if stats.left_out:
        msg.info(f"{stats.left_out:,} more mentions overlap these and are left out of doc.ents")
    if stats.too_rare:
        msg.warn(
            f"In fewer than {MIN_DOCUMENTS} documents, too few for train, dev and test to have one "
            f"each, if you divide this: {', '.join(stats.too_rare)}"
        )
    if output is not None:
        figures = json.dumps(dataclasses.asdict(stats), indent=2)
        write_file(output, figures.encode("utf-8"))
        msg.good(f"Wrote {output}")
