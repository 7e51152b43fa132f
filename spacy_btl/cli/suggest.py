"""`python -m spacy btl suggest`: which notes to annotate next."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.table import Table
from wasabi import msg

from spacy_btl.cli._progress import shown
from spacy_btl.cli._run import FORCE, btl, exits_on_error, refuse_to_replace, warn_of_confidence
from spacy_btl.errors import counted

if TYPE_CHECKING:
    from spacy_btl.suggest.suggest import Suggestions


@btl.command("suggest")
@exits_on_error
def suggest_cli(
    model: str = typer.Argument(..., help="A calibrated pipeline: a package name or a folder"),
    notes: Path = typer.Argument(
        ..., help="The notes: .parquet, .csv or .jsonl, or a folder of such or of .txt files"
    ),
    output: Path = typer.Argument(..., help="RANKING.jsonl, the chosen notes, the best first"),
    n: int = typer.Option(10, "--n", "-n", min=1, help="How many notes to choose"),
    annotated: list[Path] = typer.Option(
        [],
        help="Notes that are annotated or given away already: a .spacy file, an earlier ranking, "
        "or a table or folder with their ids; may be repeated",
    ),
    cost: float = typer.Option(
        0.5,
        min=0,
        max=1,
        help="A note costs its words to this power: 0 is the same for all notes, 1 by the word",
    ),
    text_column: str = typer.Option("text", help="The column, or key, of the text"),
    id_column: str = typer.Option("id", help="The column, or key, of the note's id"),
    batch_size: int | None = typer.Option(None, min=1, help="Notes per batch, if not the model's"),
    gpu_id: int = typer.Option(-1, "--gpu-id", "-g", help="The GPU, or -1 for the CPU"),
    force: bool = FORCE,
) -> None:
    """Choose the notes to annotate next.

    They are those that teach most about the rarest types, by the mentions that each is expected to
    hold. A mention counts the more, the fewer of its type were annotated before, and the less its
    words are like annotated ones. What earlier choices will bring counts as annotated. Notes that
    the datastore of the pipeline holds are left out, and copies. The ranking holds no text:
    `annotate --only RANKING.jsonl` writes the chosen notes with pre-annotations.
    """
    from spacy_btl.gpu import use_gpu
    from spacy_btl.suggest.suggest import Options, suggest_notes

    refuse_to_replace(output, force=force)
    use_gpu(gpu_id)
    options = Options(n, annotated, cost, text_column, id_column, batch_size)
    with shown("notes") as show:
        suggestions = suggest_notes(
            model,
            notes,
            output,
            options,
            on_progress=lambda done, total: show(done, total, ""),
            on_loaded=warn_of_confidence,
        )
    _print(suggestions)
    if suggestions.first_failure:
        msg.warn(f"The first note that cannot be read: {suggestions.first_failure}")
    if len(suggestions.chosen) < n:
        msg.warn(f"Only {counted(len(suggestions.chosen), 'note')} could be chosen.")
    msg.good(f"Wrote {output}")


def _print(suggestions: "Suggestions") -> None:
    table = Table("note", "words", "why", box=None)
    table.columns[1].justify = "right"
    for one in suggestions.chosen:
        table.add_row(str(one.id), f"{one.words:,}", one.why)
    console = Console(markup=False, highlight=False, emoji=False)
    console.print(table)
    passed = [f"{number:,} {reason}" for reason, number in suggestions.passed.items()]
    found = counted(suggestions.notes, "note")
    console.print("\n" + ", ".join([f"{found}, {len(suggestions.chosen)} chosen", *passed]) + "\n")
