"""`python -m spacy btl serve`: a recommender inside the annotation tool."""

import shlex
from pathlib import Path
from typing import Any

import typer
from typer.main import get_command
from wasabi import msg

from spacy_btl.cli._run import MIN_CONFIDENCE, btl, exits_on_error, warn
from spacy_btl.errors import ServeError


@btl.command("serve")
@exits_on_error
def serve_cli(
    model: str = typer.Argument(..., help="A pipeline: a package name or a folder"),
    host: str = typer.Option("127.0.0.1", help="The address to listen on"),
    port: int = typer.Option(9090, min=0, max=65535, help="The port; 0 for any that is free"),
    min_confidence: list[str] = MIN_CONFIDENCE,
    max_mb: int = typer.Option(100, min=1, help="The largest request, in MB"),
    train_to: Path | None = typer.Option(
        None, help="Train on what the tool sends, in this folder, which will hold the notes"
    ),
    train_every: int = typer.Option(
        20, min=1, help="Notes that change before INCEpTION has another training"
    ),
    fit_options: str = typer.Option("", help="Options of `btl fit`, as one text"),
    gpu_id: int = typer.Option(-1, "--gpu-id", "-g", help="The GPU, or -1 for the CPU"),
) -> None:
    """Suggest mentions in INCEpTION and Label Studio.

    Serves INCEpTION's protocol of external recommenders and Label Studio's of machine-learning
    backends, on 127.0.0.1 until it is stopped (Ctrl-C). It keeps and logs no note, unless
    --train-to names a folder to keep annotated ones in and to train in.
    """
    from spacy_btl.gpu import use_gpu
    from spacy_btl.serve.start import HERE, open_port, require_libraries

    require_libraries()
    from spacy_btl.pipeline.thresholds import read_thresholds
    from spacy_btl.serve.app import INCEPTION, LABEL_STUDIO
    from spacy_btl.serve.model import Model
    from spacy_btl.serve.server import serve
    from spacy_btl.serve.training import Training

    options = _checked(fit_options)
    thresholds = read_thresholds(min_confidence)
    with open_port(host, port) as opened:
        use_gpu(gpu_id)
        served = Model(model, thresholds)
        training = None
        if train_to is not None:
            training = Training(train_to, served, every=train_every, options=options)
            warn(f"Annotated notes are stored in {train_to}.")
            if training.pipeline.is_dir():
                msg.info(
                    f"An earlier training left {training.pipeline}: give it as MODEL to use it."
                )
        if host not in HERE:
            warn(
                f"Anyone who reaches {host} can use this service, without a password, and notes "
                "travel there unencrypted."
            )
        if served.current.uncalibrated:
            warn(f"Confidence is not calibrated: {served.current.uncalibrated}")
        address = f"http://{host}:{opened.getsockname()[1]}"
        msg.good(f"{served.current.system} answers until Ctrl-C:")
        typer.echo(f"  INCEpTION     {address}{INCEPTION}\n  Label Studio  {address}{LABEL_STUDIO}")
        serve(served, opened, training=training, max_mb=max_mb)
    msg.info("Stopped.")


def _checked(text: str) -> list[str]:
    """The options of `fit`. RAISES: ServeError, for what `fit` would refuse hours later."""
    group: Any = get_command(btl)
    try:
        options = shlex.split(text)
        group.commands["fit"].make_context("fit", ["NOTES", "OUTPUT", *options])
    except Exception as error:  # noqa: BLE001 - of shlex, click, or the copy of it in typer
        message = getattr(error, "format_message", error.__str__)()
        raise ServeError(f"--fit-options: {message.rstrip('.')}.") from None
    return options
