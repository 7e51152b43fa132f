"""`python -m spacy btl convert`: a brat folder or JSON lines into a `.spacy` file."""

from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.table import Table
from wasabi import msg

from spacy_btl.cli._run import FORCE, btl, exits_on_error, refuse_to_replace

if TYPE_CHECKING:
    from spacy_btl.corpora.note import Account

MUCH = 0.2  # of a type's mentions: more than that lost is worth a warning


class OverlapsOption(StrEnum):
    """Which of two overlapping mentions stays."""

    outer = "outer"
    inner = "inner"


@btl.command("convert")
@exits_on_error
def convert_cli(
    src: Path = typer.Argument(..., help="A brat folder, or a .jsonl file"),
    out: Path = typer.Argument(..., help="The .spacy file to write"),
    lang: str = typer.Option("en", help="The language whose spaCy tokeniser to use"),
    min_mentions: int = typer.Option(1, min=1, help="Drop entity types with fewer mentions"),
    types: str | None = typer.Option(None, help="Keep these entity types only: A,B"),
    drop_types: str | None = typer.Option(None, help="Drop these entity types: A,B"),
    overlaps: OverlapsOption = typer.Option(
        OverlapsOption.outer, help="Which of two overlapping mentions stays"
    ),
    skip_invalid: bool = typer.Option(
        False, "--skip-invalid", help="Skip and count what is invalid, instead of stopping there"
    ),
    trust_offsets: bool = typer.Option(
        False,
        "--trust-offsets",
        help="Take a mention whose text is as long as the note's there, with other characters",
    ),
    patients: Path | None = typer.Option(
        None, help="A CSV file of note_id and patient_id: keeps the notes of a patient together"
    ),
    force: bool = FORCE,
) -> None:
    """Convert a brat folder or JSON lines to .spacy.

    Accounts for every mention. A JSON line is {"text", "ents": [[start, end, type], ...]}, with an
    "id" if it has one, or Prodigy's {"text", "spans", "answer"}. The tokens of what is skipped are
    missing annotation; those of a type that is dropped are outside of all entities.
    """
    from spacy_btl.corpora.convert import convert

    refuse_to_replace(out, force=force)
    account = convert(
        src,
        out,
        lang=lang,
        min_mentions=min_mentions,
        types=None if types is None else _names(types),
        drop_types=_names(drop_types or ""),
        overlaps=overlaps.value,
        skip_invalid=skip_invalid,
        trust_offsets=trust_offsets,
        patients=patients,
    )
    console = Console(markup=False)  # a type in brackets is no markup of rich
    table = Table("", "", show_header=False, box=None)
    table.columns[1].justify = "right"
    for label, count in _rows(account):
        table.add_row(label, f"{count:,}")
    console.print(table)
    console.print(_types_table(account))
    for warning in _warnings(account, min_mentions):
        msg.warn(warning)
    msg.good(f"Wrote {out}")


def _names(types: str) -> list[str]:
    return [label.strip() for label in types.split(",") if label.strip()]


def _rows(account: "Account") -> Iterator[tuple[str, int]]:
    yield "notes read", account.notes_read
    for reason, count in account.notes_skipped.items():
        yield f"  - skipped: {reason}", count
    yield "= notes written", account.notes_read - account.notes_skipped.total()
    for reason, count in account.lines_skipped.items():
        yield f"lines skipped: {reason}", count
    yield "mentions read", account.total("read")
    yield "  - dropped: type too rare", account.total("rare")
    if account.total("unwanted"):
        yield "  - dropped: type not wanted", account.total("unwanted")
    yield "  - lost to an overlapping mention", account.total("overlapped")
    for reason, count in [*account.mentions_refused.items(), *account.mentions_invalid.items()]:
        yield f"  - skipped: {reason}", count
    yield "= mentions kept", account.total("kept")
    yield "    of these moved to token boundaries", account.moved
    yield "    of these discontinuous, kept as their enclosing span", account.discontinuous
    if account.enclosing or account.swallowing:
        yield "enclosing spans that hold other words, kept", account.enclosing
        yield "enclosing spans that hold other words, lost", account.swallowing
    yield "types kept", len(account.types_kept)
    yield (
        "types dropped",
        sum(bool(type_.rare or type_.unwanted) for type_ in account.types.values()),
    )
    yield "tokens", account.tokens
    yield "    of these missing, neither trained on nor scored", account.tokens_missing
    yield from account.remarks.items()


def _types_table(account: "Account") -> Table:
    table = Table("type", "read", "kept", "dropped", "overlap", "skipped", box=None)
    for column in table.columns[1:]:
        column.justify = "right"
    for label, type_ in sorted(account.types.items(), key=lambda item: (-item[1].read, item[0])):
        dropped, skipped = type_.rare + type_.unwanted, type_.invalid + type_.refused
        counts = (type_.read, type_.kept, dropped, type_.overlapped, skipped)
        table.add_row(label or "(no type)", *(f"{count:,}" for count in counts))
    return table


def _warnings(account: "Account", min_mentions: int) -> Iterator[str]:
    read = account.types.items()
    rare = ", ".join(f"{label} ({type_.rare})" for label, type_ in read if type_.rare)
    if rare:
        yield f"Types dropped for having fewer than {min_mentions} mentions: {rare}"
    poor = [
        f"{label or '(no type)'} {type_.lost / type_.read:.0%} of {type_.read:,}"
        for label, type_ in sorted(read, key=lambda item: -item[1].lost / max(item[1].read, 1))
        if type_.lost > MUCH * type_.read
    ]
    if poor:
        yield (
            f"Types that lose more than {MUCH:.0%} of their mentions, to others that overlap or as "
            f"invalid: {', '.join(poor)}. See --overlaps and --drop-types."
        )
    if not account.total("read"):
        yield "No note has a mention: there is nothing to train on."
