"""The commands `python -m spacy btl ...`.

spaCy imports this module in every `python -m spacy` call, so each command imports what it needs
when it runs. Nothing here may import torch.
"""

import typer
from spacy.cli._util import app

btl = typer.Typer(
    name="btl",
    help="Clinical NER with Binary Token Labels.",
    no_args_is_help=True,
)
app.add_typer(btl)
app.pretty_exceptions_show_locals = False  # a local variable may hold a note

from spacy_btl.cli import (  # noqa: E402,F401  (each module adds its commands)
    ablate,
    annotate,
    average,
    bias_test,
    calibrate,
    card,
    convert,
    ensemble,
    evaluate,
    exchange,
    explain,
    split,
    stats,
    tune,
    visualize,
)
