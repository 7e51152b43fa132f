"""`python -m spacy btl pretrain`: continue the pretraining of an encoder on notes."""

from pathlib import Path

import typer
from rich.console import Console
from wasabi import msg

from spacy_btl.cli._progress import shown
from spacy_btl.cli._run import FORCE, btl, exits_on_error, refuse_to_replace
from spacy_btl.errors import counted


@btl.command("pretrain")
@exits_on_error
def pretrain_cli(
    notes: Path = typer.Argument(
        ..., help="The notes: .parquet, .csv or .jsonl, or a folder of such or of .txt files"
    ),
    encoder: str = typer.Argument(..., help="A folder, or a name of the Hugging Face hub"),
    output: Path = typer.Argument(..., help="The folder of the new encoder"),
    epochs: float = typer.Option(3.0, min=0.01, help="How often the notes are read at most"),
    learn_rate: float = typer.Option(1e-4, min=0, help="The highest learning rate"),
    batch_size: int = typer.Option(16, min=1, help="Windows of a step"),
    window: int = typer.Option(256, min=8, help="Wordpieces of a window"),
    seed: int = typer.Option(0, help="Of all that is drawn at random"),
    text_column: str = typer.Option("text", help="The column, or key, of the text"),
    id_column: str = typer.Option("id", help="The column, or key, of the note's id"),
    gpu_id: int = typer.Option(-1, "--gpu-id", "-g", help="The GPU, or -1 for the CPU"),
    force: bool = FORCE,
) -> None:
    """Train an encoder to guess hidden words of notes.

    They need no annotation. One note in 20 is held out. Training ends when the perplexity of its
    hidden words has stopped falling, and the best encoder is written. A command that was stopped
    goes on where it was when it is given again.
    """
    from spacy_btl.gpu import use_gpu
    from spacy_btl.unlabelled.loop import Evaluation, Listener, Options
    from spacy_btl.unlabelled.pretrain import RECORD, pretrain_encoder

    refuse_to_replace(output / RECORD, force=force)
    use_gpu(gpu_id)
    options = Options(
        epochs=epochs,
        learn_rate=learn_rate,
        batch_size=batch_size,
        window=window,
        seed=seed,
        gpu=gpu_id,
        text_column=text_column,
        id_column=id_column,
    )
    console = Console(stderr=True)
    with shown("steps", console) as show:

        def on_evaluated(evaluation: Evaluation) -> None:
            found = f"step {evaluation.step:,}: perplexity {evaluation.perplexity:,.2f}"
            console.print(f"{found} of hidden words of notes that are held out")

        done = pretrain_encoder(
            notes,
            encoder,
            output,
            options,
            Listener(lambda step, steps: show(step, steps, ""), on_evaluated),
        )
    read = f"{counted(done.notes, 'note')}, {done.held_out:,} of them held out"
    if done.skipped:
        msg.warn(f"{counted(done.skipped, 'note')} without text left out.")
    first, best = done.evaluations[0].perplexity, done.best
    msg.info(
        f"{read}; perplexity {first:,.2f} before, {best.perplexity:,.2f} at step {best.step:,}"
    )
    msg.good(f"Saved to {output}")
