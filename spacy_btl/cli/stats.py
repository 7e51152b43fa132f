"""`python -m spacy btl stats`: count the entities and tokens of a corpus."""

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.table import Table
from wasabi import msg

from spacy_btl.cli._run import FORCE, btl, exits_on_error, refuse_to_replace

if TYPE_CHECKING:
    from spacy_btl.corpora.stats import CorpusStats


@btl.command("stats")
@exits_on_error
def stats_cli(
    corpus: Path = typer.Argument(..., help="The .spacy file to count"),
    output: Path | None = typer.Option(None, help="A JSON file to write the counts to"),
    force: bool = FORCE,
) -> None:
    """Count mentions, documents and tokens by entity type.

    The rarest type comes first. The weight of a type is 1 minus its share of the tokens: the class
    weight of the Binary Token Labels paper.
    """
    from spacy_btl.corpora.remarks import remarks
    from spacy_btl.corpora.stats import MIN_DOCUMENTS, corpus_stats
    from spacy_btl.files import write_file

    if output is not None:
        refuse_to_replace(output, force=force)
    stats = corpus_stats(corpus)
    # Without markup, which a type in brackets would be to rich.
    Console(markup=False).print(_table(stats))
    for remark in remarks(corpus, stats):
        msg.info(remark)
    if stats.too_rare:
        msg.warn(
            f"In fewer than {MIN_DOCUMENTS} documents, so not in each of train, dev and test after "
            f"a split: {', '.join(stats.too_rare)}"
        )
    if output is not None:
        figures = json.dumps(dataclasses.asdict(stats), indent=2)
        write_file(output, figures.encode("utf-8"))
        msg.good(f"Wrote {output}")


def _table(stats: "CorpusStats") -> Table:
    """The mentions are those of `doc.ents`; the column "all" has those that overlap them too."""
    columns = ["type", "mentions", "documents", "tokens", "share", "weight"]
    if overlap := any(row.annotated != row.mentions for row in stats.types):
        columns.insert(2, "all")
    table = Table(*columns, box=None)
    for column in table.columns[1:]:
        column.justify = "right"
    for row in [*stats.types, stats.outside]:
        counts = [row.mentions, *[row.annotated] * overlap, row.documents, row.tokens]
        figures = (f"{count:,}" for count in counts)
        table.add_row(row.type, *figures, f"{row.share:.3%}", f"{row.weight:.4f}")
    return table
