"""`python -m spacy btl pseudo-label`: notes without annotation as training documents."""

from pathlib import Path

import typer
from wasabi import msg

from spacy_btl.cli._progress import shown
from spacy_btl.cli._run import FORCE, btl, exits_on_error, refuse_to_replace
from spacy_btl.errors import counted


@btl.command("pseudo-label")
@exits_on_error
def pseudo_label_cli(
    model: str = typer.Argument(
        ..., help="A calibrated pipeline with spans_key: a package name or a folder"
    ),
    notes: Path = typer.Argument(
        ..., help="The notes: .parquet, .csv or .jsonl, or a folder of such or of .txt files"
    ),
    output: Path = typer.Argument(..., help="The .spacy file of the training documents"),
    words: int = typer.Option(200_000, min=1, help="About how many words to label"),
    annotated: list[Path] = typer.Option(
        [],
        help="Notes to leave out: those that are annotated, and all that anything is measured on; "
        "a .spacy file, or a table or folder with their ids; may be repeated",
    ),
    seed: int = typer.Option(0, help="Of the draw"),
    text_column: str = typer.Option("text", help="The column, or key, of the text"),
    id_column: str = typer.Option("id", help="The column, or key, of the note's id"),
    batch_size: int | None = typer.Option(None, min=1, help="Notes per batch, if not the model's"),
    gpu_id: int = typer.Option(-1, "--gpu-id", "-g", help="The GPU, or -1 for the CPU"),
    force: bool = FORCE,
) -> None:
    """Label notes with a pipeline's probabilities.

    Another pipeline can be trained by them. Notes with rare types are drawn more often. Put the
    file into a folder with the annotated training documents, and give the folder as paths.train: a
    pipe with spans_key learns the probabilities, and the annotation of the others.
    """
    from spacy_btl.gpu import use_gpu
    from spacy_btl.unlabelled.pseudo_label import Options, pseudo_label

    refuse_to_replace(output, force=force)
    use_gpu(gpu_id)
    options = Options(words, annotated, seed, text_column, id_column, batch_size)
    with shown("notes") as show:
        done = pseudo_label(
            model,
            notes,
            output,
            options,
            on_progress=lambda read, total: show(read, total, ""),
        )
    if done.passed.first_failure:
        msg.warn(f"The first note that cannot be read: {done.passed.first_failure}")
    left_out = [f"{number:,} {reason}" for reason, number in (+done.passed.reasons).items()]
    read = [counted(done.notes, "note"), f"{done.drawn:,} drawn with {counted(done.words, 'word')}"]
    msg.info(", ".join([*read, *left_out]))
    rarest = sorted(done.mentions.items(), key=lambda item: item[1])[:5]
    msg.info("Expected mentions: " + ", ".join(f"{n:,.0f} {label}" for label, n in rarest) + " ...")
    if done.words < words:
        msg.warn(f"The notes have fewer words than the {words:,} that were asked for.")
    msg.good(f"Wrote {output}")
