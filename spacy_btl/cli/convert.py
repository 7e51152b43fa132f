"""`python -m spacy btl convert`: a brat folder or JSON lines into a `.spacy` file."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.table import Table
from wasabi import msg

from spacy_btl.cli import btl
from spacy_btl.cli._run import FORCE, exits_on_error, refuse_to_replace

if TYPE_CHECKING:
    from spacy_btl.corpora.note import Account


@btl.command("convert")
@exits_on_error
def convert_cli(
    src: Path = typer.Argument(..., help="A brat folder, or a .jsonl file"),
    out: Path = typer.Argument(..., help="The .spacy file to write"),
    lang: str = typer.Option("en", help="The language whose spaCy tokeniser to use"),
    min_mentions: int = typer.Option(1, min=1, help="Drop entity types with fewer mentions"),
    skip_invalid: bool = typer.Option(
        False, "--skip-invalid", help="Skip and count what is invalid, instead of stopping there"
    ),
    patients: Path | None = typer.Option(
        None, help="A CSV file of note_id and patient_id: keeps the notes of a patient together"
    ),
    force: bool = FORCE,
) -> None:
    """Convert a brat folder or JSON lines to .spacy.

    Accounts for every mention. A JSON line is {"text", "ents": [[start, end, type], ...]}, with an
    "id" if it has one, or Prodigy's {"text", "spans", "answer"}.
    """
    from spacy_btl.corpora.convert import convert

    refuse_to_replace(out, force=force)
    account = convert(
        src,
        out,
        lang=lang,
        min_mentions=min_mentions,
        skip_invalid=skip_invalid,
        patients=patients,
    )
    table = Table("", "", show_header=False, box=None)
    table.columns[1].justify = "right"
    for label, count in _rows(account):
        table.add_row(label, f"{count:,}")
    Console().print(table)
    if account.types_dropped:
        dropped = ", ".join(f"{label} ({n})" for label, n in account.types_dropped.most_common())
        msg.warn(f"Types dropped for having fewer than {min_mentions} mentions: {dropped}")
    msg.good(f"Wrote {out}")


def _rows(account: "Account") -> Iterator[tuple[str, int]]:
    yield "notes read", account.notes_read
    for reason, count in account.notes_skipped.items():
        yield f"  - skipped: {reason}", count
    yield "= notes written", account.notes_read - account.notes_skipped.total()
    for reason, count in account.lines_skipped.items():
        yield f"lines skipped: {reason}", count
    yield "mentions read", account.mentions_read
    yield "  - dropped: type too rare", account.mentions_rare
    yield "  - lost to an overlapping mention", account.mentions_overlapped
    for reason, count in account.mentions_invalid.items():
        yield f"  - skipped: {reason}", count
    yield "= mentions kept", account.mentions_kept
    yield "    of these moved to token boundaries", account.moved
    yield "    of these discontinuous, kept as their hull", account.discontinuous
    yield "types kept", len(account.types_kept)
    yield "types dropped", len(account.types_dropped)
